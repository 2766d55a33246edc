"""BackgroundMattingV2 from every kind of file, through the program on the CPU, against the original's vectors."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests import exports, reference
from tests.program_runner import StagedRunner, WholeRunner
from trtmatte.compiler.families import reading as importing
from trtmatte.errors import FrameError, ModelError, SettingError

VECTORS = reference.vector_names("bgmv2", "matte")
SMALL = "bgmv2_refine_mobilenetv2-"
SAMPLING = SMALL + "sampling-scale0.3"
LOOSE = SMALL + "oversampling-allowed"
METHODS = list(itertools.product(("roi_align", "gather"), ("scatter_nd", "scatter_element")))
KERNELS = (LOOSE, SMALL + "kernel1-sampling")


def size_of(vector):
    return {"size": (vector.settings["width"], vector.settings["height"]), "batch": vector.settings["batch"]}


def check(vector, run):
    outputs = run(frame=vector.arrays["src"], plate=vector.arrays["bgr"])
    if "hid" in outputs:
        outputs["hid_s"] = outputs.pop("hid")[:, :, 1::4, 2::4]
    assert vector.outputs.keys() <= outputs.keys()
    outputs = {name: outputs[name] for name in vector.outputs}
    if vector.name == LOOSE:
        check_loosely(vector, outputs)
    else:
        reference.assert_close(vector, outputs)


def check_loosely(vector, outputs):
    """More patches are asked for than have an error: which others make up the number is not defined."""
    reference.assert_close(vector, {name: outputs[name] for name in ("pha_sm", "fgr_sm", "err_sm")})
    ref, expected = outputs["ref_sm"], vector.arrays["ref_sm"]
    assert ref.sum() == vector.settings["patches"][0]
    assert ref[outputs["err_sm"] > 0].all()
    agreed = np.repeat(np.repeat(ref == expected, 4, axis=2), 4, axis=3)
    assert agreed.mean() > 0.25
    for name in ("pha", "fgr"):
        both = [np.where(agreed, x[name], 0) for x in (outputs, vector.arrays)]
        assert reference.largest_difference(*both) <= vector.tolerance(name)


def read(model, folder, **settings):
    onnx.save(model, folder / "model.onnx")
    return importing.read(folder / "model.onnx", **settings)


def official(vector, **how):
    """The official export for the setting of a vector."""
    network = reference.network(vector.model, **vector.options)
    return exports.bgmv2(network, size_of(vector)["size"], batch=vector.settings["batch"], **how)


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_from_a_checkpoint(name, tmp_path):
    vector = reference.load(name)
    kernel = vector.options.get("refine_kernel_size", 3)
    options = {"refine_kernel_size": kernel} if "_refine_" in vector.model else {}
    torch.save(reference.network(vector.model, **options).state_dict(), tmp_path / "weights.pth")
    settings = vector.options if options else {"hidden": True}
    check(vector, StagedRunner(importing.read(tmp_path / "weights.pth", **size_of(vector), **settings)))


@pytest.mark.parametrize(("crop", "replace"), METHODS)
@pytest.mark.parametrize("name", KERNELS)
def test_vectors_from_the_official_export_of_every_method(name, crop, replace, tmp_path):
    vector = reference.load(name)
    model = official(vector, crop=crop, replace=replace)
    check(vector, StagedRunner(read(model, tmp_path, **size_of(vector))))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in VECTORS
        if name.startswith((SMALL, "matte_refine")) and name not in KERNELS and "none" not in name
    ],
)
def test_vectors_from_the_official_export(name, tmp_path):
    vector = reference.load(name)
    check(vector, StagedRunner(read(official(vector), tmp_path, **size_of(vector))))


@pytest.mark.parametrize(
    "name", [name for name in VECTORS if "base_mobilenetv2" in name or "base_resnet50-odd" in name]
)
def test_base_networks_from_the_official_export(name, tmp_path):
    vector = reference.load(name)
    check(vector, StagedRunner(read(official(vector), tmp_path, **size_of(vector), hidden=True)))


@pytest.mark.parametrize(("crop", "replace"), METHODS)
def test_batches_are_right_even_where_the_official_export_is_wrong(crop, replace, tmp_path):
    """Against the network in PyTorch."""
    network = reference.network(
        "bgmv2_refine_mobilenetv2", refine_mode="thresholding", refine_threshold=0.25, backbone_scale=0.5
    )
    pictures = np.random.default_rng(4).integers(0, 256, (2, 2, 3, 64, 96), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(*(torch.from_numpy(each.astype(np.float32) / 255) for each in pictures))
    assert all(0 < count < 16 * 24 for count in expected[-1].sum((1, 2, 3)))
    model = exports.bgmv2(network, (96, 64), batch=2, crop=crop, replace=replace)
    outputs = StagedRunner(read(model, tmp_path, size=(96, 64), batch=2))(frame=pictures[0], plate=pictures[1])
    for name, value in zip(("pha", "fgr", "pha_sm", "fgr_sm", "err_sm", "ref_sm"), expected, strict=True):
        assert reference.largest_difference(outputs[name], value.numpy()) <= 1e-4


@pytest.mark.parametrize("name", [SAMPLING, SMALL + "thresholding-none", "matte_refine_resnet50-full-scale0.25"])
def test_the_graph_runs_whole(name, tmp_path):
    vector = reference.load(name)
    torch.save(reference.network(vector.model).state_dict(), tmp_path / "weights.pth")
    check(vector, WholeRunner(importing.read(tmp_path / "weights.pth", **size_of(vector), **vector.options)))


@pytest.mark.parametrize(("crop", "replace"), METHODS)
@pytest.mark.parametrize("opset", [pytest.param(11, marks=pytest.mark.slow), 17])
def test_the_stand_in_exports_compute_what_the_original_computes(crop, replace, opset):
    vector = reference.load(SAMPLING)
    session = onnxruntime.InferenceSession(
        official(vector, crop=crop, replace=replace, opset=opset).SerializeToString(),
        providers=["CPUExecutionProvider"],
    )
    names = [each.name for each in session.get_outputs()]
    results = session.run(names, {"src": vector.picture("src"), "bgr": vector.picture("bgr")})
    reference.assert_close(vector, dict(zip(names, results, strict=True)))


TREATMENTS = {
    "renamed": lambda model, folder: exports.renamed(model),
    "simplified": lambda model, folder: exports.simplified(model, folder),
    "renamed and simplified": lambda model, folder: exports.simplified(exports.renamed(model), folder),
}


@pytest.mark.parametrize(
    "treatment", [pytest.param(each, marks=() if " and " in each else pytest.mark.slow) for each in TREATMENTS]
)
@pytest.mark.parametrize("name", [SAMPLING, SMALL + "kernel1-thresholding"])
@pytest.mark.parametrize("dynamic", [True, False])
def test_maltreated_files(treatment, name, dynamic, tmp_path):
    if name not in VECTORS:
        pytest.skip("this vector is not at hand")
    vector = reference.load(name)
    model = TREATMENTS[treatment](official(vector, dynamic=dynamic, opset=17), tmp_path)
    check(vector, StagedRunner(read(model, tmp_path, **size_of(vector))))


def test_settings_overrule_what_the_file_has(tmp_path):
    """From a file that samples at 0.3 to what another vector wants of the same weights."""
    vector = reference.load(SMALL + "oversampling-prevented")
    model = official(reference.load(SAMPLING))
    check(vector, StagedRunner(read(model, tmp_path, **size_of(vector), **vector.options)))


def test_networks_touch_small_tensors_and_patches_alone(tmp_path):
    model = official(reference.load(SAMPLING))
    program = StagedRunner(read(model, tmp_path, size=(1920, 1080), backbone_scale=0.25)).program
    assert [getattr(stage, "op", "network") for stage in program.stages] == [
        *("FrameSample", "FrameSample", "network", "PatchSelect", "PatchCrop", "network", "PatchScatter")
    ]
    assert program.tensors["src_sm"].shape == (1, 3, 270, 480)
    assert program.tensors["half"].shape == ("patches", 42, 8, 8)
    assert program.capacity == 158
    assert program.pictures == ("frame", "plate")


def test_a_program_for_another_frame_has_another_grid(tmp_path):
    program = StagedRunner(read(official(reference.load(SAMPLING)), tmp_path, size=(196, 148))).program
    select = next(stage for stage in program.for_frame(392, 296).stages if getattr(stage, "op", "") == "PatchSelect")
    assert (select.attributes["height"], select.attributes["width"]) == (74, 98)
    with pytest.raises(FrameError, match="divisible by 4"):
        program.for_frame(390, 296)


def test_the_largest_of_fewer_patches_than_asked_for_are_all(tmp_path):
    program = StagedRunner(read(official(reference.load(SAMPLING)), tmp_path, size=(40, 40))).program
    assert program.capacity == 100


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone_scale": 0}, "backbone_scale is 0"),
        ({"refine_mode": "some"}, "refine_mode is 'some'"),
        ({"refine_sample_pixels": 3}, "at least the 16"),
        ({"refine_kernel_size": 1}, "the model's refiner has 3"),
        ({"size": (50, 40)}, "whose sides 4 divides"),
    ],
)
def test_wrong_settings_are_refused(settings, message, tmp_path):
    model = official(reference.load(SAMPLING))
    with pytest.raises(SettingError, match=message):
        read(model, tmp_path, **{"size": (196, 148), **settings})


def without_a_convolution(model):
    """The refiner's last convolution gets another channel."""
    weights = next(each for each in model.graph.initializer if tuple(each.dims[:2]) == (4, 12))
    array = onnx.numpy_helper.to_array(weights)
    weights.CopyFrom(onnx.numpy_helper.from_array(np.concatenate([array, array[:1]]), weights.name))
    return model


