"""Build options: one place for names, defaults and checks.

The names are those of the flags of `trtmatte-build`, of the keys of recipes and of the arguments of `trtmatte.build`.
"""

from __future__ import annotations

import difflib
import importlib
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, get_args

from trtmatte.compiler.families import registry
from trtmatte.errors import SettingError
from trtmatte.format.outputs import COLORS, DTYPES, LAYOUTS
from trtmatte.support.renamed import notice

Target = Literal["onnxruntime", "tensorrt", "tensorrt-rtx"]
Precision = Literal["fp16", "fp32", "tf32"]
Export = Literal["plan", "onnx", "triton"]
ONNX_TARGET: Final = "onnxruntime"
TARGETS: Final[tuple[str, ...]] = get_args(Target)
PRECISIONS: Final[tuple[str, ...]] = get_args(Precision)
EXPORTS: Final[tuple[str, ...]] = get_args(Export)
MOST: Final = 1 << 16
"""The largest width, height and batch."""

_REPR: Final = reprlib.Repr()
_REPR.maxother = _REPR.maxstring = 80
_RECIPE: Final = 1 << 14  # bytes; TOML's nested keys take long to read


@dataclass(frozen=True)
class Form:
    """The form of an export's pictures and mattes. An engine leaves it to its sessions."""

    outputs: tuple[str, ...] = ()  # empty: fgr and pha, or the family's own outputs if it has no matte
    dtype: str = "uint8"
    layout: str = "HWC"
    color: str = "rgb"
    background: str | tuple[float, ...] | None = None  # a colour or a picture behind the subject of a composite

    def __post_init__(self) -> None:
        _one_of("dtype", self.dtype, DTYPES)
        _one_of("layout", self.layout, LAYOUTS)
        _one_of("color", self.color, COLORS)


@dataclass(frozen=True)
class Options:
    """The options of a build. `settings` are those of the family, which checks them."""

    family: str | None = None  # left out: recognised from the content
    size: tuple[int, int] = (1920, 1080)  # width and height of the frames that the engine is meant for
    precision: str = "fp16"  # on a GPU; the CPU runs float32
    batch: int = 1
    target: tuple[str, ...] = ()  # empty: all that this machine can build
    export: str | None = None  # left out: an engine
    form: Form = field(default_factory=Form)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of("precision", self.precision, PRECISIONS)
        if self.export is not None:
            _one_of("export", self.export, EXPORTS)
        for target in self.target:
            _one_of("target", target, TARGETS)
        if not isinstance(self.batch, int) or isinstance(self.batch, bool) or not 1 <= self.batch <= MOST:
            raise SettingError(f"batch is {_shown(self.batch)}; expected a whole number of streams, 1…{MOST}")
        if not isinstance(self.family, (str, NoneType)):
            raise SettingError(f"family is {_shown(self.family)}; expected the name of one")
        registry.require_known(self.settings)
        foreign = [name for name, value in vars(self.form).items() if value != getattr(Form, name)]
        if foreign and self.export is None:
            raise SettingError(
                f"{', '.join(foreign)} is given, but an engine leaves it to its sessions; "
                f"leave it out, or choose an export: {', '.join(EXPORTS)}"
            )

    @property
    def tf32(self) -> bool:
        """Float32 networks may round what they multiply to TF32, on a GPU."""
        return self.precision == "tf32"

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """The options that are given, the defaults for the rest. None counts as left out."""
        chosen = {name: _value(name, value) for name, value in _in_new_words(given).items() if value is not None}
        form = {each.name: chosen.pop(each.name) for each in fields(Form) if each.name in chosen}
        own = {name: chosen.pop(name) for name in _own(cls) if name in chosen}
        return cls(**own, form=Form(**form), settings=chosen)

    def to_json(self) -> dict[str, Any]:
        """All options by name, with the family's settings."""
        return {**{name: getattr(self, name) for name in _own(type(self))}, **self.settings}


