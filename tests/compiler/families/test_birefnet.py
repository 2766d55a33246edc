"""BiRefNet from every kind of file: networks of its structure that are small, so that tests are quick."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import trtmatte
from tests import exports, reference
from tests.compiler.families.rembg import finished, prepared
from tests.program_runner import StagedRunner, WholeRunner
from trtmatte.backends import tensorrt
from trtmatte.compiler.families import reading as importing
from trtmatte.compiler.families import registry
from trtmatte.compiler.families.birefnet import network as networks
from trtmatte.compiler.families.checkpoint import load_network
from trtmatte.compiler.graph.cut import cut
from trtmatte.compiler.graph.deform_conv import has_deform_conv, sampled
from trtmatte.compiler.graph.precision import rule_of, to_fp16
from trtmatte.compiler.options import Options
from trtmatte.compiler.program import read_program
from trtmatte.compiler.source import locate
from trtmatte.errors import FrameError, ModelError, SettingError

torch = pytest.importorskip("torch")

SEEN = (96, 64)
TINY: dict[str, Any] = {
    "tiny_swin": (8, (2, 1, 1, 1), (1, 2, 2, 4), 7),
    "tiny_pvt": ((10, 20, 40, 80), (1, 1, 1, 1), (4, 4, 2, 2)),
}
PLAIN = {"input_size": SEEN, "divide_by_maximum": False, "stretch": False}
STEP = 1 / 255


@functools.cache
def tiny(kind: str = "tiny_swin") -> Any:
    """A network with few channels and blocks. Its decoder is as wide as any."""
    table: dict[str, Any] = networks.SWIN if kind == "tiny_swin" else networks.PVT
    table[kind] = TINY[kind]
    try:
        network = networks.BiRefNet(kind)
    finally:
        del table[kind]
    return reference.load_weights(network)


@functools.cache
def exported(form: str = "nodes", *, alpha: bool = False, levels: bool = False) -> bytes:
    return exports.birefnet(tiny(), SEEN, form, alpha=alpha, levels=levels).SerializeToString()


def official(form: str = "nodes", **options: bool) -> onnx.ModelProto:
    return onnx.load_from_string(exported(form, **options))


def read(model: onnx.ModelProto, folder: Any, **settings: Any) -> onnx.ModelProto:
    onnx.save(model, folder / "model.onnx")
    return importing.read(folder / "model.onnx", **settings)


def frame(height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray:
    """Smooth colours, uint8 [1,3,H,W]."""
    coarse = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (smooth * 255).round().byte().numpy()


def alpha_of(network: Any, picture: Any) -> np.ndarray:
    with torch.inference_mode():
        return network.alpha(picture).numpy()


def test_both_backbones_become_graphs() -> None:
    for kind in TINY:
        family = registry.family("birefnet")
        graph = family.from_network(tiny(kind), f"birefnet_{kind}", SEEN, 1, family.checked(PLAIN))
        program, (network,) = cut(graph)
        assert program.variant == kind
        assert has_deform_conv(network)
        result = StagedRunner(graph)(frame=frame())["pha"]
        expected = alpha_of(tiny(kind), prepared(frame(), SEEN, divide=False))
        assert expected.std() > 0.02
        assert reference.largest_difference(result, expected) <= STEP


def test_networks_are_free_of_shapes() -> None:
    """Sizes, masks and positions are constants, and a picture of the frame's size is seen by no wide convolution."""
    family = registry.family("birefnet")
    graph = family.from_network(tiny(), "birefnet_swin_t", SEEN, 1, family.checked(PLAIN))
    _, (network,) = cut(graph)
    kinds = {node.op_type for node in network.graph.node}
    assert not kinds & {"Shape", "Cast", "Gather", "Constant", "ConstantOfShape", "Expand", "Where", "Range"}
    weights = {each.name: list(each.dims) for each in network.graph.initializer}
    read = [weights[node.input[1]] for node in network.graph.node if node.op_type == "Conv"]
    assert [1, 3, 5, 5] in read  # the last block that reads the picture, joined with the head
    pixels = 7 * 7  # of a window
    tables = [shape for shape in weights.values() if shape[-2:] == [pixels, pixels]]
    assert tables
    assert all(shape[0] == 1 or shape[1] == 1 for shape in tables), "masks and biases are summed: a gigabyte in Swin-L"


