"""Pickles that make Python's own unpickler, or PyTorch's, hang, recurse or allocate without end."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from tests.compiler.weights import hostile
from trtmatte.compiler.families.checkpoint import load_state
from trtmatte.errors import ModelError

TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000X\3\0\0\0cpuK\2tQ"
    b"K\0K\2\x85K\1\x85\x89}tR"
)


def archive(pickled: bytes) -> bytes:
    """A file of torch.save with this pickle and one storage of two floats."""
    floats = torch.ones(2).numpy().tobytes()
    return hostile.archived(
        {"a/data.pkl": b"\x80\x02" + pickled, "a/byteorder": b"little", "a/version": b"3\n", "a/data/0": floats}
    )


def colliding(count: int) -> bytes:
    """Whole numbers with one hash."""
    period = (1 << 61) - 1
    numbers = ((number * period).to_bytes(12, "little") for number in range(1, count + 1))
    return b"}(" + b"".join(b"\x8a\x0c" + each + b"N" for each in numbers) + b"u."


CASES: dict[str, bytes] = {
    "a key that doubles": b"}" + b")q\0" + b"h\0h\0\x86q\0" * 60 + b"Ns.",
    "a value that doubles": b"}X\1\0\0\0a" + b"]q\0" + b"](h\0h\0eq\0" * 60 + b"s.",
    "keys of one hash": colliding(60_000),
    "a memo of 4 GB": b"}r\xff\xff\xff\xff.",
    "text of 4 GB": b"X\xff\xff\xff\xff.",
    "a deep nest": b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "a deep tuple": b")" + b"\x85" * 1_000_000 + b".",
    "a dictionary in itself": b"}q\0X\5\0\0\0modelh\0s.",
    "a list that is copied over and over": b"]q\0("
    + b"N" * 100_000
    + b"e"
    + b"cbuiltins\nset\nh\0\x85R0" * 50_000
    + b".",
    "more steps than any file has": b"N0" * 2_000_000 + b"}.",
    "no end": b"}",
    "nothing on the stack": b".",
    "a mark alone": b"(.",
    "a call of nothing": b")R.",
    "a number that is called": b"K\1)R.",
    "an object of a function": b"ctorch._utils\n_rebuild_tensor_v2\n)\x81.",
    "a name of two megabytes": b"}X" + (2_000_000).to_bytes(4, "little") + b"net." * 500_000 + b"Ns.",
    "a tensor of another library": b"}X\1\0\0\0acnumpy.core.multiarray\nscalar\n)Rs.",
    "a name with an escape": b"}X\5\0\0\0a\x1b[2JNs.",
}


def test_the_pickle_is_right_without_a_change(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(archive(b"}X\1\0\0\0a" + TENSOR + b"s."))
    assert torch.equal(load_state(path)["a"], torch.ones(2))
    assert torch.equal(torch.load(path, weights_only=True)["a"], torch.ones(2))


@pytest.mark.parametrize("case", CASES)
def test_reading_ends_with_an_error(case: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(archive(CASES[case]))
    began = time.process_time()
    with pytest.raises(ModelError) as error:
        load_state(path)
    assert time.process_time() - began < 30
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1000


def test_an_archive_that_grows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    content = hostile.entries(archive(b"}X\1\0\0\0a" + TENSOR + b"s."))
    path.write_bytes(hostile.archived({**content, "a/data/1": bytes(200 << 20)}, zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ModelError, match=r"archive of \d+ bytes; expected at most"):
        load_state(path)


def test_an_archive_with_a_huge_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(hostile.archived({f"a/{number}": b"" for number in range(90_000)}))
    with pytest.raises(ModelError, match="its directory has"):
        load_state(path)


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(archive(b"}.").replace(b"a/byteorder", b"a/data.pkl_").replace(b"a/data.pkl_", b"a/data.pkl\0"))
    with pytest.raises(ModelError):
        load_state(path)
