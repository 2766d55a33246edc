"""U-2-Net and U-2-NetP from every kind of file, through the program on the CPU, against the original's vectors, and the
real file on real pictures against ONNX Runtime running it as it is."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests import exports, reference
from tests import real_models as models
from tests.compiler.families.rembg import finished, prepared
from tests.program_runner import StagedRunner, WholeRunner, require_clean_foreground
from trtmatte.compiler.families import reading as importing
from trtmatte.compiler.graph.cut import cut
from trtmatte.errors import ModelError, SettingError

VECTORS = reference.vector_names("u2net")
ODD = "u2netp-odd"
PLAIN = {"divide_by_maximum": False, "stretch": False}  # what the vectors are made with
OUTPUTS = tuple(f"d{level}" for level in range(7))


def official(*arguments, **options):
    """A plain export of the network. A fresh one, since what happens to it happens in place."""
    return onnx.load_from_string(exported(*arguments, **options))


@functools.cache
def exported(model="u2netp", opset=12, shape=(1, 3, 64, 96), *, dynamic=True, outputs=OUTPUTS):
    module = reference.network(model)
    axes = {name: {0: "batch", 2: "height", 3: "width"} for name in ("image", *OUTPUTS)} if dynamic else {}
    graph = exports.export(module, {"image": torch.rand(shape)}, OUTPUTS, opset, axes)
    kept = [each for each in graph.graph.output if each.name in outputs]
    del graph.graph.output[:]
    graph.graph.output.extend(kept)
    return graph.SerializeToString()


def settings_of(vector):
    height, width = vector.settings["height"], vector.settings["width"]
    return {"size": (width, height), "batch": vector.settings["batch"], "input_size": (width, height), **PLAIN}


def check(vector, run):
    pha = run(frame=vector.arrays["src"])["pha"]
    assert reference.largest_difference(pha, vector.arrays["d0"]) <= vector.tolerance("d0")


def read(model, folder, **settings):
    onnx.save(model, folder / "model.onnx")
    return importing.read(folder / "model.onnx", **settings)


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_from_a_checkpoint(name, tmp_path):
    vector = reference.load(name)
    torch.save(reference.network(vector.model).state_dict(), tmp_path / "weights.pth")
    model = importing.read(tmp_path / "weights.pth", **settings_of(vector))
    check(vector, StagedRunner(model))
    assert cut(model)[0].variant == vector.model


@pytest.mark.parametrize(("name", "opset"), [*((name, 12) for name in VECTORS), (ODD, 11), (ODD, 17), (ODD, 20)])
def test_vectors_from_an_export(name, opset, tmp_path):
    vector = reference.load(name)
    model = read(official(vector.model, opset), tmp_path, **settings_of(vector))
    check(vector, StagedRunner(model))
    assert cut(model)[0].variant == vector.model


def test_the_graph_runs_whole(tmp_path):
    vector = reference.load(ODD)
    check(vector, WholeRunner(read(official(opset=17), tmp_path, **settings_of(vector))))


TREATMENTS = {
    "renamed": lambda model, folder: exports.renamed(model),
    "simplified": lambda model, folder: exports.simplified(model, folder),
    "renamed and simplified": lambda model, folder: exports.simplified(exports.renamed(model), folder),
    "fixed sizes": lambda model, folder: exports.simplified(model, folder, {"image": (1, 3, 101, 123)}),
}


@pytest.mark.parametrize("outputs", [OUTPUTS, ("d0",)], ids=["all outputs", "d0 alone"])
@pytest.mark.parametrize("treatment", TREATMENTS)
def test_maltreated_files(treatment, outputs, tmp_path):
    vector = reference.load(ODD)
    model = TREATMENTS[treatment](official(outputs=outputs), tmp_path)
    check(vector, StagedRunner(read(model, tmp_path, **settings_of(vector))))


def test_normalisations_that_are_not_folded(monkeypatch, tmp_path):
    preserving = functools.partial(torch.onnx.export, training=torch.onnx.TrainingMode.PRESERVE)
    monkeypatch.setattr(torch.onnx, "export", preserving)
    exported.cache_clear()
    model = official()
    exported.cache_clear()
    assert any(node.op_type == "BatchNormalization" for node in model.graph.node)
    vector = reference.load(ODD)
    check(vector, StagedRunner(read(model, tmp_path, **settings_of(vector))))


@pytest.mark.parametrize("simplify", [False, True], ids=["as exported", "simplified"])
def test_files_of_one_picture_serve_batches(simplify, tmp_path):
    """Nothing in the network mixes the pictures of a batch, whatever batch its file was exported for."""
    vector = reference.load(ODD)
    model = official(shape=(1, 3, 101, 123), dynamic=False)
    if simplify:
        model = exports.simplified(model, tmp_path)
    run = StagedRunner(read(model, tmp_path, size=(123, 101), batch=2, **PLAIN))
    second = vector.arrays["src"][:, :, ::-1]
    pha = run(frame=np.concatenate([vector.arrays["src"], second]))["pha"]
    assert reference.largest_difference(pha[:1], vector.arrays["d0"]) <= vector.tolerance("d0")
    alone = StagedRunner(read(official(), tmp_path, **settings_of(vector)))(frame=second)["pha"]
    assert reference.largest_difference(pha[1:], alone) <= 1e-5


# ---------------------------------------------------------------------------------------------------------------------
# The original's preparation


@pytest.mark.parametrize("opset", [12, 18])
@pytest.mark.parametrize(("divide", "stretch"), [(True, True), (True, False), (False, True), (False, False)])
def test_preparation(divide, stretch, opset, tmp_path):
    size, seen = (149, 251), (64, 80)
    dark = np.random.default_rng(6).integers(0, 100, (2, 3, size[1], size[0]), dtype=np.uint8)  # no sum is half a byte
    dark[1] //= 2  # each picture has a maximum of its own
    settings = {"divide_by_maximum": divide, "stretch": stretch}
    run = StagedRunner(read(official(opset=opset), tmp_path, size=size, batch=2, input_size=seen, **settings))
    with torch.no_grad():
        alpha = reference.network("u2netp").alpha(prepared(dark, seen, divide))
    outputs = run(frame=dark)
    difference = np.abs(outputs["pha"] - finished(alpha, size, stretch))
    if stretch:  # a value near a step may fall on its other side
        assert difference.max() <= 1.5 / 255
        assert difference.mean() <= 4e-4
    else:
        assert difference.max() <= 5e-4
    require_clean_foreground(outputs["fgr"], dark, finished(alpha, seen, stretch), "lanczos")


def test_a_black_picture_has_an_alpha(tmp_path):
    run = StagedRunner(read(official(), tmp_path, size=(64, 48), input_size=(64, 48), stretch=False))
    black = np.zeros((1, 3, 48, 64), np.uint8)
    with torch.no_grad():
        alpha = reference.network("u2netp").alpha(prepared(black, (64, 48), divide=False))
    assert reference.largest_difference(run(frame=black)["pha"], alpha.numpy()) <= 2e-4


def test_a_flat_alpha_is_stretched_to_nothing(tmp_path):
    model = official()
    fusion = next(each for each in model.graph.initializer if tuple(each.dims) == (1, 6, 1, 1))
    fusion.CopyFrom(onnx.numpy_helper.from_array(np.zeros((1, 6, 1, 1), np.float32), fusion.name))
    pha = StagedRunner(read(model, tmp_path, size=(64, 48), input_size=(64, 48)))(
        frame=np.full((1, 3, 48, 64), 200, np.uint8)
    )["pha"]
    assert not pha.any()


def test_networks_touch_small_tensors_alone(tmp_path):
    program, (network,) = cut(read(official(), tmp_path, size=(1920, 1080)))
    assert [type(stage).__name__ for stage in program.stages] == ["OpStage", "NetworkStage", "OpStage", "OpStage"]
    assert {name: tensor.shape for name, tensor in program.tensors.items()} == {
        "image": (1, 3, 320, 320),
        "alpha": (1, 1, 320, 320),
        "colours": (1, 6, 128, 128),
    }
    assert not {node.op_type for node in network.graph.node} & {"Shape", "Cast", "Constant", "Gather", "Unsqueeze"}
    assert sum(node.op_type == "Sigmoid" for node in network.graph.node) == 1
    onnx.checker.check_model(network, full_check=True)


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


def without_fusion(model):
    del model.graph.output[0]
    return model


def with_logits(model):
    """d0 and the side outputs before their sigmoids."""
    for node in model.graph.node:
        if node.op_type == "Sigmoid":
            node.op_type = "Identity"
    return model


def with_five_sides(model):
    fusion = next(node for node in model.graph.node if node.op_type == "Concat" and len(node.input) == 6)
    del fusion.input[5]
    weights = next(each for each in model.graph.initializer if tuple(each.dims) == (1, 6, 1, 1))
    array = onnx.numpy_helper.to_array(weights)[:, :5].copy()
    weights.CopyFrom(onnx.numpy_helper.from_array(array, weights.name))
    return model


def with_a_second_input(model):
    model.graph.input.append(onnx.helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [1, 1, 64, 96]))
    return model


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_fusion, r"\(d0\) is none of its outputs \(d1: the result of Sigmoid"),
        (with_logits, r"\(d0\) is none of its outputs \(d0: the result of Conv"),
        (with_five_sides, "fuses 5 side maps; expected 6"),
        (with_a_second_input, "takes one picture, .* mask 1x1x64x96"),
    ],
    ids=["no d0", "logits", "five sides", "second input"],
)
def test_almost_matches_say_what_differs(damage, message, tmp_path):
    with pytest.raises(ModelError, match=message):
        read(damage(official()), tmp_path)


@pytest.mark.parametrize("value", [(0, 320), (320,), 320, (3.5, 2), "320x320"])
def test_input_sizes_are_two_whole_numbers(value, tmp_path):
    with pytest.raises(SettingError, match=r"input_size is .* whole numbers from 1"):
        read(official(), tmp_path, input_size=value)


def test_files_of_a_fixed_size_are_for_that_size(tmp_path):
    with pytest.raises(SettingError, match="pictures of height 64 alone"):
        read(official(dynamic=False), tmp_path, input_size=(96, 128))


# ---------------------------------------------------------------------------------------------------------------------
# The real file


def photograph():
    return models.photograph()


def frame_of_the_clip():
    return next(iter(models.clip()))


def enlarged_frame():
    return next(iter(models.clip(1280, 720)))


@pytest.fixture(scope="module")
def real_file():
    return models.model("u2netp")


@pytest.mark.parametrize("picture", [photograph, frame_of_the_clip, enlarged_frame])
def test_the_real_file(picture, real_file):
    """It is for pictures of 320x320, and numbers its tensors."""
    frame = np.ascontiguousarray(picture().transpose(2, 0, 1))[None]
    size = frame.shape[:1:-1]
    program = importing.read(real_file, size=size)
    outputs = StagedRunner(program, dtype="uint8")(frame=frame)
    session = onnxruntime.InferenceSession(real_file, providers=["CPUExecutionProvider"])
    (d0, *_) = session.run(None, {session.get_inputs()[0].name: prepared(frame, (320, 320)).numpy()})
    expected = np.round(finished(d0, size) * 255)
    steps = np.abs(outputs["pha"].astype(int) - expected)
    assert (steps <= 1).mean() >= 0.999, f"alpha is off by {steps.max()}"
    require_clean_foreground(outputs["fgr"], frame, finished(d0, (320, 320)))
    assert 0.1 < (expected > 128).mean() < 0.9, "the picture shows nobody"
    assert cut(program)[0].variant == "u2netp"


def test_the_real_file_in_a_batch(real_file):
    picture = models.photograph()[::2, ::2].transpose(2, 0, 1)
    pair = np.stack([picture, picture[:, ::-1]])
    both = StagedRunner(importing.read(real_file, size=(256, 256), batch=2))(frame=pair)["pha"]
    alone = StagedRunner(importing.read(real_file, size=(256, 256)))
    for index in range(2):
        np.testing.assert_allclose(both[index], alone(frame=pair[index][None])["pha"][0], atol=1e-4)
