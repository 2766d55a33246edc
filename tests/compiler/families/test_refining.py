"""`refine`: the colour-guided filter in the network stage, against loops that follow its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch.nn import functional

from tests import reference
from tests.compiler.families.test_generic import unknown
from tests.program_runner import StagedRunner, WholeRunner
from trtmatte.compiler.families import reading as importing
from trtmatte.compiler.families import registry
from trtmatte.compiler.families.shared.refining import linear_alpha
from trtmatte.compiler.families.shared.settings import Refinement
from trtmatte.compiler.graph.matte_graph import Spec
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.compiler.graph.precision import to_fp16
from trtmatte.compiler.graph.specialise import infer_shapes, static_shape
from trtmatte.errors import SettingError

SHAPE = (2, 3, 14, 19)
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
NORMAL = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def pictures(shape=SHAPE):
    """Pictures of a few smooth colours and some noise, and alphas that follow them in part."""
    random = np.random.default_rng(5)
    batch, _, height, width = shape
    place = np.linspace(0, 3, width) + np.linspace(0, 2, height)[:, None]
    image = np.stack([0.5 + 0.4 * np.sin(place + shift) for shift in (0, 1, 2)])[None].repeat(batch, 0)
    image = np.clip(image + random.normal(0, 0.05, shape), 0, 1).astype(np.float32)
    alpha = np.clip((image[:, :1] - 0.3) * 3 + random.normal(0, 0.1, (batch, 1, height, width)), 0, 1)
    return image, alpha.astype(np.float32)


def slow(image, alpha, radius, epsilon):
    """The filter of one picture (3, h, w), window by window, in float64."""
    image, alpha = image.astype(np.float64), alpha.astype(np.float64)
    height, width = alpha.shape

    def window(plane, y, x):
        cut = plane[..., max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
        return cut.reshape(*plane.shape[:-2], -1)

    fitted = np.zeros((4, height, width))
    for y in range(height):
        for x in range(width):
            colours, values = window(image, y, x), window(alpha, y, x)
            spread = colours - colours.mean(1, keepdims=True)
            matrix = spread @ spread.T / len(values) + epsilon * np.eye(3)
            slope = np.linalg.solve(matrix, spread @ values / len(values))
            fitted[:, y, x] = [*slope, values.mean() - slope @ colours.mean(1)]
    means = [[window(fitted, y, x).mean(1) for x in range(width)] for y in range(height)]
    return np.moveaxis(np.array(means), 2, 0)


def graph_of(chosen, mean=PLAIN[0], std=PLAIN[1], *, opset=17, image=SHAPE, alpha=(2, 1, 14, 19)):
    """A model of the filter alone, from a normalised picture and an alpha to the maps."""
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("image", image), ("given", alpha))
    ]
    same = helper.make_node("Identity", ["given"], ["alpha"])
    out = helper.make_tensor_value_info("alpha", TensorProto.FLOAT, alpha)
    model = helper.make_model(
        helper.make_graph([same], "g", infos, [out]), opset_imports=[helper.make_opsetid("", opset)], ir_version=8
    )
    graph = Graph(model)
    infer_shapes(graph)
    maps = linear_alpha(graph, "image", "alpha", mean, std, chosen)
    graph.outputs = {maps: onnx.ValueInfoProto(name=maps)}
    infer_shapes(graph)
    graph.outputs[maps] = graph.values[maps]
    return graph.model(name="g")


def run(model, image, alpha):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
    given = {"image": image, "given": alpha}
    (maps,) = session.run(None, {each.name: given[each.name].astype(kinds[each.type]) for each in session.get_inputs()})
    return maps


@pytest.mark.parametrize("opset", [11, 17, 20])
@pytest.mark.parametrize(("mean", "std"), [PLAIN, NORMAL])
def test_the_maps_are_those_of_the_definition(mean, std, opset):
    image, alpha = pictures()
    seen = (image - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    chosen = Refinement(refine=True, refine_radius=2, refine_epsilon=1e-3)
    maps = run(graph_of(chosen, mean, std, opset=opset), seen.astype(np.float32), alpha)
    expected = [slow(image[index], alpha[index, 0], 2, 1e-3) for index in range(2)]
    assert maps.shape == (2, 4, 14, 19)
    assert np.abs(maps - expected).max() <= 1e-4


@pytest.mark.parametrize("radius", [1, 3, 20])
def test_windows_of_any_size(radius):
    """Also larger than the picture."""
    image, alpha = pictures()
    maps = run(graph_of(Refinement(refine=True, refine_radius=radius)), image, alpha)
    assert np.abs(maps[0] - slow(image[0], alpha[0, 0], radius, 1e-4)).max() <= 2e-3


def test_bright_flat_colours_are_exact_enough():
    """A sky: variances far below the squares that they are differences of."""
    random = np.random.default_rng(1)
    image = (0.93 + 0.004 * random.standard_normal(SHAPE)).astype(np.float32)
    alpha = random.random((2, 1, 14, 19)).astype(np.float32)
    maps = run(graph_of(Refinement(refine=True)), image, alpha)
    made = (maps[:, :3] * image).sum(1) + maps[:, 3]
    expected = [slow(image[index], alpha[index, 0], 3, 1e-4) for index in range(2)]
    exact = [(maps[:3] * image[index]).sum(0) + maps[3] for index, maps in enumerate(expected)]
    assert np.abs(made - exact).max() <= 0.5 / 255


def test_an_alpha_that_follows_the_colours_is_kept():
    image, _ = pictures()
    alpha = 0.2 + 0.5 * image[:, :1] - 0.3 * image[:, 1:2] + 0.1 * image[:, 2:]
    maps = run(graph_of(Refinement(refine=True, refine_epsilon=1e-8)), image, alpha)
    assert np.abs((maps[:, :3] * image).sum(1) + maps[:, 3] - alpha[:, 0]).max() <= 1e-3


def test_a_flat_alpha_stays_flat():
    image, _ = pictures()
    maps = run(graph_of(Refinement(refine=True)), image, np.ones((2, 1, 14, 19), np.float32))
    assert np.abs(maps[:, :3]).max() <= 1e-3
    assert np.abs((maps[:, :3] * image).sum(1) + maps[:, 3] - 1).max() <= 1e-5


def test_an_alpha_smaller_than_the_picture():
    image, _ = pictures((1, 3, 28, 38))
    _, alpha = pictures((1, 3, 14, 19))
    maps = run(graph_of(Refinement(refine=True), image=(1, 3, 28, 38), alpha=(1, 1, 14, 19)), image, alpha)
    halved = image[0].reshape(3, 14, 2, 19, 2).mean((2, 4))
    assert np.abs(maps[0] - slow(halved, alpha[0, 0], 3, 1e-4)).max() <= 1e-3


def test_float16_leaves_the_filter_alone():
    image, alpha = pictures()
    model = graph_of(Refinement(refine=True))
    narrow = to_fp16(model)
    (output,) = narrow.graph.output
    assert output.type.tensor_type.elem_type == TensorProto.FLOAT
    assert {value.type.tensor_type.elem_type for value in narrow.graph.input} == {TensorProto.FLOAT16}
    exact = run(model, image.astype(np.float16).astype(np.float32), alpha.astype(np.float16).astype(np.float32))
    assert np.abs(run(narrow, image, alpha) - exact).max() <= 1e-5


# ---------------------------------------------------------------------------------------------------------------------
# In the families


SETTINGS: dict[str, dict[str, Any]] = {
    "generic": {"family": "generic", "input_size": (56, 40)},
    "u2net": {"input_size": (64, 48), "method": "antialias"},  # whose rounding shows in no step
    "modnet": {"input_size": (64, 32)},
}


def file_of(family, folder):
    if family == "generic":
        onnx.save(unknown(), folder / "generic.onnx")
        return folder / "generic.onnx"
    name = {"u2net": "u2netp"}.get(family, family)
    torch.save(reference.network(name).state_dict(), folder / f"{name}.pth")
    return folder / f"{name}.pth"


def test_without_it_the_alpha_is_resized(tmp_path):
    model = importing.read(file_of("generic", tmp_path), size=(97, 61), **SETTINGS["generic"])
    (matte,) = Graph(model).all("MatteUpsample", "TrtMatteMatteUpsample")
    assert static_shape(Graph(model), matte.input[1]) == (1, 1, 20, 28)
    assert "refine" not in Spec.of(model).settings


@pytest.mark.parametrize(("family", "small"), [("generic", (20, 28)), ("u2net", (48, 64)), ("modnet", (32, 64))])
def test_mattes_follow_the_colours_of_the_frame(family, small, tmp_path):
    """The program with our ops makes the same as the graph whole, and both what the maps say."""
    frame = np.rint(pictures((1, 3, 61, 97))[0] * 255).astype(np.uint8)
    chosen = {"refine": True, "refine_radius": 2}
    model = importing.read(file_of(family, tmp_path), size=(97, 61), **SETTINGS[family], **chosen)
    assert Spec.of(model).settings.items() >= {**chosen, "refine_epsilon": 1e-4}.items()
    staged = StagedRunner(model)(frame=frame)["pha"]
    (matte,) = Graph(model).all("MatteUpsample", "TrtMatteMatteUpsample")
    shape = (1, 4, *small)
    model.graph.output.append(helper.make_tensor_value_info(matte.input[1], TensorProto.FLOAT, shape))
    whole = WholeRunner(model)(frame=frame)
    maps = whole[matte.input[1]]
    assert maps.shape == shape
    assert reference.largest_difference(staged, whole["pha"]) <= 2e-4
    full = functional.interpolate(torch.from_numpy(maps), (61, 97), mode="bilinear").numpy()
    expected = np.clip((full[:, :3] * (frame / 255)).sum(1, keepdims=True) + full[:, 3:], 0, 1)
    assert reference.largest_difference(staged, expected) <= 2e-4
    assert expected.std() > 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"refine": 1}, "refine is 1; expected true or false"),
        ({"refine_radius": 0}, r"refine_radius is 0; expected pixels, 1…64"),
        ({"refine_epsilon": 0.0}, r"refine_epsilon is 0\.0; expected a variance, 1e-8…1"),
    ],
)
@pytest.mark.parametrize("family", SETTINGS)
def test_wrong_settings_are_refused(family, settings, message):
    with pytest.raises(SettingError, match=message):
        registry.family(family).checked(settings)


def test_families_with_an_own_refiner_have_no_such_setting():
    with pytest.raises(SettingError, match="rvm has no setting refine"):
        registry.family("rvm").checked({"refine": True})
