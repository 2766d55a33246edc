"""The content of a file with weights: what it holds is decided by its bytes, whatever its suffix is."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trtmatte.compiler.weights import scripted
from trtmatte.compiler.weights.archive import Archive
from trtmatte.compiler.weights.tensors import Storage, StoredTensor, Type, UnreadableError
from trtmatte.compiler.weights.unpickle import unpickle
from trtmatte.errors import ModelError
from trtmatte.support.text import first_line, shown

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LARGEST", "read", "tensors"]

LARGEST: Final = 4 << 30
"""The most bytes of a file with weights."""

_MAGIC: Final = 0x1950A86A20F9469CFC6C  # the first value of a file of PyTorch before 1.6
_VERSION: Final = 1001
_BIG_ENDIAN: Final = "was written on a big-endian machine; load it there and save it as .safetensors"


def read(path: Path) -> Any:
    """The content of a file, with a `StoredTensor` for each tensor of PyTorch. Raises a ModelError with the reason."""
    reader = _reader(path)
    try:
        return reader(path)
    except UnreadableError as error:
        raise _refusal(path, error) from error
    except (MemoryError, RecursionError) as error:
        raise damaged(path, error) from error


def tensors(stored: Mapping[str, StoredTensor | Tensor], path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file. Raises a ModelError for one that is not within its storage."""
    lazy = [each for each in stored.values() if isinstance(each, StoredTensor)]
    try:
        total = sum(each.bytes for each in lazy)
        if total > _most(path):
            raise UnreadableError(f"holds tensors of {total} bytes; expected at most {_most(path)}", whole=True)
        return {key: each.tensor() if isinstance(each, StoredTensor) else each for key, each in stored.items()}
    except UnreadableError as error:
        raise _refusal(path, error) from error
    except MemoryError as error:
        raise damaged(path, error) from error


def _most(path: Path) -> int:
    """The most bytes that a file may become in memory: small files cannot ask for all of it."""
    return (64 << 20) + 8 * path.stat().st_size


def _refusal(path: Path, error: UnreadableError) -> ModelError:
    return ModelError(f"{path} {error}") if error.whole else damaged(path, error)


def damaged(path: Path, error: Exception) -> ModelError:
    reason = first_line(error)
    return ModelError(f"{path} is truncated or damaged and cannot be read; download or copy it again ({shown(reason)})")


def _reader(path: Path) -> Callable[[Path], Any]:
    """The reader for this file. Raises an error that names the file's real type if there is none."""
    if not path.is_file():
        raise ModelError(f"{path} is no file; pass the path of a checkpoint")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(64)
    if not head:
        raise ModelError(f"{path} is empty (0 bytes); download or copy it again")
    if size > LARGEST:
        raise ModelError(f"{path} has {size} bytes; expected at most {LARGEST}: save model.state_dict() alone")
    if head.startswith(b"PK"):
        return _archived
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return _safetensors
    if head.startswith(b"\x80"):
        return _pickled
    raise ModelError(f"{path} is not a checkpoint: {_what_else(head)}")


def _what_else(head: bytes) -> str:
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page; the download brought the page of the model instead of the model, open it in a browser"
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; run git lfs pull where it comes from"
    return (
        f"it begins with {head[:8]!r}, which no .pth, .safetensors or TorchScript file does; "
        "pass an ONNX model with the suffix .onnx"
    )


# Zip archives: of torch.save and of TorchScript


def _archived(path: Path) -> Any:
    archive = Archive(path, _most(path))
    if "data.pkl" not in archive:
        raise UnreadableError(
            "is a zip archive without a data.pkl, which PyTorch does not read; save it again", whole=True
        )
    if "byteorder" in archive and archive.read("byteorder").strip() != b"little":
        raise UnreadableError(_BIG_ENDIAN, whole=True)
    read = functools.cache(lambda key: bytearray(archive.read(f"data/{key}")))
    content, _ = unpickle(archive.read("data.pkl"), 0, functools.partial(_storage, lambda key, size: read(key)))
    if "constants.pkl" not in archive:
        return content
    state = scripted.state_dict(content, archive)
    if not state:
        raise UnreadableError(
            "is a frozen TorchScript file without named weights; pass the model's .pth or .onnx file", whole=True
        )
    return state


def _storage(read: Callable[[str, int], bytearray], described: Any) -> Storage:
    """The storage that a pickle names: its type, key, device and number of elements."""
    kind, held, key, _device, count = described[:5]
    if kind != "storage" or not isinstance(held, Type) or not isinstance(key, str) or type(count) is not int:
        raise UnreadableError("it names something else than a storage")
    if described[5:] not in ((), (None,)):
        raise UnreadableError("is of a PyTorch older than 0.4; load it there and save it as .safetensors", whole=True)
    size = count * held.size

    def checked() -> bytearray:
        data = read(key, size)
        if len(data) < size:
            raise UnreadableError(f"the storage {shown(key)} has {len(data)} bytes; expected {size}")
        return data

    return Storage(held, checked)


# Files of PyTorch before 1.6: five pickles, and the storages behind them


def _pickled(path: Path) -> Any:
    data = path.read_bytes()
    places: dict[str, tuple[int, int]] = {}  # where the bytes of each storage are
    types: dict[str, Type] = {}

    def read(key: str, _size: int) -> bytearray:
        start, size = places[key]
        return bytearray(data[start : start + size])

    def persistent(described: Any) -> Storage:
        storage = _storage(read, described)
        types.setdefault(described[2], storage.type)
        return storage

    magic, at = unpickle(data, 0, persistent)
    if magic != _MAGIC:
        raise UnreadableError("is a pickle that torch.save did not write; save model.state_dict() with it", whole=True)
    version, at = unpickle(data, at, persistent)
    system, at = unpickle(data, at, persistent)
    if version != _VERSION or not isinstance(system, dict):
        raise UnreadableError(f"it has another version than {_VERSION}")
    if system.get("little_endian") is not True:
        raise UnreadableError(_BIG_ENDIAN, whole=True)
    content, at = unpickle(data, at, persistent)
    keys, at = unpickle(data, at, persistent)
    places |= _places(data, at, keys, types)
    return content


def _places(data: bytes, at: int, keys: Any, types: Mapping[str, Type]) -> dict[str, tuple[int, int]]:
    whole = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not whole or sorted(keys) != sorted(types):
        raise UnreadableError("its list of storages is not that of its tensors")
    found = {}
    for key in keys:
        count = int.from_bytes(data[at : at + 8], "little")
        size = count * types[key].size
        at += 8
        if at + size > len(data):
            raise UnreadableError(f"it ends within the storage {shown(key)}, at byte {len(data)}")
        found[key] = at, size
        at += size
    return found


# Safetensors


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load
    except ImportError as error:
        raise ModelError(f"{path} needs the package safetensors to be read: pip install safetensors") from error
    try:
        return load(path.read_bytes())
    except Exception as error:
        raise damaged(path, error) from error
