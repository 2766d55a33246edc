"""Files with weights that run code in readers which let them: each writes a file, or never ends."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Make = Callable[[str, bool], bytes]
"""The bytes of a file that writes the file of this name, or that loops."""


class Harmless(nn.Module):
    """A module that gives no code to TorchScript but its own."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


class Writes(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.weight: Tensor = nn.Parameter(torch.ones(2))
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight

    @torch.jit.export
    def __getstate__(self):
        return (self.path, self.weight)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, Tensor]) -> None:
        self.path = state[0]
        self.weight = state[1]
        self.training = False
        torch.save(torch.ones(2), state[0])


class Loops(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.weight: Tensor = nn.Parameter(torch.ones(2))
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight

    @torch.jit.export
    def __getstate__(self):
        return (self.path, self.weight)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, Tensor]) -> None:
        self.path = state[0]
        self.weight = state[1]
        self.training = False
        while True:
            self.weight = self.weight + 1


class Calls:
    """What Python's own unpickler calls."""

    def __init__(self, path: str, loops: bool) -> None:
        code = "while True: pass" if loops else f"open({path!r}, 'w').close()"
        self.call = (exec, (code,))

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def scripted(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module.eval()), buffer)
    return buffer.getvalue()


def saved(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def entries(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def archived(content: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as opened:
        for name, data in content.items():
            opened.writestr(name, data)
    return buffer.getvalue()


def changed(archive: bytes, name: str, change: Callable[[bytes], bytes]) -> bytes:
    """An archive in which one entry, named without its folder, has another content."""
    old = entries(archive)
    folder = next(iter(old)).split("/")[0]
    key = f"{folder}/{name}"
    return archived({**old, key: change(old.get(key, b""))})


def with_pickle(data: bytes, base: nn.Module | None = None) -> bytes:
    return changed(scripted(base or Harmless()), "data.pkl", lambda _: data)


def _hook(path: str, loops: bool) -> nn.Module:
    return Loops(path) if loops else Writes(path)


def _class(path: str, loops: bool) -> bytes:
    body = "    while True:\n      pass\n" if loops else f'    torch.save(torch.ones([2]), "{path}")\n'
    head = "class Hook:\n  x : int\n  def __setstate__(self: __torch__.Hook,\n    state: int) -> NoneType:\n"
    return (head + body).encode()


def _called(path: str, loops: bool, name: bytes) -> bytes:
    """A pickle that calls `exec`, found under a name of two lines."""
    text = Calls(path, loops).call[1][0].encode()
    return b"\x80\x02c" + name + b"\nX" + len(text).to_bytes(4, "little") + text + b"\x85R."


def _from_memo(path: str, loops: bool) -> bytes:
    """A pickle that keeps the names in its memo and calls what it finds under them."""
    text = Calls(path, loops).call[1][0].encode()
    names = b"\x80\x04\x8c\x08builtinsq\x00\x8c\x04execq\x010"
    return names + b"0h\x00h\x01\x93q\x02h\x02X" + len(text).to_bytes(4, "little") + text + b"\x85R."


HOOK = b"\x80\x02c__torch__\nHook\n)\x81K\x01b\x85."
CUSTOM = b"\x80\x02c__torch__.torch.classes.quantized\nConv2dPackedParamsBase\n)\x81K\x01b."

VARIATIONS: dict[str, Make] = {
    "a module restores itself": lambda path, loops: scripted(_hook(path, loops)),
    "a module within": lambda path, loops: scripted(Harmless(nn.ReLU(), _hook(path, loops))),
    "a module deep within": lambda path, loops: scripted(Harmless(Harmless(nn.Sequential(_hook(path, loops))))),
    "an object in the constants": lambda path, loops: changed(
        changed(scripted(Harmless()), "code/__torch__.py", lambda text: text + _class(path, loops)),
        "constants.pkl",
        lambda _: HOOK,
    ),
    "an object in the data": lambda path, loops: changed(
        with_pickle(HOOK.replace(b"\x85.", b".")), "code/__torch__.py", lambda text: text + _class(path, loops)
    ),
    "a custom class": lambda path, loops: with_pickle(CUSTOM),
    "code in the text of a class": lambda path, loops: changed(
        scripted(Harmless()), "code/__torch__.py", lambda text: Calls(path, loops).call[1][0].encode() + b"\n" + text
    ),
    "reduce in TorchScript": lambda path, loops: with_pickle(pickle.dumps({"a": Calls(path, loops)}, 2)),
    "a dotted name": lambda path, loops: with_pickle(_called(path, loops, b"torch.serialization\nos.system")),
    "a dotted name in a known module": lambda path, loops: with_pickle(
        _called(path, loops, b"torch\n_utils.os.system")
    ),
    "the prefix of TorchScript": lambda path, loops: with_pickle(_called(path, loops, b"__torch__\nbuiltins.exec")),
    "the prefix and more": lambda path, loops: with_pickle(_called(path, loops, b"__torch__builtins\nexec")),
    "names in the memo": lambda path, loops: with_pickle(_from_memo(path, loops)),
    "reduce in a checkpoint": lambda path, loops: saved({"state_dict": {"a": torch.ones(2)}, "b": Calls(path, loops)}),
    "reduce in an old checkpoint": lambda path, loops: saved(
        {"a": Calls(path, loops)}, _use_new_zipfile_serialization=False
    ),
    "a pickle alone": lambda path, loops: pickle.dumps(Calls(path, loops), 2),
}
