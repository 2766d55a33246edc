"""RVM from every kind of file, through the program on the CPU, against the original's vectors and the official file."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests import exports, reference
from tests.program_runner import StagedRunner, WholeRunner
from trtmatte.compiler.families import reading as importing
from trtmatte.errors import ModelError, SettingError

ODD = "rvm_mobilenetv3-odd-ratio0.375"
VECTORS = reference.vector_names("rvm")
FROM_ONNX = [
    name
    for name in VECTORS
    if "fast" not in name and "segmentation" not in name and ("ratio1" not in name or "always" in name)
]
STATES = ("r1", "r2", "r3", "r4")


def frames_of(vector):
    """The frames in turn, [B,3,H,W] uint8, and where the outputs of each stand in the vector's arrays."""
    src = vector.arrays["src"]
    if vector.settings.get("chunk"):
        return [(src[:, time], (slice(None), time)) for time in range(src.shape[1])]
    return [(src[time], (time,)) for time in range(src.shape[0])]


def settings_of(vector):
    height, width = vector.settings["height"], vector.settings["width"]
    return {
        "size": (width, height),
        "batch": vector.settings["batch"],
        "downsample_ratio": vector.settings["downsample_ratio"],
    }


def check(vector, run):
    """The outputs of every frame, and the states after the last."""
    for frame, place in frames_of(vector):
        outputs = run(frame=frame)
        for name in vector.outputs.keys() - set(STATES):
            assert reference.largest_difference(outputs[name], vector.arrays[name][place]) <= vector.tolerance(name)
    for name in STATES:
        if name in vector.outputs:
            last = vector.arrays[name] if vector.settings.get("chunk") else vector.arrays[name][-1]
            assert reference.largest_difference(outputs[f"{name}o"], last) <= vector.tolerance(name)


