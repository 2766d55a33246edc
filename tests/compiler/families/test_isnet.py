"""ISNet from every kind of file, through the program on the CPU, against the original's vectors and against PyTorch."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tests import exports, reference
from tests.program_runner import StagedRunner, WholeRunner
from trtmatte.compiler.families import reading as importing
from trtmatte.compiler.families.isnet.network import ISNet
from trtmatte.compiler.families.shared.nested_u import NestedU
from trtmatte.compiler.graph.cut import cut
from trtmatte.errors import ModelError, SettingError

SIZE = (93, 77)
PLAIN = {"divide_by_maximum": False, "stretch": False}
SIDES = tuple(f"d{level}" for level in range(1, 7))


class Narrow(ISNet):
    """ISNet with the widths of U-2-NetP, which is quick."""

    def __init__(self):
        NestedU.__init__(self, "small", stem=64)


class WithFeatures(torch.nn.Module):
    """The official forward: the side outputs, and what they are made of."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return *self.network(image), *self.network._levels(self.network.conv_in(image))


@functools.cache
def network():
    return reference.load_weights(Narrow())


@functools.cache
def exported(opset=15, shape=(1, 3, SIZE[1], SIZE[0]), outputs=SIDES, *, dynamic=False):
    names = (*SIDES, *(f"feature{level}" for level in range(1, 7)))
    axes = {name: {0: "batch", 2: f"h{name}", 3: f"w{name}"} for name in ("image", *names)} if dynamic else {}
    model = exports.export(WithFeatures(network()), {"image": torch.rand(shape)}, names, opset, axes)
    kept = [each for each in model.graph.output if each.name in outputs or not outputs]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return model.SerializeToString()


def official(**options):
    """A plain export of the network. A fresh one, since what happens to it happens in place."""
    return onnx.load_from_string(exported(**options))


def read(model, folder, **settings):
    onnx.save(model, folder / "model.onnx")
    return importing.read(folder / "model.onnx", **settings)


@functools.cache
def picture():
    return reference.load("isnet-odd").arrays["src"]


@functools.cache
def expected():
    with torch.no_grad():
        return network()(torch.from_numpy(reference.prepare(picture(), "isnet")))[0].numpy()


def check(model, tolerance=2e-4):
    pha = StagedRunner(model)(frame=picture())["pha"]
    assert reference.largest_difference(pha, expected()) <= tolerance
    program = cut(model)[0]
    assert program.family == "isnet"
    assert program.settings["input_size"] == list(SIZE)


def test_the_original_from_a_checkpoint(tmp_path):
    vector = reference.load("isnet-odd")
    torch.save({"net": reference.network("isnet").state_dict()}, tmp_path / "weights.pth")
    model = importing.read(tmp_path / "weights.pth", size=SIZE, input_size=SIZE, **PLAIN)
    pha = StagedRunner(model)(frame=vector.arrays["src"])["pha"]
    assert reference.largest_difference(pha, vector.arrays["d1"]) <= vector.tolerance("d1")
    assert cut(model)[0].variant == "isnet"


def test_the_default_size_is_the_originals(tmp_path):
    model = read(official(dynamic=True), tmp_path, size=(1920, 1080))
    program, (made,) = cut(model)
    assert program.tensors["image"].shape == (1, 3, 1024, 1024)
    assert program.settings["mean"] == [0.5, 0.5, 0.5]
    assert program.settings["std"] == [1, 1, 1]
    assert sum(node.op_type == "Sigmoid" for node in made.graph.node) == 1
    onnx.checker.check_model(made, full_check=True)


@pytest.mark.parametrize("outputs", [(), ("d3", "d1")], ids=["all", "another order"])
def test_outputs_of_files(outputs, tmp_path):
    check(read(official(outputs=outputs), tmp_path, size=SIZE, **PLAIN))


TREATMENTS = {
    "old": lambda model, folder: official(opset=11),
    "renamed and simplified": lambda model, folder: exports.simplified(exports.renamed(model), folder),
    "any size": lambda model, folder: official(dynamic=True),
}


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_maltreated_files(treatment, tmp_path):
    check(read(TREATMENTS[treatment](official(), tmp_path), tmp_path, size=SIZE, input_size=SIZE, **PLAIN))


def test_the_graph_runs_whole(tmp_path):
    pha = WholeRunner(read(official(), tmp_path, size=SIZE, **PLAIN))(frame=picture())["pha"]
    assert reference.largest_difference(pha, expected()) <= 2e-4


