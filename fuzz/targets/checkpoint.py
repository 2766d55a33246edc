"""Checkpoints: state dicts of torch.save in both formats, TorchScript and safetensors."""

from __future__ import annotations

import functools
import io
import json
import pickle
import random
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from trtmatte.compiler.families import checkpoint
from trtmatte.errors import TrtmatteError

__all__ = ["attack", "mutate", "seeds"]

_MOST_BYTES: Final = 65 << 20
_OPCODES: Final = b"".join(value for value in vars(pickle).values() if isinstance(value, bytes) and len(value) == 1)
_NUMBERS: Final = (
    b"K\xff",
    b"J\xff\xff\xff\xff",
    b"J\xff\xff\xff\x7f",
    b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
    b"N",
    b"\x88",
)
_NAMES: Final = (b"cbuiltins\nexec\n", b"ctorch\nQInt8Storage\n", b"c__torch__\nHook\n", b"ctorch\nDoubleStorage\n")


class _Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(24.0).reshape(4, 6)[1:3, ::2])
        self.register_buffer("nothing", None)
        self.register_buffer("counts", torch.tensor(7))
        self.table = {"a": 1.5}
        self.numbers = [1, 2]
        self.inner = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.numbers[0] + self.table["a"]


def seeds() -> list[bytes]:
    torch.manual_seed(0)
    module = _Small().eval()
    state = module.state_dict()
    training = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}, "lr": [0.1, (1, 2)]}
    return [
        _saved(state),
        _saved(training),
        _saved(state, _use_new_zipfile_serialization=False),
        _saved(training, _use_new_zipfile_serialization=False),
        _scripted(module),
        *_safetensors(state),
    ]


def mutate(data: bytes, random: random.Random) -> bytes:
    """Change the inside of a zip archive, a pickle or a header of safetensors, and keep the outside valid."""
    if data.startswith(b"PK"):
        return _changed_zip(data, random)
    if data[8:9] == b"{":
        return _changed_header(data, random)
    return _changed_pickle(data, random)


def attack(data: bytes) -> bool:
    path = _scratch() / "model.pth"
    path.write_bytes(data)
    try:
        state = checkpoint.load_state(path)
    except TrtmatteError:
        return False
    finally:
        path.unlink()
    assert all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items())
    assert sum(value.nbytes for value in state.values()) <= 2 * _MOST_BYTES
    assert all(bool(value.isfinite().all()) for value in state.values() if value.is_floating_point())
    return True


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    shared = Path("/dev/shm")  # memory, where there is one
    return tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None)


def _scratch() -> Path:
    return Path(_folder().name)


def _saved(content: object, **options: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def _scripted(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


def _safetensors(state: dict[str, Tensor]) -> list[bytes]:
    try:
        from safetensors.torch import save
    except ImportError:
        return []
    return [save({key: value.contiguous() for key, value in state.items()})]


def _changed_zip(data: bytes, random: random.Random) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [(each.filename, archive.read(each)) for each in archive.infolist()]
    except Exception:  # an earlier change of bytes damaged it
        return data
    pickles = [index for index, (name, _) in enumerate(entries) if name.endswith("data.pkl")]
    chosen = random.choice(pickles) if pickles and random.random() < 0.7 else random.randrange(len(entries))
    name, content = entries[chosen]
    what = random.random()
    if what < 0.05:
        entries.pop(chosen)
    elif what < 0.1:
        entries.insert(chosen, (name, content))
    elif what < 0.15:
        entries[chosen] = (random.choice(entries)[0], content)
    else:
        entries[chosen] = (
            name,
            _changed_pickle(content, random) if name.endswith(".pkl") else _changed(content, random),
        )
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", random.choice((0, 0, 8))) as archive:
        warnings.simplefilter("ignore", UserWarning)  # two entries of one name
        for each, bytes_of in entries:
            archive.writestr(zipfile.ZipInfo(each), bytes_of)
    return buffer.getvalue()


def _changed_pickle(data: bytes, random: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        place = random.randrange(len(changed) + 1)
        if len(changed) > 1500 and random.random() < 0.5:  # an old file begins with its pickles
            place = random.randrange(1500)
        what = random.random()
        if what < 0.3:
            changed[place : place + 1] = bytes([random.choice(_OPCODES)])
        elif what < 0.5:
            changed[place:place] = bytes([random.choice(_OPCODES)])
        elif what < 0.65:
            changed[place : place + random.choice((0, 1, 2))] = random.choice(_NUMBERS)
        elif what < 0.75:
            changed[place:place] = random.choice(_NAMES)
        elif what < 0.85:
            del changed[place : place + random.choice((1, 2, 8))]
        else:
            start = random.randrange(len(changed) + 1)
            changed[place:place] = changed[start : start + random.choice((1, 4, 30, 300))]
    return bytes(changed)


def _changed_header(data: bytes, random: random.Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size])
        about = header[random.choice(list(header))]
        key = random.choice(list(about))
        about[key] = random.choice(
            ([], [1 << 62, 4], [-1], "F64", "F8_E4M3", "", None, [0, 1 << 63], [4, 0], {"a": 1}, 1e308)
        )
    except Exception:  # an earlier change of bytes damaged it
        return _changed(data, random)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _changed(data: bytes, random: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(random.choice((1, 3, 10))):
        changed[random.randrange(len(changed))] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
    return bytes(changed)