def _in_new_words(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options by today's names. The old ones were layout single or staged, axes and backdrop."""
    chosen = dict(given)
    if chosen.get("layout") in ("single", "staged"):
        old = chosen.pop("layout")
        notice(f"layout {old}", "export plan" if old == "single" else "the default")
        if old == "single":
            chosen.setdefault("export", "plan")
    for old, new in (("axes", "layout"), ("backdrop", "background")):
        if chosen.get(old) is not None:
            notice(old, new)
            chosen.setdefault(new, chosen[old])
        chosen.pop(old, None)
    return chosen


def _own(options: type[Options]) -> list[str]:
    return [each.name for each in fields(options) if each.name not in ("form", "settings")]


def read_recipe(path: Path) -> tuple[str | Path, dict[str, Any]]:
    """The model that a recipe names, a known one or a file beside the recipe, and the recipe's options."""
    toml = _toml(path)
    try:
        content = toml.loads(_recipe_text(path))
    except OSError as error:
        raise SettingError(f"the recipe {path} cannot be read: {error.strerror or error}") from error
    except RecursionError as error:
        raise SettingError(f"the recipe {path} is nested too deep; expected options alone, one a line") from error
    except ValueError as error:  # TOML's own error and that of UTF-8 are ones
        if isinstance(error, SettingError):
            raise
        raise SettingError(f"the recipe {path} is not TOML: {error}") from error
    options = {name.replace("-", "_"): value for name, value in content.items()}
    model = options.pop("model", None)
    if not isinstance(model, str) or not model:
        raise SettingError(
            f"the recipe {path} has the model {_shown(model)}; expected a line like model = 'rvm-mobilenetv3'"
        )
    tables = [name for name, value in options.items() if isinstance(value, dict)]
    if tables:
        raise SettingError(f"the recipe {path} has the table {tables[0]!r}; expected options alone, one a line")
    beside = path.parent / model
    try:
        return (beside if beside.exists() or Path(model).suffix else model), options
    except OSError as error:
        raise SettingError(f"the recipe {path} has a model that cannot be found: {error.strerror}") from error


def _recipe_text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_RECIPE + 1)
    if len(data) > _RECIPE:
        raise SettingError(f"the recipe {path} has more than {_RECIPE} bytes; expected a model and options alone")
    return data.decode("utf-8")


def _toml(path: Path) -> Any:
    for name in ("tomllib", "tomli"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise SettingError(f"reading the recipe {path} needs Python 3.11 or later, or: pip install tomli")


def _value(name: str, value: Any) -> Any:
    """A value in the option's own type, from the forms that flags and recipes use."""
    flags = registry.flags()
    kind = "size" if name == "size" else flags[name][1].kind if name in flags else None
    if kind == "size":
        return _size(name, value)
    if name in ("target", "outputs"):
        words = _words(name, value)
        return words if name == "outputs" else tuple(sorted(set(words)))
    if kind == "number or word" and isinstance(value, str):
        return _number_or_word(value)
    several = value if isinstance(value, (list, tuple)) else (value,)
    if not all(isinstance(each, (str, bool, int, float)) for each in several):
        raise SettingError(f"{name} is {_shown(value)}; expected a text, a number, yes or no, or several of them")
    return tuple(value) if isinstance(value, list) else value


def _words(name: str, value: Any) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, (list, tuple, set)) or not all(isinstance(each, str) for each in words):
        raise SettingError(f"{name} is {_shown(value)}; expected a word, or several")
    return tuple(words)


def _size(name: str, value: Any) -> tuple[int, int]:
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d{1,9})\s*[x×*]\s*(\d{1,9})\s*", value)
        value = tuple(int(side) for side in found.groups()) if found else value
    is_pair = isinstance(value, (tuple, list)) and len(value) == 2
    if not is_pair or not all(
        isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= MOST for side in value
    ):
        raise SettingError(
            f"{name} is {_shown(value)}; expected width and height of at least 1, like 1920x1080, at most {MOST}"
        )
    return value[0], value[1]


def _number_or_word(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value


def _shown(value: object) -> str:
    return _REPR.repr(value)


def _one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        meant = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"; did you mean {meant[0]}?" if meant else ""
        raise SettingError(f"{name} is {_shown(value)}; expected {', '.join(choices)}{hint}")