def checkpoint(vector, folder):
    network = reference.network(vector.model, **vector.options)
    torch.save(network.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


@pytest.mark.parametrize("name", [name for name in VECTORS if "always" not in name])
def test_vectors_from_a_checkpoint(name, tmp_path):
    vector = reference.load(name)
    segmentation = vector.settings["segmentation_pass"]
    model = importing.read(checkpoint(vector, tmp_path), **settings_of(vector), segmentation=segmentation)
    check(vector, StagedRunner(model))


@pytest.mark.parametrize(("name", "opset"), [*((name, 12) for name in FROM_ONNX), (ODD, 11), (ODD, 17), (ODD, 20)])
def test_vectors_from_the_official_export(name, opset, tmp_path):
    vector = reference.load(name)
    model = read(exports.rvm(reference.network(vector.model), opset), tmp_path, **settings_of(vector))
    check(vector, StagedRunner(model))


@pytest.mark.parametrize("refines", [True, False])
def test_exports_without_a_ratio(refines, tmp_path):
    vector = reference.load("rvm_mobilenetv3-ratio1-always-refine" if refines else "rvm_resnet50-ratio1")
    official = exports.rvm(reference.network(vector.model), 17, ratio=False, refines=refines)
    check(vector, StagedRunner(read(official, tmp_path, **settings_of(vector))))


@pytest.mark.parametrize("name", ["rvm_mobilenetv3-odd-ratio0.375", "rvm_mobilenetv3-batch2"])
def test_the_graph_runs_whole(name, tmp_path):
    vector = reference.load(name)
    model = importing.read(checkpoint(vector, tmp_path), **settings_of(vector))
    check(vector, WholeRunner(model))


def read(model, folder, **settings):
    onnx.save(model, folder / "model.onnx")
    return importing.read(folder / "model.onnx", **settings)


@pytest.fixture(scope="module")
def official():
    """The official export as bytes, since what happens to it happens in place."""
    return exports.rvm(reference.network("rvm_mobilenetv3")).SerializeToString()


@pytest.fixture
def fresh(official):
    return onnx.load_from_string(official)


FIXED = {"src": (1, 3, 149, 251), "r1i": (1, 16, 28, 47), "r2i": (1, 20, 14, 24)}
FIXED |= {"r3i": (1, 40, 7, 12), "r4i": (1, 64, 4, 6)}
TREATMENTS = {
    "renamed": lambda model, folder: exports.renamed(model),
    "simplified": lambda model, folder: exports.simplified(model, folder),
    "renamed and simplified": lambda model, folder: exports.simplified(exports.renamed(model), folder),
    "fixed sizes": lambda model, folder: exports.simplified(
        exports.with_constant_input(model, "downsample_ratio", [0.375]), folder, FIXED
    ),
    "fixed ratio": lambda model, folder: exports.with_constant_input(model, "downsample_ratio", [0.375]),
}


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_maltreated_files(treatment, fresh, tmp_path):
    vector = reference.load(ODD)
    check(vector, StagedRunner(read(TREATMENTS[treatment](fresh, tmp_path), tmp_path, **settings_of(vector))))


def test_float16_files(fresh, tmp_path):
    vector = reference.load(ODD)
    run = StagedRunner(read(exports.halved(fresh), tmp_path, **settings_of(vector)))
    frame, place = frames_of(vector)[0]
    pha = run(frame=frame)["pha"]
    assert np.abs(pha - vector.arrays["pha"][place]).mean() < 2e-3


def test_networks_touch_small_tensors_alone(fresh, tmp_path):
    program = StagedRunner(read(fresh, tmp_path, size=(1920, 1080), downsample_ratio=0.25)).program
    assert [type(stage).__name__ for stage in program.stages] == ["OpStage", "NetworkStage", "OpStage"]
    assert program.tensors["src_sm"].shape == (1, 3, 270, 480)
    assert program.tensors["r4i"].shape == (1, 64, 17, 30)
    assert max(np.prod(tensor.shape) for tensor in program.tensors.values()) == 16 * 135 * 240


def test_stages_have_no_shapes_left_to_compute(fresh, tmp_path):
    from trtmatte.compiler.graph.cut import cut

    _, (network,) = cut(read(fresh, tmp_path, size=(1280, 720), downsample_ratio=0.375))
    kinds = {node.op_type for node in network.graph.node}
    assert not kinds & {"Shape", "Expand", "Cast", "Constant", "Identity", "Unsqueeze", "Gather", "Pad"}
    onnx.checker.check_model(network, full_check=True)


def test_one_network_serves_frames_of_other_sizes(fresh, tmp_path):
    """480x270 from 1920x1080 by a quarter serves 1280x720 as the ratio 0.375 does."""
    onnx.save(fresh, tmp_path / "model.onnx")
    hd = StagedRunner(importing.read(tmp_path / "model.onnx", size=(1920, 1080), downsample_ratio=0.25))
    own = StagedRunner(importing.read(tmp_path / "model.onnx", size=(1280, 720), downsample_ratio=0.375))
    frame = np.random.default_rng(0).integers(0, 256, (1, 3, 720, 1280), dtype=np.uint8)
    actual, expected = hd(frame=frame), own(frame=frame)
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-6)


@pytest.mark.parametrize(
    ("size", "ratio", "single", "small"),
    [
        ((1920, 1080), 0.25, False, (480, 270)),
        ((1080, 720), 0.35, False, (378, 251)),  # 720 * 0.35 falls short of 252 in double precision
        ((1080, 720), 0.35, True, (378, 252)),
        ((251, 149), 0.375, True, (94, 55)),
    ],
)
def test_small_sizes_are_rounded_as_the_original_rounds(size, ratio, single, small):
    from trtmatte.compiler.families.rvm import spec

    assert spec.shrink(size, ratio, single).size == small


@pytest.mark.parametrize("single", [False, True])
def test_auto_leaves_one_pixel_of_each_side(single):
    from trtmatte.compiler.families.rvm import spec

    for short in [*range(1, 400), 1999]:
        for size in ((20_000, short), (short, 2000)):
            small = spec.shrink(size, spec.ratio(spec.Settings(), size), single).size
            assert min(small) >= 1
            assert max(small) == 512 or min(small) == 1
    with pytest.raises(SettingError, match=r"downsample_ratio 0\.05 leaves nothing of a frame of 20000x10"):
        spec.shrink((20_000, 10), spec.ratio(spec.Settings(0.05), (20_000, 10)), single)


def test_auto_brings_the_long_side_to_512_and_enlarges_nothing(fresh, tmp_path):
    onnx.save(fresh, tmp_path / "model.onnx")
    for size, expected in (((1280, 720), (288, 512)), ((300, 200), (200, 300))):
        program = StagedRunner(importing.read(tmp_path / "model.onnx", size=size)).program
        assert program.tensors["src_sm"].shape[2:] == expected


