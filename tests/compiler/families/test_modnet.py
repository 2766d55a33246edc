"""MODNet from every kind of file, through the program on the CPU, against the original's vectors."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests import exports, reference
from tests.program_runner import StagedRunner, WholeRunner, require_clean_foreground
from trtmatte.compiler.families import reading as importing
from trtmatte.compiler.families.modnet import network as networks
from trtmatte.compiler.families.modnet.spec import default_size
from trtmatte.compiler.graph.cut import cut
from trtmatte.errors import ModelError, SettingError

VECTORS = reference.vector_names("modnet")
BATCH = "modnet-96x160-batch2"


class SlicedNorm(nn.Module):
    """The original's way to halve the channels."""

    def __init__(self, norm):
        super().__init__()
        self.channels, self.bnorm, self.inorm = norm.split[0], norm.bnorm, norm.inorm

    def forward(self, x):
        return torch.cat([self.bnorm(x[:, : self.channels]), self.inorm(x[:, self.channels :])], 1)


class ViewedGate(nn.Module):
    """The original's squeeze and excitation, whose views depend on the batch."""

    def __init__(self, gate):
        super().__init__()
        self.fc = gate.fc

    def forward(self, x):
        batch, channels = x.shape[:2]
        weights = self.fc(functional.adaptive_avg_pool2d(x, 1).view(batch, channels)).view(batch, channels, 1, 1)
        return x * weights.expand_as(x)


def replaced(module, kind, other):
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, other(child))
        else:
            replaced(child, kind, other)
    return module


class Matte(nn.Module):
    """What upstream exports: one input, the matte alone."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return self.network(image, True)[2]


def official(*arguments, **options):
    """MODNet's official export, or one of all three outputs. A fresh one, since what happens to it happens in place."""
    return onnx.load_from_string(exported(*arguments, **options))


@functools.cache
def exported(opset=12, shape=(1, 3, 64, 96), *, dynamic=True, sliced=True, outputs=("output",)):
    network = reference.network("modnet")
    if sliced:
        network = replaced(network, networks.SplitNorm, SlicedNorm)
        network = replaced(network, networks.SqueezeExcite, ViewedGate)
    module = Matte(network) if len(outputs) == 1 else network
    axes = {name: {0: "batch_size", 2: "height", 3: "width"} for name in ("input", *outputs)} if dynamic else {}
    return exports.export(module, {"input": torch.rand(shape)}, outputs, opset, axes).SerializeToString()


def settings_of(vector):
    height, width = vector.settings["height"], vector.settings["width"]
    return {"size": (width, height), "batch": vector.settings["batch"], "input_size": (width, height)}


def check(vector, run):
    pha = run(frame=vector.arrays["src"])["pha"]
    assert reference.largest_difference(pha, vector.arrays["matte"]) <= vector.tolerance("matte")


def read(model, folder, **settings):
    onnx.save(model, folder / "model.onnx")
    return importing.read(folder / "model.onnx", **settings)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("name", VECTORS)
def test_vectors_from_a_checkpoint(name, prefix, tmp_path):
    vector = reference.load(name)
    state = {prefix + key: value for key, value in reference.network("modnet").state_dict().items()}
    torch.save(state, tmp_path / "modnet.ckpt")
    check(vector, StagedRunner(importing.read(tmp_path / "modnet.ckpt", **settings_of(vector))))


@pytest.mark.parametrize("sliced", [True, False], ids=["slices", "splits"])
@pytest.mark.parametrize(("name", "opset"), [*((name, 12) for name in VECTORS), (BATCH, 11), (BATCH, 17), (BATCH, 20)])
def test_vectors_from_the_official_export(name, opset, sliced, tmp_path):
    vector = reference.load(name)
    check(vector, StagedRunner(read(official(opset, sliced=sliced), tmp_path, **settings_of(vector))))


def test_the_graph_runs_whole(tmp_path):
    vector = reference.load(BATCH)
    check(vector, WholeRunner(read(official(17), tmp_path, **settings_of(vector))))


TREATMENTS = {
    "renamed": lambda model, folder: exports.renamed(model),
    "simplified": lambda model, folder: exports.simplified(model, folder),
    "renamed and simplified": lambda model, folder: exports.simplified(exports.renamed(model), folder),
    "fixed sizes": lambda model, folder: exports.simplified(model, folder, {"input": (2, 3, 96, 160)}),
}


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_maltreated_files(treatment, tmp_path):
    vector = reference.load(BATCH)
    check(vector, StagedRunner(read(TREATMENTS[treatment](official(), tmp_path), tmp_path, **settings_of(vector))))


def test_normalisations_that_are_not_folded(monkeypatch, tmp_path):
    preserving = functools.partial(torch.onnx.export, training=torch.onnx.TrainingMode.PRESERVE)
    monkeypatch.setattr(torch.onnx, "export", preserving)
    exported.cache_clear()
    model = official()
    exported.cache_clear()
    assert sum(node.op_type == "BatchNormalization" for node in model.graph.node) > 16
    vector = reference.load(BATCH)
    check(vector, StagedRunner(read(model, tmp_path, **settings_of(vector))))


def test_exports_of_fixed_size(tmp_path):
    vector = reference.load(BATCH)
    model = official(17, (2, 3, 96, 160), dynamic=False)
    check(vector, StagedRunner(read(model, tmp_path, size=(160, 96), batch=2)))


@pytest.mark.parametrize("treat", [lambda model: model, exports.renamed], ids=["as exported", "renamed"])
def test_of_three_outputs_the_matte_is_taken(treat, tmp_path):
    vector = reference.load(BATCH)
    model = treat(official(outputs=("semantic", "detail", "matte")))
    check(vector, StagedRunner(read(model, tmp_path, **settings_of(vector))))


