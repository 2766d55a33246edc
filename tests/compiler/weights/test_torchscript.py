"""TorchScript files: the same names and tensors as PyTorch's own loader gives, and errors for what is not right."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from tests import reference
from tests.compiler.weights import hostile
from trtmatte.compiler.weights import reading
from trtmatte.errors import ModelError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Odd(nn.Module):
    """Everything that a module can hold: views that share a storage, other strides, types and attributes."""

    def __init__(self) -> None:
        super().__init__()
        shared = torch.arange(24.0).reshape(4, 6)
        self.weight = nn.Parameter(shared[1:3, ::2])
        self.bias = nn.Parameter(shared.t())
        self.register_parameter("scale", None)
        self.register_buffer("halves", torch.ones(3).half())
        self.register_buffer("counts", torch.tensor(7))
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("brain", torch.ones(2).bfloat16())
        self.register_buffer("nothing", torch.zeros(0, 3))
        self.register_buffer("spread", torch.ones(1).expand(5))
        self.plain = torch.zeros(2)
        self.numbers = [1, 2]
        self.table = {"a": 1.5}
        self.inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        self.again = self.inner

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.inner(x)) + self.plain + self.numbers[0] + self.table["a"]


def read(path: Path) -> dict[str, Tensor]:
    return reading.tensors(reading.read(path), path)


def assert_read_as_torch_reads(path: Path) -> None:
    ours, theirs = read(path), torch.jit.load(str(path)).state_dict()
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        assert ours[key].dtype == value.dtype
        assert torch.equal(ours[key], value)


@pytest.mark.parametrize("how", ["script", "trace"])
def test_a_module_with_everything(how: str, tmp_path: Path) -> None:
    path, module = tmp_path / "model.pt", Odd().eval()
    made = torch.jit.script(module) if how == "script" else torch.jit.trace(module, torch.zeros(2, 2))
    made.save(str(path))
    assert_read_as_torch_reads(path)


@pytest.mark.parametrize("model", ["modnet", "u2netp", "bgmv2_base_mobilenetv2", "rvm_mobilenetv3"])
def test_every_family(model: str, tmp_path: Path) -> None:
    path, network = tmp_path / "model.pt", reference.network(model)
    inputs = (torch.rand(1, 3, 64, 64),) * (2 if model.startswith("bgmv2") else 1)
    torch.jit.trace(network, inputs, strict=False, check_trace=False).save(str(path))
    assert_read_as_torch_reads(path)


def test_compressed_entries(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(hostile.archived(hostile.entries(hostile.scripted(Odd())), zipfile.ZIP_DEFLATED))
    assert_read_as_torch_reads(path)


def test_old_files_do_not_list_their_buffers(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    content = hostile.entries(hostile.scripted(nn.Sequential(nn.BatchNorm2d(2))))
    path.write_bytes(hostile.archived({k: re.sub(rb"  __buffers__ = .*\n", b"", v) for k, v in content.items()}))
    assert list(read(path)) == [f"0.{key}" for key in nn.BatchNorm2d(2).state_dict()]


def with_tensor(**changes: Any) -> bytes:
    """A file whose weight has other numbers than its storage of 8 bytes allows."""
    numbers = {"kind": b"FloatStorage", "count": 2, "offset": 0, "shape": (2,), "stride": (1,), **changes}
    plain = {key: pickle.dumps(numbers[key], 2)[2:-1] for key in ("count", "offset", "shape", "stride")}
    described = b"(X\x07\0\0\0storagectorch\n" + numbers["kind"] + b"\nX\x01\0\0\x000X\x03\0\0\0cpu" + plain["count"]
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((" + described[1:] + b"tQ"
    tensor += plain["offset"] + plain["shape"] + plain["stride"] + b"\x89}tR"
    return hostile.changed(
        hostile.scripted(hostile.Harmless()),
        "data.pkl",
        lambda old: old[: old.index(b"q\x00")] + b")\x81}X\x06\0\0\0weight" + tensor + b"sb.",
    )


WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    "an offset out of range": (lambda: with_tensor(offset=1), "ends at element 2 of a storage that holds 2"),
    "a negative offset": (lambda: with_tensor(offset=-1), "the shape, stride or offset"),
    "a huge offset": (lambda: with_tensor(offset=1 << 200), "the shape, stride or offset"),
    "a huge shape": (lambda: with_tensor(shape=(1 << 40,)), "tensors of 4398046511104 bytes"),
    "a huge shape without strides": (lambda: with_tensor(shape=(1 << 40,), stride=(0,)), "tensors of 4398046511104"),
    "a shape that overflows": (lambda: with_tensor(shape=(1 << 32, 1 << 32), stride=(0, 0)), "expected at most"),
    "a negative stride": (lambda: with_tensor(stride=(-1,)), "the shape, stride or offset"),
    "another number of strides": (lambda: with_tensor(stride=(1, 1)), "1 dimensions and 2 strides"),
    "a number for a shape": (lambda: with_tensor(shape=2), "the shape, stride or offset"),
    "a storage that is too short": (lambda: with_tensor(count=3), "has 8 bytes; expected 12"),
    "quantised elements": (lambda: with_tensor(kind=b"QInt8Storage"), "QInt8Storage"),
    "big-endian numbers": (lambda: hostile.changed(with_tensor(), "byteorder", lambda _: b"big"), "big-endian"),
    "no text of the classes": (
        lambda: hostile.archived(
            {k: v for k, v in hostile.entries(with_tensor()).items() if not k.endswith(".py")}
        ),
        "holds no module",
    ),
    "no data.pkl": (
        lambda: hostile.archived({k: v for k, v in hostile.entries(with_tensor()).items() if "data.pkl" not in k}),
        "without a data.pkl",
    ),
}  # fmt: skip


def test_the_tensor_of_the_wrong_files_is_right_without_a_change(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(with_tensor())
    assert torch.equal(read(path)["weight"], torch.ones(2))


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_refused(case: str, tmp_path: Path) -> None:
    make, says = WRONG[case]
    path = tmp_path / "model.pt"
    path.write_bytes(make())
    with pytest.raises(ModelError, match=says) as error:
        read(path)
    assert str(path) in str(error.value)