@pytest.mark.parametrize("settings", [{}, {"stretch": False}, {"divide_by_maximum": False}])
def test_rembgs_habits(settings: dict[str, bool], tmp_path: Any) -> None:
    dark = frame(50, 70) // 3
    run = StagedRunner(read(official(), tmp_path, size=(70, 50), **settings))
    alpha = alpha_of(tiny(), prepared(dark, SEEN, settings.get("divide_by_maximum", True)))
    expected = finished(alpha, (70, 50), settings.get("stretch", True))
    assert reference.largest_difference(run(frame=dark)["pha"], expected) <= 2 * STEP


@pytest.mark.parametrize(
    ("form", "options"), [("nodes", {"alpha": True}), ("nodes", {"levels": True}), ("gathers", {})]
)
def test_official_files(form: str, options: dict[str, bool], tmp_path: Any) -> None:
    """With DeformConv as nodes, and decomposed as exporters for older opsets do; with and without the sigmoid."""
    model = official(form, **options)
    assert has_deform_conv(model) == (form == "nodes")
    graph = read(model, tmp_path, **PLAIN, size=SEEN)
    assert cut(graph)[0].family == "birefnet"
    expected = alpha_of(tiny(), prepared(frame(), SEEN, divide=False))
    assert reference.largest_difference(StagedRunner(graph)(frame=frame())["pha"], expected) <= STEP


def test_decomposed_deform_conv_is_recognised(tmp_path: Any) -> None:
    onnx.save(official("gathers"), tmp_path / "model.onnx")
    options = Options(size=SEEN, settings=dict(PLAIN))
    _, networks = read_program(locate(tmp_path / "model.onnx")[0], options, None)
    (network,) = networks.values()
    assert sum(node.op_type == "DeformConv" for node in network.graph.node) == 20
    assert not any(node.op_type.startswith("Gather") for node in network.graph.node)


@pytest.mark.parametrize("treatment", ["renamed", "simplified"])
def test_maltreated_files(treatment: str, tmp_path: Any) -> None:
    model = exports.renamed(official()) if treatment == "renamed" else exports.simplified(official(), tmp_path)
    run = StagedRunner(read(model, tmp_path, **PLAIN, size=SEEN))
    expected = alpha_of(tiny(), prepared(frame(), SEEN, divide=False))
    assert reference.largest_difference(run(frame=frame())["pha"], expected) <= STEP


def test_the_graph_runs_whole(tmp_path: Any) -> None:
    run = WholeRunner(read(official(), tmp_path, **PLAIN, size=SEEN))
    expected = alpha_of(tiny(), prepared(frame(), SEEN, divide=False))
    assert reference.largest_difference(run(frame=frame())["pha"], expected) <= STEP


def test_checkpoints(tmp_path: Any) -> None:
    state = reference.network("birefnet_pvt_b0").state_dict()
    torch.save({f"module._orig_mod.{key}": value for key, value in state.items()}, tmp_path / "model.pth")
    loaded, name = load_network(tmp_path / "model.pth")
    assert name == "birefnet_pvt_b0"
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())


@pytest.mark.parametrize("form", ["nodes", "gathers"])
def test_engines(form: str, tmp_path: Any) -> None:
    onnx.save(official(form), tmp_path / "model.onnx")
    engine = trtmatte.build(tmp_path / "model.onnx", size=SEEN, target="onnxruntime", **PLAIN)
    assert engine.program.family == "birefnet"
    picture = frame()
    expected = alpha_of(tiny(), prepared(picture, SEEN, divide=False))[0, 0] * 255
    for backend in ("onnxruntime", "openvino"):
        if backend == "openvino":
            pytest.importorskip("openvino")
        with engine.session(device="cpu", backend=backend, outputs=("pha",)) as session:
            (pha,) = session(np.ascontiguousarray(picture[0].transpose(1, 2, 0)))
        assert np.abs(pha[..., 0] - expected).max() <= 1


