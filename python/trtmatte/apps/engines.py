"""The engine that runs a film: given, read from its file, or built for the frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from trtmatte.api import Engine, build, load
from trtmatte.errors import SettingError
from trtmatte.format.file import is_engine
from trtmatte.support import progress as terminal
from trtmatte.support.options import option

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Model", "engine_for"]

Model: TypeAlias = Union[Engine, str, Path, "nn.Module", "Mapping[str, Tensor]", Callable[[tuple[int, int]], Engine]]
"""An engine, its file, a known model, a model file, a PyTorch network, its state_dict, or a function that returns the
engine for frames of a width and height."""


def engine_for(
    model: Model,
    size: tuple[int, int],
    settings: Mapping[str, Any],
    safety: Mapping[str, Any],
    *,
    quiet: bool = True,
) -> Engine:
    """Return the engine. A model is built with `settings`; an engine must have been built with them."""
    wanted = {name: value for name, value in settings.items() if value is not None}
    if "dtype" in wanted:
        wanted["precision"] = _precision(wanted.pop("dtype"))
    if _is_to_be_built(model):
        with terminal.steps(quiet) as advance:
            return build(model, size=size, progress=advance, **safety, **wanted)  # type: ignore[arg-type]
    if isinstance(model, (str, Path)):
        engine = load(model, **safety)
    else:
        engine = model if isinstance(model, Engine) else model(size)  # type: ignore[operator]
    _require_settings(engine, wanted)
    return engine


def _is_to_be_built(model: Model) -> bool:
    if isinstance(model, (str, Path)):
        return not is_engine(model)
    return isinstance(model, Mapping) or hasattr(model, "state_dict")


def _require_settings(engine: Engine, wanted: Mapping[str, Any]) -> None:
    built = {"downsample_ratio": "auto", **engine.manifest["settings"]}
    for name, value in wanted.items():
        if built.get(name) not in (None, value):
            given = "dtype" if name == "precision" else name
            raise SettingError(
                f"{option(given)} is {value!r}, and the engine was built with {built[name]!r}; leave it out, or build "
                f"another: trtmatte.build(model, {name}={value!r})"
            )


def _precision(dtype: Any) -> str:
    """Return the precision for a type: torch.float16, "float16" and numpy's float16 are "fp16"."""
    name = getattr(dtype, "__name__", str(dtype)).removeprefix("torch.")
    return {"float16": "fp16", "float32": "fp32"}.get(name, name)
