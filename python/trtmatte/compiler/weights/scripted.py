"""The state dict of a TorchScript archive, without its code.

An archive keeps each module as an object of a class `__torch__.…`. Its attributes are in the pickle `data.pkl`; which
of them are parameters and buffers is written in the text of the class. The text is searched and never compiled.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from trtmatte.compiler.weights.archive import Archive
from trtmatte.compiler.weights.tensors import StoredTensor, UnreadableError
from trtmatte.compiler.weights.unpickle import Record
from trtmatte.support.text import shown

__all__ = ["state_dict"]

_MOST_ATTRIBUTES: Final = 1_000_000  # of all modules; a module that stands in two places counts twice
_LONGEST_NAME: Final = 4_000
_DEEPEST: Final = 64
_LARGEST_TEXT: Final = 16 << 20
_CLASS: Final = re.compile(r"^class (\w+)\((\w*)", re.MULTILINE)
_NAMES: Final = re.compile(r'"([^"\\\n]*)"')


class _Class(NamedTuple):
    """The text of a module's class, as far as it counts here.

    Without `buffers`, as in old files, each other tensor is one.
    """

    parameters: frozenset[str]
    buffers: frozenset[str] | None
    runs_code: bool
    """Its objects restore themselves by code."""


def state_dict(root: Any, archive: Archive) -> dict[str, Any]:
    """The parameters and buffers of a module and of all modules in it, by name. Raises `UnreadableError`."""
    reader = _Modules(archive)
    if not isinstance(root, Record) or reader.of(root) is None:
        raise UnreadableError("its data.pkl holds no module")
    reader.collect(root, "", 0)
    return reader.state


class _Modules:
    def __init__(self, archive: Archive) -> None:
        self.state: dict[str, Any] = {}
        self._archive = archive
        self._texts: dict[str, dict[str, _Class]] = {}
        self._text_bytes = 0
        self._attributes = 0

    def collect(self, module: Record, prefix: str, depth: int) -> None:
        described = self.of(module)
        if described is not None and described.runs_code:
            raise UnreadableError(
                f"is a TorchScript file whose module {shown(module.kind)} restores itself by code of its own, and "
                "trtmatte runs no code from a model file; pass the model's .pth or .onnx file",
                whole=True,
            )
        if described is None or not isinstance(module.state, dict):
            raise UnreadableError(f"the module {shown(module.kind)} has no attributes")
        self._attributes += 1 + len(module.state)
        if depth > _DEEPEST or len(prefix) > _LONGEST_NAME or self._attributes > _MOST_ATTRIBUTES:
            raise UnreadableError(
                f"its modules are nested deeper than {_DEEPEST}, or have too long names or too many weights"
            )
        parameters = [name for name in module.state if name in described.parameters]
        buffers = [name for name, value in module.state.items() if _is_buffer(name, value, described)]
        for name in (*parameters, *buffers):
            if module.state[name] is not None:  # a parameter that a layer does without
                self.state[f"{prefix}{name}"] = module.state[name]
        for name, value in module.state.items():
            if isinstance(value, Record) and self.of(value) is not None:
                self.collect(value, f"{prefix}{name}.", depth + 1)

    def of(self, record: Record) -> _Class | None:
        """The class of an object; None if it is no module."""
        file, _, name = record.kind.rpartition(".")
        if file not in self._texts:
            self._texts[file] = self._read(f"code/{file.replace('.', '/')}.py")
        return self._texts[file].get(name)

    def _read(self, entry: str) -> dict[str, _Class]:
        if entry not in self._archive:
            return {}
        content = self._archive.read(entry)
        self._text_bytes += len(content)
        if self._text_bytes > _LARGEST_TEXT:
            raise UnreadableError(f"its classes have more than {_LARGEST_TEXT} bytes of text")
        text = content.decode("utf-8", "replace")
        found = list(_CLASS.finditer(text))
        ends = [*(each.start() for each in found[1:]), len(text)] if found else []
        return {
            each[1]: _describe(text[each.end() : end])
            for each, end in zip(found, ends, strict=True)
            if each[2] == "Module"
        }


def _describe(body: str) -> _Class:
    runs_code = re.search(r"^  def __setstate__\(", body, re.MULTILINE) is not None
    return _Class(_listed(body, "__parameters__") or frozenset(), _listed(body, "__buffers__"), runs_code)


def _listed(body: str, which: str) -> frozenset[str] | None:
    line = re.search(rf"^  {which} = \[(.*)\]$", body, re.MULTILINE)
    return None if line is None else frozenset(_NAMES.findall(line[1]))


def _is_buffer(name: Any, value: Any, described: _Class) -> bool:
    if described.buffers is not None:
        return name in described.buffers
    return isinstance(value, StoredTensor) and name not in described.parameters