def test_float16_files(tmp_path):
    vector = reference.load(BATCH)
    run = StagedRunner(read(exports.halved(official()), tmp_path, **settings_of(vector)))
    assert np.abs(run(frame=vector.arrays["src"])["pha"] - vector.arrays["matte"]).mean() < 4e-3


# ---------------------------------------------------------------------------------------------------------------------
# Frames of other sizes than the network's


@pytest.mark.parametrize(
    ("frame", "seen"),
    [
        ((1920, 1080), (896, 512)),  # int(1920 / 1080 * 512) = 910
        ((1080, 1920), (512, 896)),
        ((300, 200), (768, 512)),
        ((512, 512), (512, 512)),
        ((600, 500), (576, 480)),  # neither wholly above 512 nor wholly below
        ((1920, 512), (1920, 512)),
        ((20, 600), (32, 576)),
    ],
)
def test_default_sizes_are_the_originals(frame, seen):
    assert default_size(frame) == seen


@pytest.mark.parametrize("size", [(251, 149), (97, 61)], ids=["smaller", "larger"])
def test_frames_are_sampled_by_area_both_ways(size, tmp_path):
    width, height = size
    frame = np.random.default_rng(5).integers(0, 256, (2, 3, height, width), dtype=np.uint8)
    run = StagedRunner(read(official(), tmp_path, size=size, batch=2, input_size=(96, 128)))
    x = functional.interpolate(torch.from_numpy(reference.prepare(frame, "modnet")), (128, 96), mode="area")
    with torch.no_grad():
        small = reference.network("modnet").alpha(x)
        alpha = functional.interpolate(small, (height, width), mode="area")
    outputs = run(frame=frame)
    assert reference.largest_difference(outputs["pha"], alpha.numpy()) <= 2e-4
    require_clean_foreground(outputs["fgr"], frame, small, "area")


def test_networks_touch_small_tensors_alone(tmp_path):
    program, (network,) = cut(read(official(), tmp_path, size=(1920, 1080)))
    assert [type(stage).__name__ for stage in program.stages] == ["OpStage", "NetworkStage", "OpStage", "OpStage"]
    assert {name: tensor.shape for name, tensor in program.tensors.items()} == {
        "image": (1, 3, 512, 896),
        "alpha": (1, 1, 512, 896),
        "colours": (1, 6, 128, 128),
    }
    assert not {node.op_type for node in network.graph.node} & {"Shape", "Cast", "Constant", "Gather", "Unsqueeze"}
    onnx.checker.check_model(network, full_check=True)


def test_one_network_serves_frames_of_other_sizes(tmp_path):
    frame = np.random.default_rng(0).integers(0, 256, (1, 3, 70, 90), dtype=np.uint8)
    large, own = (
        StagedRunner(read(official(), tmp_path, size=size, input_size=(64, 64)))(frame=frame)
        for size in ((640, 480), (90, 70))
    )
    np.testing.assert_allclose(large["pha"], own["pha"], atol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


def with_a_norm_less(model):
    """One instance normalisation gives way to nothing."""
    node = next(node for node in model.graph.node if node.op_type == "InstanceNormalization")
    node.op_type = "Identity"
    del node.input[1:], node.attribute[:]
    return model


def without_sigmoid(model):
    node = next(node for node in model.graph.node if "output" in node.output)
    node.op_type = "Softplus"
    return model


def with_a_second_input(model):
    model.graph.input.append(onnx.helper.make_tensor_value_info("trimap", onnx.TensorProto.FLOAT, [1, 1, 64, 96]))
    return model


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (with_a_norm_less, r"output 15 instance normalisations.*expected one with 16"),
        (without_sigmoid, "the result of Softplus .*; expected a Sigmoid"),
        (with_a_second_input, "takes one picture, .* has the inputs input .*, trimap 1x1x64x96"),
    ],
    ids=["norm missing", "no sigmoid", "second input"],
)
def test_almost_matches_say_what_differs(damage, message, tmp_path):
    with pytest.raises(ModelError, match=message):
        read(damage(official()), tmp_path)


def test_a_matte_that_is_missing(tmp_path):
    model = official(outputs=("semantic", "detail", "matte"))
    del model.graph.output[2]
    with pytest.raises(ModelError, match="semantic 2, detail 14 instance normalisations"):
        read(model, tmp_path)


@pytest.mark.parametrize("value", [(100, 96), (0, 32), (32,), 512, (64.0, 64)])
def test_input_sizes_are_multiples_of_32(value, tmp_path):
    with pytest.raises(SettingError, match=r"input_size is .* multiples of 32"):
        read(official(), tmp_path, input_size=value)


def test_files_of_a_fixed_size_are_for_that_size(tmp_path):
    model = official(dynamic=False)
    with pytest.raises(SettingError, match="pictures of width 96 alone"):
        read(model, tmp_path, input_size=(128, 64))


def test_files_of_a_fixed_batch_are_for_that_batch(tmp_path):
    with pytest.raises(ModelError, match=r"exported for another batch than 2, which .*Reshape"):
        read(official(dynamic=False), tmp_path, batch=2)


def test_the_official_export_is_what_the_original_exports():
    """The stand-in for the official exporter computes what the vectors say, before anything of ours touches it."""
    vector = reference.load(BATCH)
    session = onnxruntime.InferenceSession(official().SerializeToString(), providers=["CPUExecutionProvider"])
    (matte,) = session.run(None, {"input": vector.picture()})
    assert reference.largest_difference(matte, vector.arrays["matte"]) <= vector.tolerance("matte")
