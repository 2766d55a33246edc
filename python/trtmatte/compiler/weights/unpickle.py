"""A pickle as plain data.

Python's own unpickler imports and calls what a file names, and its C form can be made to hang or to allocate without
limit. This one knows the opcodes that PyTorch writes. A global is looked up in a table of our own functions, an object
of TorchScript becomes a `Record`, and every byte makes a bounded amount of work.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from trtmatte.compiler.weights.tensors import REBUILD, Foreign, Type, UnreadableError
from trtmatte.support.text import shown

__all__ = ["Record", "unpickle"]

_MOST_STEPS: Final = 2_000_000  # a training checkpoint of the largest known network has 60,000
_SCRIPTED: Final = "__torch__"
_LARGEST_KEY: Final = 1 << 32  # larger numbers can be chosen so that a dictionary of them takes for ever

PersistentLoad = Callable[[Any], Any]


@dataclass(eq=False)
class Record:
    """An object of a TorchScript class, as data: the name of its class and its attributes."""

    kind: str
    state: Any = field(default=None, repr=False)


def unpickle(data: bytes, start: int, persistent: PersistentLoad) -> tuple[Any, int]:
    """The value that is pickled at `start`, and where its pickle ends. Raises `UnreadableError`."""
    reader = _Reader(data, start, persistent)
    try:
        return reader.value(), reader.at
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(f"its pickle is damaged at byte {reader.at}: {shown(error)}") from error


def _items(pairs: Any = ()) -> dict[Any, Any]:
    """A dictionary of pairs. Keys that are neither text nor small numbers get stand-ins, which are cheap to compare."""
    pairs = pairs.items() if isinstance(pairs, dict) else pairs
    return {key if _is_cheap(key) else Foreign("key"): value for key, value in pairs}


def _is_cheap(key: Any) -> bool:
    return isinstance(key, (str, bytes, type(None))) or (isinstance(key, int) and abs(key) < _LARGEST_KEY)


def _first(value: Any, *_others: Any) -> Any:
    return value


def _with_attributes(made_by: Any, _kind: Any, arguments: Any, _attributes: Any) -> Any:
    return _DATA[made_by.name](*arguments)


_DATA: Final[Mapping[str, Callable[..., Any]]] = {
    "_codecs.encode": lambda text, encoding="latin1": text.encode("latin1"),
    "builtins.bytearray": lambda content=b"", *others: content,
    "builtins.complex": lambda *parts: Foreign("complex number"),
    "builtins.set": lambda parts=(): parts,
    "collections.Counter": _items,
    "collections.OrderedDict": _items,
    "torch.Size": _first,
    "torch.Tensor": lambda *parts: Foreign("tensor without a storage"),
    "torch.device": lambda *parts: Foreign("device"),
    "torch.nn.parameter.Parameter": _first,
    "torch.serialization._get_layout": lambda name: Foreign("layout"),
    "torch.jit._pickle.build_boollist": _first,
    "torch.jit._pickle.build_doublelist": _first,
    "torch.jit._pickle.build_intlist": _first,
    "torch.jit._pickle.build_tensorlist": _first,
    "torch.jit._pickle.restore_type_tag": _first,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    **REBUILD,
}
_OLD_MODULES: Final = {"__builtin__": "builtins"}


class _Global:
    """A name in a pickle: one of our functions, a type, or a class of TorchScript."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *arguments: Any) -> Any:
        if self.name.startswith(_SCRIPTED):
            return Record(self.name, {})
        return _DATA[self.name](*arguments)


def _find(module: str, name: str) -> Any:
    whole = f"{_OLD_MODULES.get(module, module)}.{name}"
    if whole in _DATA or module.split(".")[0] == _SCRIPTED:
        return _Global(whole)
    if module in ("torch", "torch.storage") and (known := Type.named(name)) is not None:
        return known
    raise UnreadableError(
        f"is a pickle that wants to call {shown(whole)}, and trtmatte runs no code from a model file; "
        "a checkpoint must hold tensors alone: save model.state_dict() and pass that file",
        whole=True,
    )