def in_float16(model):
    """As converters write it: float16 inside, float32 at the edges and around every Resize, the Casts at the end."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    casts = []

    def cast(name, kind):
        casts.append(helper.make_node("Cast", [name], [f"{name}/{len(casts)}"], to=kind))
        return casts[-1].output[0]

    def cast_back(node, kind):
        name, node.output[0] = node.output[0], f"{node.output[0]}/before"
        casts.append(helper.make_node("Cast", node.output[:1], [name], to=kind))

    outputs = {each.name for each in model.graph.output}
    for node in model.graph.node:
        node.input[:] = [cast(name, TensorProto.FLOAT16) if name == "image" else name for name in node.input]
        if node.op_type == "Resize":
            node.input[0] = cast(node.input[0], TensorProto.FLOAT)
            cast_back(node, TensorProto.FLOAT16)
        if node.output[0] in outputs:
            cast_back(node, TensorProto.FLOAT)
    model.graph.node.extend(casts)
    del model.graph.value_info[:]
    return model


def test_files_in_float16_that_are_not_sorted(tmp_path):
    model = in_float16(official())
    assert model.graph.node[-1].op_type == "Cast", "the producers come after what reads them"
    with pytest.raises(onnx.checker.ValidationError, match="sorted"):
        onnx.checker.check_model(model)
    check(read(model, tmp_path, size=SIZE, **PLAIN), tolerance=2e-3)


# ---------------------------------------------------------------------------------------------------------------------
# What files do not show


def prepared(frame, mean, std, *, divide):
    x = torch.from_numpy(frame.astype(np.float32) / 255)
    x = x / x.amax((1, 2, 3), keepdim=True) if divide else x
    return (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


@pytest.mark.parametrize(("divide", "stretch"), [(True, False), (False, True)])
def test_preparation(divide, stretch, tmp_path):
    mean, std = (0.4, 0.5, 0.3), (1.0, 0.5, 2.0)
    dark = picture() // 3
    ways = {"mean": mean, "std": std, "divide_by_maximum": divide, "stretch": stretch}
    model = read(official(), tmp_path, size=SIZE, **ways)
    with torch.no_grad():
        alpha = network().alpha(prepared(dark, mean, std, divide=divide)).numpy()
    if stretch:
        alpha = (alpha - alpha.min()) / (alpha.max() - alpha.min())
    assert reference.largest_difference(StagedRunner(model)(frame=dark)["pha"], alpha) <= 5e-4
    kept = cut(model)[0].settings
    assert {name: kept[name] for name in ways} == {**ways, "mean": list(mean), "std": list(std)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean": (0.5, 0.5)}, r"mean is \(0\.5, 0\.5\); expected three numbers"),
        ({"std": (1, 0, 1)}, "expected three numbers that are not 0"),
        ({"input_size": (1024,)}, "whole numbers from 1"),
        ({"input_size": (64, 64)}, "pictures of width 93 alone"),
    ],
)
def test_settings_are_checked(settings, message, tmp_path):
    with pytest.raises(SettingError, match=message):
        read(official(), tmp_path, **settings)


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


def with_logits(model):
    for node in model.graph.node:
        if node.op_type == "Sigmoid":
            node.op_type = "Identity"
    return model


def with_a_second_input(model):
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, 64, 96]))
    return model


def test_logits_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"looks like ISNet, .* sigmoid of a side output \(d1: the result of Resize"):
        read(with_logits(official()), tmp_path)


def test_a_second_input_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"ISNet takes one picture, .* mask 1x1x64x96"):
        read(with_a_second_input(official()), tmp_path)


def test_a_checkpoint_that_is_almost_isnet(tmp_path):
    with torch.device("meta"):
        state = ISNet().state_dict()
    state = {key: torch.zeros(value.shape) for key, value in state.items() if key != "side1.bias"}
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match=r"is almost isnet, but differs: 1 missing: side1\.bias"):
        importing.read(tmp_path / "weights.pth")


def test_a_plain_network_with_a_stem_is_not_isnet(tmp_path):
    """A convolution that halves the picture, a sigmoid at the end, no nested U's."""
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1),
        torch.nn.Conv2d(8, 1, 3, 1, 1),
        torch.nn.Upsample(scale_factor=2),
        torch.nn.Sigmoid(),
    )
    model = exports.export(net, {"image": torch.rand(1, 3, 32, 32)}, ["alpha"], 17)
    with pytest.raises(ModelError, match="is of no family"):
        read(model, tmp_path)
