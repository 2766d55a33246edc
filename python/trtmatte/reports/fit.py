"""The fit of an engine and a frame: an engine for wide frames squeezes upright ones."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from trtmatte.compiler.families import registry
from trtmatte.errors import SettingError
from trtmatte.format.file import EngineFile
from trtmatte.format.program import Program
from trtmatte.format.stages import FRAME, OpStage

__all__ = ["fit_warning", "follows_the_frame"]

Size = tuple[int, int]

_MOST: Final = 1.25  # times: 16:9 and 3:2 are still near enough
_OWN: Final = ("family", "precision", "batch")  # options that are no settings of a family, besides the size


def fit_warning(engine: EngineFile, size: Size) -> str | None:
    """Return the reason why an engine does not fit frames of this size, with the command that builds another.

    Return None if it fits, or if no other engine of the model would fit better. The size of the network's picture is
    chosen from the frame's when an engine is built, and stays.
    """
    program = engine.program
    if not follows_the_frame(program.family):
        return None
    built_for, frame = _text(program.size), _text(size)
    seen = _seen(program)
    squeezed = _squeezed(seen, size)
    if squeezed > max(_MOST, _squeezed(seen, program.size) * 1.05):
        reason = (
            f"the engine is for frames of {built_for} and squeezes those of {frame} by {squeezed:.2g} to {_text(seen)}"
        )
    elif seen == program.size and program.settings.get("refine_mode") == "full" and _shrinks(seen, size):
        reason = f"the engine refines whole frames of {built_for}, and reduces those of {frame} to that"
    else:
        return None
    return f"{reason}; one that fits: {_command(engine, size)}"


def follows_the_frame(family: str) -> bool:
    """Report if the network's picture has the aspect ratio of the frames that an engine is built for."""
    try:
        return registry.family(family).follows_frame
    except SettingError:  # of a plugin that is not here, or of a later version
        return False


def _seen(program: Program) -> Size:
    """The width and height of the frame as the network sees it. Every program samples the frame."""
    stages = (stage for stage in program.stages if isinstance(stage, OpStage) and stage.op == "FrameSample")
    sample = next(stage for stage in stages if stage.inputs[0] == FRAME)
    return sample.integer("width"), sample.integer("height")


def _squeezed(seen: Size, frame: Size) -> float:
    """How many times longer one side of the picture is than the frame's aspect ratio asks for."""
    factor = (seen[0] * frame[1]) / (seen[1] * frame[0])
    return max(factor, 1 / factor)


def _shrinks(seen: Size, frame: Size) -> bool:
    return max(frame[0] / seen[0], frame[1] / seen[1]) > _MOST


def _command(engine: EngineFile, size: Size) -> str:
    source, options = engine.manifest.get("source") or {}, engine.manifest.get("settings") or {}
    model = str(source.get("known_as") or source.get("file") or "MODEL")
    out = f"{Path(model).stem or 'engine'}-{_text(size)}.trtm"
    return shlex.join(["trtmatte-build", model, "--size", _text(size), *_flags(options), "-o", out])


def _flags(options: Mapping[str, Any]) -> Iterator[str]:
    """The flags of the options that an engine was built with, but for the size and the targets."""
    own = registry.flags()
    settings = {name for family in registry.families() for name in family.setting_names}
    for name, value in options.items():
        if value is None or name not in (*_OWN, *settings) or (name, value) in (("batch", 1), ("precision", "fp16")):
            continue
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool) and name in own:
            yield flag if value else f"--no-{flag[2:]}"
        elif name == "input_size":
            yield from (flag, _text(value))
        elif name in _OWN or name in own:
            yield from (flag, _word(value))
        else:
            yield from ("--set", f"{name}={_word(value)}")


def _word(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_word, value))
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _text(size: Any) -> str:
    return "x".join(map(str, size))