@pytest.mark.parametrize(
    ("size", "ratio"), [((3000, 40), "auto"), ((70, 1500), "auto"), ((1080, 100), 0.7), ((5, 600), "auto"), ((1, 1), 1)]
)
def test_sizes_of_pictures(size, ratio, fresh, tmp_path):
    """The smallest, and those whose small size differs in single and in double precision, are as the file makes them.

    ONNX Runtime computes positions in single precision, in the noise of 3000 pixels 2e-4 off.
    """
    width, height = size
    run = StagedRunner(read(fresh, tmp_path, size=size, downsample_ratio=ratio))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    factor = np.array([min(512 / max(size), 1) if ratio == "auto" else ratio], np.float32)
    states = {f"{name}i": np.zeros((1, 1, 1, 1), np.float32) for name in STATES}
    frames = np.random.default_rng(0).integers(0, 256, (2, 1, 3, height, width), dtype=np.uint8)
    for frame in frames:
        src = frame.astype(np.float32) / 255
        fgr, pha, *new = session.run(None, {"src": src, "downsample_ratio": factor, **states})
        states = dict(zip(states, new, strict=True))
        outputs = run(frame=frame)
        assert reference.largest_difference(outputs["pha"], pha) <= 5e-4
        assert reference.largest_difference(outputs["fgr"], fgr) <= 5e-4


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


def without_output(model, name):
    kept = [each for each in model.graph.output if each.name != name]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return model


def with_a_unit_less(model):
    """The deepest recurrent unit's activation becomes another one."""
    next(node for node in model.graph.node if node.op_type == "Tanh").op_type = "Softsign"
    return model


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda model: exports.with_constant_input(model, "r3i", np.zeros((1, 1, 1, 1))), "unit 3 is the constant r3i"),
        (lambda model: without_output(model, "r2o"), "unit 2 .* is no output"),
        (lambda model: without_output(model, "pha"), "its outputs are not"),
        (with_a_unit_less, "has 3 convolutional GRUs; expected 4"),
    ],
    ids=["state no input", "state no output", "no alpha", "unit missing"],
)
def test_almost_matches_say_what_differs(damage, message, fresh, tmp_path):
    with pytest.raises(ModelError, match=message):
        read(damage(fresh), tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"downsample_ratio": 0}, "above 0"),
        ({"downsample_ratio": "half"}, "'auto'"),
        ({"downsample_ratio": 0.001}, "leaves nothing"),
        ({"refine_mode": "full"}, "rvm has no setting refine_mode; it has downsample_ratio"),
        ({"family": "bokeh"}, "family is 'bokeh'"),
        ({"size": (0, 5)}, "0x5"),
        ({"segmentation": True}, "checkpoint"),
    ],
)
def test_wrong_settings_are_refused(settings, message, fresh, tmp_path):
    with pytest.raises(SettingError, match=message):
        read(fresh, tmp_path, **{"size": (64, 48), **settings})


def test_a_folded_ratio_is_not_changed_silently(fresh, tmp_path):
    model = exports.with_constant_input(fresh, "downsample_ratio", [0.5])
    with pytest.raises(SettingError, match=r"has 0\.5 folded in"):
        read(model, tmp_path, size=(64, 48), downsample_ratio=0.25)


def test_files_of_a_fixed_size_are_for_that_size(fresh, tmp_path):
    model = exports.simplified(fresh, tmp_path, {"src": (1, 3, 48, 64)})
    message = r"fixed shape \[1, 3, 48, 64\], .* build an engine of size 64x48 and batch 1, or export"
    with pytest.raises(ModelError, match=message):
        read(model, tmp_path, size=(96, 64))


def test_the_official_export_is_what_the_original_exports():
    """The stand-in for the official exporter computes what the vectors say, before anything of ours touches it."""
    vector = reference.load(ODD)
    official = exports.rvm(reference.network(vector.model))
    session = onnxruntime.InferenceSession(official.SerializeToString(), providers=["CPUExecutionProvider"])
    src = vector.picture()[0]
    zero = np.zeros((1, 1, 1, 1), np.float32)
    feed = {"src": src, **{f"{name}i": zero for name in STATES}, "downsample_ratio": np.array([0.375], np.float32)}
    fgr, pha = session.run(["fgr", "pha"], feed)
    assert reference.largest_difference(fgr, vector.arrays["fgr"][0]) <= vector.tolerance("fgr")
    assert reference.largest_difference(pha, vector.arrays["pha"][0]) <= vector.tolerance("pha")