class _Reader:
    def __init__(self, data: bytes, start: int, persistent: PersistentLoad) -> None:
        self.data, self.at, self.persistent = data, start, persistent
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.left = _MOST_STEPS

    def value(self) -> Any:
        while self.left > 0:
            self.left -= 1
            code = self.take(1)
            if code == pickle.STOP:
                return self.stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise UnreadableError(
                    f"its pickle has the opcode {code!r} at byte {self.at - 1}, which PyTorch does not write"
                )
            step(self)
        raise UnreadableError(f"its pickle has more than {_MOST_STEPS} steps")

    # Reading bytes

    def take(self, count: int) -> bytes:
        part = self.data[self.at : self.at + count]
        if len(part) < count:
            raise UnreadableError(f"its pickle ends early, at byte {len(self.data)}")
        self.at += count
        return part

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.index(b"\n", self.at, self.at + 1000)
        return self.take(end + 1 - self.at)[:-1].decode()

    def text(self, form: str) -> str:
        return self.take(self.number(form)).decode("utf-8", "surrogatepass")

    def old_text(self, form: str) -> str:
        """Text of Python 2, whose bytes may be anything."""
        return self.take(self.number(form)).decode("latin1")

    def whole(self, form: str) -> int:
        return int.from_bytes(self.take(self.number(form)), "little", signed=True)

    # Building values

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        found, self.stack = self.stack, self.marked.pop()
        return found

    def last(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        found = tuple(self.stack[-count:])
        del self.stack[-count:]
        return found

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def find(self) -> None:
        module, name = self.line(), self.line()
        self.push(_find(module, name))

    def find_named(self) -> None:
        module, name = self.last(2)
        self.push(_find(_str(module), _str(name)))

    def call(self) -> None:
        called, arguments = self.last(2)
        if not isinstance(called, _Global) or not isinstance(arguments, tuple):
            raise TypeError("it calls what is no function")
        self.left -= sum(len(each) for each in arguments if isinstance(each, (str, bytes, list, dict)))
        self.push(called(*arguments))

    def make(self) -> None:
        called, arguments = self.last(2)
        if not isinstance(called, _Global) or not called.name.startswith(_SCRIPTED) or arguments != ():
            raise TypeError("it makes an object of what is no class")
        self.push(Record(called.name))

    def build(self) -> None:
        made, state = self.stack[-2], self.stack.pop()
        if isinstance(made, Record):
            made.state = state
        elif not isinstance(made, dict):  # an OrderedDict with attributes, which state dicts have
            raise TypeError(f"it gives attributes to a {type(made).__name__}")

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise TypeError(f"it appends to a {type(target).__name__}")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise TypeError(f"it sets items of a {type(target).__name__}")
        target.update(_items(zip(values[::2], values[1::2], strict=True)))

    def load(self) -> None:
        self.push(self.persistent(self.stack.pop()))


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"it names a module by a {type(value).__name__}")
    return value


_STEPS: Final[Mapping[bytes, Callable[[_Reader], Any]]] = {
    pickle.PROTO: lambda r: r.take(1),
    pickle.FRAME: lambda r: r.take(8),
    pickle.MARK: _Reader.mark,
    pickle.POP: lambda r: r.stack.pop(),
    pickle.POP_MARK: _Reader.to_mark,
    pickle.NONE: lambda r: r.push(None),
    pickle.NEWTRUE: lambda r: r.push(True),
    pickle.NEWFALSE: lambda r: r.push(False),
    pickle.BININT: lambda r: r.push(r.number("<i")),
    pickle.BININT1: lambda r: r.push(r.number("<B")),
    pickle.BININT2: lambda r: r.push(r.number("<H")),
    pickle.LONG1: lambda r: r.push(r.whole("<B")),
    pickle.BINFLOAT: lambda r: r.push(r.number(">d")),
    pickle.BINUNICODE: lambda r: r.push(r.text("<I")),
    pickle.SHORT_BINUNICODE: lambda r: r.push(r.text("<B")),
    pickle.BINSTRING: lambda r: r.push(r.old_text("<I")),
    pickle.SHORT_BINSTRING: lambda r: r.push(r.old_text("<B")),
    pickle.BINBYTES: lambda r: r.push(r.take(r.number("<I"))),
    pickle.SHORT_BINBYTES: lambda r: r.push(r.take(r.number("<B"))),
    pickle.EMPTY_TUPLE: lambda r: r.push(()),
    pickle.TUPLE1: lambda r: r.push(r.last(1)),
    pickle.TUPLE2: lambda r: r.push(r.last(2)),
    pickle.TUPLE3: lambda r: r.push(r.last(3)),
    pickle.TUPLE: lambda r: r.push(tuple(r.to_mark())),
    pickle.EMPTY_LIST: lambda r: r.push([]),
    pickle.APPEND: lambda r: r.append([r.stack.pop()]),
    pickle.APPENDS: lambda r: r.append(r.to_mark()),
    pickle.EMPTY_SET: lambda r: r.push([]),
    pickle.ADDITEMS: lambda r: r.append(r.to_mark()),
    pickle.EMPTY_DICT: lambda r: r.push({}),
    pickle.SETITEM: lambda r: r.set_items(list(r.last(2))),
    pickle.SETITEMS: lambda r: r.set_items(r.to_mark()),
    pickle.BINPUT: lambda r: r.remember(r.number("<B")),
    pickle.LONG_BINPUT: lambda r: r.remember(r.number("<I")),
    pickle.MEMOIZE: lambda r: r.remember(len(r.memo)),
    pickle.BINGET: lambda r: r.push(r.memo[r.number("<B")]),
    pickle.LONG_BINGET: lambda r: r.push(r.memo[r.number("<I")]),
    pickle.GLOBAL: _Reader.find,
    pickle.STACK_GLOBAL: _Reader.find_named,
    pickle.REDUCE: _Reader.call,
    pickle.NEWOBJ: _Reader.make,
    pickle.BUILD: _Reader.build,
    pickle.BINPERSID: _Reader.load,
}