def with_other_maps(model):
    weights = next(each for each in model.graph.initializer if each.dims[0] == 37 and len(each.dims) == 4)
    array = onnx.numpy_helper.to_array(weights)
    weights.CopyFrom(onnx.numpy_helper.from_array(array[:36], weights.name))
    return model


@pytest.mark.parametrize(
    ("damage", "message"),
    [(without_a_convolution, "0 convolutions go from 12 to 4"), (with_other_maps, "0 convolutions have 37 output")],
)
def test_almost_matches_say_what_differs(damage, message, tmp_path):
    model = damage(official(reference.load(SAMPLING)))
    with pytest.raises(ModelError, match=message):
        read(model, tmp_path, size=(196, 148))


def coarse(network, vector):
    with torch.no_grad():
        pictures = (torch.from_numpy(vector.picture(name)) for name in ("src", "bgr"))
        pha, residual, err, _ = network.eval().coarse(*pictures)
        return {
            "pha": pha.numpy(),
            "fgr": (torch.from_numpy(vector.picture()) + residual).clamp(0, 1).numpy(),
            "err": err,
        }


@pytest.mark.parametrize("form", ["onnx", "pth"])
def test_the_base_network_alone_out_of_a_file_with_a_refiner(form, tmp_path):
    """At the size of the frame, as the original's MattingBase reads such a checkpoint."""
    vector = reference.load(SAMPLING)
    network = reference.network(vector.model)
    options = {"model_type": "mattingbase", **size_of(vector)}
    if form == "onnx":
        program = read(official(vector), tmp_path, **options)
    else:
        torch.save(network.state_dict(), tmp_path / "weights.pth")
        program = importing.read(tmp_path / "weights.pth", **options)
    outputs = StagedRunner(program)(frame=vector.arrays["src"], plate=vector.arrays["bgr"])
    for name, expected in coarse(network, vector).items():
        assert reference.largest_difference(outputs[name], np.asarray(expected)) <= vector.tolerance(name)


def test_a_base_network_cannot_refine(tmp_path):
    torch.save(reference.network("bgmv2_base_mobilenetv2").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(SettingError, match="has no refiner; expected 'mattingbase'"):
        importing.read(tmp_path / "weights.pth", size=(64, 48), model_type="mattingrefine")