def test_a_plan_of_tensorrt_rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (pip install tensorrt-rtx)")
    family = registry.family("birefnet")
    _, (network,) = cut(family.from_network(tiny(), "birefnet_swin_t", SEEN, 1, family.checked({"input_size": SEEN})))
    half = to_fp16(sampled(network), rule_of(family.keep_fp32))
    plan = tensorrt.build_plan(half.SerializeToString(), target="tensorrt-rtx", name="network-0")
    assert plan.info["inputs"] == {"image": ["float16", 1, 3, 64, 96]}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_lite_network_at_its_own_size(backend: str, tmp_path: Any) -> None:
    network = reference.network("birefnet_swin_t")
    torch.save(network.state_dict(), tmp_path / "model.pth")
    settings = {"divide_by_maximum": False, "stretch": False}
    engine = trtmatte.build(tmp_path / "model.pth", size=(1024, 1024), target="onnxruntime", **settings)
    picture = frame(1024, 1024)
    with engine.session(device="cpu", backend=backend, outputs=("pha",)) as session:
        (pha,) = session(np.ascontiguousarray(picture[0].transpose(1, 2, 0)))
    expected = alpha_of(network, prepared(picture, (1024, 1024), divide=False))[0, 0] * 255
    assert np.abs(pha[..., 0] - expected).max() <= 1


@pytest.mark.slow
def test_swin_l(tmp_path: Any) -> None:
    """The large network as a file, an engine and a plan; 512x512, so that it fits a small machine."""
    network, size = reference.network("birefnet_swin_l"), (512, 512)
    onnx.save(exports.birefnet(network, size, "nodes"), tmp_path / "model.onnx")
    settings = {"divide_by_maximum": False, "stretch": False}
    engine = trtmatte.build(tmp_path / "model.onnx", size=size, target="onnxruntime", **settings)
    picture = frame(*size)
    expected = alpha_of(network, prepared(picture, size, divide=False))[0, 0] * 255
    for backend in ("onnxruntime", "openvino"):
        with engine.session(device="cpu", backend=backend, outputs=("pha",)) as session:
            (pha,) = session(np.ascontiguousarray(picture[0].transpose(1, 2, 0)))
        assert np.abs(pha[..., 0] - expected).max() <= 1
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (pip install tensorrt-rtx)")
    engine = trtmatte.build(tmp_path / "model.onnx", size=size, target="tensorrt-rtx", **settings)
    assert "tensorrt-rtx" in engine.plans


@pytest.mark.parametrize("opset", [17, 19])
def test_official_files_run_in_onnx_runtime(opset: int) -> None:
    """The helper that decomposes DeformConv computes what the node does."""
    model = official("nodes" if opset == 19 else "gathers")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    picture = prepared(frame(), SEEN, divide=False)
    (logits,) = session.run(None, {session.get_inputs()[0].name: picture.numpy()})
    with torch.inference_mode():
        assert reference.largest_difference(logits, tiny()(picture).numpy()) <= 1e-3


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


def test_sizes_are_multiples_of_32(tmp_path: Any) -> None:
    with pytest.raises(SettingError, match=r"input_size is \(100, 64\); .* multiples of 32"):
        read(official(), tmp_path, input_size=(100, 64))
    with pytest.raises(FrameError, match="BiRefNet got a picture of 40x64; it needs sides that are multiples of 32"):
        tiny()(torch.rand(1, 3, 64, 40))


def test_files_of_a_fixed_size_are_for_that_size(tmp_path: Any) -> None:
    with pytest.raises(SettingError, match="pictures of width 96 alone"):
        read(official(), tmp_path, input_size=(128, 128))


def test_a_file_without_its_result(tmp_path: Any) -> None:
    model = official()
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(softmax.output[0], TensorProto.FLOAT, ["a"] * 4))
    with pytest.raises(ModelError, match=r"looks like BiRefNet, but none of its outputs \(.*\) is its logits"):
        read(model, tmp_path)
