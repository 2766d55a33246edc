"""The stages of a program as steps: bound to the arrays that they read and write, waiting for a frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np

from trtmatte import ops
from trtmatte.backends import Run
from trtmatte.errors import FrameError
from trtmatte.ops import Color, Layout, Output
from trtmatte.program import BACKDROP, BACKGROUND, FRAME, MATTE, PICTURES, OpStage, Stage
from trtmatte.session.memory import Array

Tensors = Mapping[str, Array]

_METHODS: Final = ("linear", "area", "antialias", "gaussian")
_WRITERS: Final[Mapping[str, Callable[..., Any]]] = {
    "GuidedUpsample": ops.guided_upsample,
    "MatteUpsample": ops.matte_upsample,
    "PatchScatter": ops.patch_scatter,
}
_TOO_BRIGHT: Final = 8.0  # no picture in 0…1 is that bright on average, normalised or not


@dataclass(frozen=True)
class Wanted:
    """What of a program's outputs is asked for, and in which form frames come and mattes go."""

    outputs: tuple[str, ...]
    layout: Layout
    color: Color

    @property
    def matte(self) -> tuple[Output, ...]:
        """What the last op writes."""
        return tuple(name for name in self.outputs if name in MATTE)  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture for each of a lane's streams, and where its results go."""

    pictures: Mapping[str, Array]
    matte: Mapping[str, Array]
    small: Mapping[str, Array]  # where copies of small outputs go
    same_background: bool = False  # as in the shot before


Step = Callable[[Shot], object]

Watch = Callable[[str, Callable[..., object]], Callable[..., object]]
"""Is given a stage's title and what runs it, and gives what is run in its place."""


def title(stage: Stage) -> str:
    """How a stage is called where all of a program's are told apart."""
    if not isinstance(stage, OpStage):
        return stage.name
    return stage.op if stage.op != "FrameSample" or stage.inputs[0] == FRAME else f"{stage.op} {stage.inputs[0]}"


def unwatched(title: str, step: Callable[..., object]) -> Callable[..., object]:
    return step


def network(run: Run) -> Step:
    return lambda shot: run()


def frame_sample(stage: OpStage, tensors: Tensors, color: Color, stream: int | None) -> Step:
    """Makes the small picture that a network sees. A background that stays is sampled once."""
    picture, out = stage.inputs[0], tensors[stage.outputs[0]]
    settings = sampling(stage)

    def step(shot: Shot) -> None:
        if picture == BACKGROUND and shot.same_background:
            return
        frame = shot.pictures[picture]
        ops.frame_sample(frame, **settings, color=color, out=out, stream=stream)
        if frame.dtype != np.uint8 and stream is None:  # on a device it is not there yet
            require_sane(picture, out)

    return step


def matte(stage: OpStage, tensors: Tensors, wanted: Wanted, stream: int | None, **more: Any) -> Step:
    """Writes the outputs that were asked for."""
    write, settings, names = _WRITERS[stage.op], sampling(stage), wanted.matte
    inputs = [name for name in stage.inputs if name != BACKDROP]

    def step(shot: Shot) -> None:
        arrays = [shot.pictures[name] if name in PICTURES else tensors[name] for name in inputs]
        background = shot.pictures.get(BACKDROP)
        form = {"layout": wanted.layout, "color": wanted.color, "stream": stream, **more}
        write(*arrays, **settings, **form, outputs=names, background=background, out=shot.matte)

    return step


def sampling(stage: OpStage) -> dict[str, Any]:
    """The attributes of an op as trtmatte.ops wants them."""
    settings: dict[str, Any] = dict(stage.attributes)
    if "method" in settings:
        settings["method"] = _METHODS[settings["method"]]
    for step in ("step_y", "step_x"):
        if step in settings:
            settings[step] = Fraction(*settings[step])
    return settings


def require_sane(picture: str, sample: np.ndarray[Any, Any]) -> None:
    """Refuses what would stay in the states for good. The small picture is all that the network sees."""
    mean = float(np.add.reduce(sample, axis=None)) / sample.size
    if not math.isfinite(mean):
        raise FrameError(f"{picture} holds NaN or infinite values; expected 0…1: np.nan_to_num makes them numbers")
    if mean > _TOO_BRIGHT:
        raise FrameError(f"{picture} holds values far above 1; expected 0…1 in a float picture: divide it by 255")
