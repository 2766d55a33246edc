"""The networks' parts export to ONNX and compute the same there."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest

from tests import reference
from tests.compiler.families.test_network import example

torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

OPSETS = (12, 17)


def rvm_arguments(height: int, width: int) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(5)
    shapes, channels = [], (16, 20, 40, 64)
    for count in channels:
        height, width = -(-height // 2), -(-width // 2)
        shapes.append((1, count, height, width))
    return tuple(torch.rand(shape, generator=generator) - 0.5 for shape in shapes)


def export(module: Any, arguments: tuple[Any, ...], opset: int, free: dict[int, str] | None = None) -> Any:
    """A session over the exported graph; `free` axes may change."""
    names = [f"input{n}" for n in range(len(arguments))]
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            arguments,
            file,
            dynamo=False,
            opset_version=opset,
            input_names=names,
            dynamic_axes=dict.fromkeys(names, free) if free else None,
        )
    return onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])


def check(session: Any, module: Any, arguments: tuple[Any, ...], tolerance: float) -> None:
    with torch.inference_mode():
        expected = module(*arguments)
    expected = [expected] if torch.is_tensor(expected) else expected
    fed = {f"input{n}": x.numpy() for n, x in enumerate(arguments)}
    for got, wanted in zip(session.run(None, fed), expected, strict=True):
        assert reference.largest_difference(got, wanted.numpy()) <= tolerance


def entry(network: Any, method: str) -> Any:
    from trtmatte.compiler.families.shared.layers import Entry

    return Entry(network, method)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("method", ["encode", "foreground", "segment"])
def test_rvm_parts(method: str, opset: int) -> None:
    part = entry(reference.network("rvm_mobilenetv3"), method)
    arguments = (torch.rand(1, 3, 55, 93, generator=torch.Generator().manual_seed(1)), *rvm_arguments(55, 93))
    check(export(part, arguments, opset), part, arguments, 1e-4)


def test_rvm_fast_guided_filter() -> None:
    part = entry(reference.network("rvm_mobilenetv3", refiner="fast_guided_filter"), "encode")
    arguments = (torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1)), *rvm_arguments(48, 64))
    check(export(part, arguments, 17), part, arguments, 1e-3)


@pytest.mark.parametrize("opset", OPSETS)
def test_bgmv2_parts(opset: int) -> None:
    network, (src, bgr), _ = example("bgmv2_refine_mobilenetv2")
    coarse, patches = entry(network, "coarse"), entry(network, "refine_patches")
    check(export(coarse, (src, bgr), opset), coarse, (src, bgr), 1e-4)
    half, full = torch.rand(5, 42, 8, 8), torch.rand(5, 6, 8, 8)
    session = export(patches, (half, full), opset, {0: "patches"})
    check(session, patches, (half[:3], full[:3]), 1e-4)


@pytest.mark.parametrize("mode", ["sampling", "thresholding", "full"])
def test_bgmv2_as_a_whole(mode: str) -> None:
    network, (src, bgr), _ = example("bgmv2_refine_mobilenetv2", refine_mode=mode, refine_sample_pixels=160)
    pair = tuple(torch.cat([x, x.flip(3)]) for x in (src, bgr))
    session = export(network, pair, 12, {0: "batch", 2: "height", 3: "width"})
    check(session, network, pair, 1e-4)
    check(session, network, tuple(x[:1, :, :48, :80] for x in pair), 1e-4)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(("model", "size"), [("modnet", (64, 96)), ("u2netp", (63, 95))])
def test_alpha(model: str, size: tuple[int, int], opset: int) -> None:
    network, (image,), _ = example(model)
    part, arguments = entry(network, "alpha"), (image[:, :, : size[0], : size[1]],)
    check(export(part, arguments, opset), part, arguments, 2e-4)


def test_equal_errors_are_taken_in_row_major_order() -> None:
    """Exported selection breaks ties as the network does."""
    from trtmatte.compiler.families import networks as families

    class Select(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network: Any = families.network("bgmv2_refine_mobilenetv2", refine_sample_pixels=16 * 40)

        def forward(self, err: Any) -> Any:
            return self.network.select(err, 12, 12)

    err = torch.ones(2, 1, 12, 12)
    err[0, 0, 11] = 0.5
    session = export(Select(), (err,), 17)
    (ref,) = session.run(None, {"input0": err.numpy()})
    assert np.array_equal(ref, Select()(err).numpy())
    assert ref.reshape(2, -1)[:, :40].all()
