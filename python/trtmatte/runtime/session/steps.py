"""The stages of a program as steps: bound to the arrays that they read and write, called with each frame."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np

from trtmatte import _core, ops
from trtmatte.backends.interface import Run
from trtmatte.errors import BackendError, EngineError, FrameError, TrtmatteError
from trtmatte.format.outputs import MATTE_OUTPUTS
from trtmatte.format.stages import BACKGROUND, FRAME, PICTURES, PLATE, NetworkStage, OpStage, Stage
from trtmatte.ops import Color, Layout
from trtmatte.runtime.session.memory import Array, Memory

Tensors = Mapping[str, Array]

_METHODS: Final = ("linear", "area", "antialias", "gaussian", "lanczos", "bicubic")
_TOO_BRIGHT: Final = 8.0  # a picture in 0…1, normalised or not, has a smaller mean


@dataclass(frozen=True)
class OutputSpec:
    """The outputs of a session, and the form of its frames and mattes."""

    outputs: tuple[str, ...]
    layout: Layout
    color: Color
    raw_foreground: bool = False

    @property
    def matte(self) -> tuple[str, ...]:
        """The outputs that the last op writes."""
        return tuple(name for name in self.outputs if name in MATTE_OUTPUTS)

    @property
    def wants_colours(self) -> bool:
        """Report if an output shows the foreground without its old background."""
        return not self.raw_foreground and any(name != "pha" for name in self.matte)


@dataclass(frozen=True, slots=True)
class LaneFrame:
    """One picture for each stream of a lane, and the arrays for its results."""

    pictures: Mapping[str, Array]
    matte: Mapping[str, Array]
    small: Mapping[str, Array]  # copies of small outputs go here
    same_plate: bool = False  # as in the frame before


Watch = Callable[[str, Callable[..., object]], Callable[..., object]]
"""Takes a stage's title and its step, and returns the step to run in its place."""


def title(stage: Stage) -> str:
    """A name for a stage, different for each stage of a program."""
    if not isinstance(stage, OpStage):
        return stage.name
    return stage.op if stage.op != "FrameSample" or stage.inputs[0] == FRAME else f"{stage.op} {stage.inputs[0]}"


def unwatched(title: str, step: Callable[..., object]) -> Callable[..., object]:
    return step


class Step:
    """A stage, bound to its arrays. Whatever goes wrong in it is an error that names the stage."""

    def __init__(self, stage: Stage) -> None:
        self.title = title(stage)

    def __call__(self, *arguments: Any) -> None:
        try:
            self.run(*arguments)
        except (TrtmatteError, MemoryError):
            raise
        except Exception as error:  # the libraries' own exceptions share no base
            raise BackendError(f"the stage {self.title} failed: {error}") from error

    def run(self, *arguments: Any) -> object:
        """Do the work. Most steps take a `LaneFrame`."""
        raise AssertionError(f"{type(self).__name__} has no run")


class RunNetwork(Step):
    """Runs a network, whose arrays are bound already."""

    def __init__(self, stage: NetworkStage, run: Run) -> None:
        super().__init__(stage)
        self._run = run

    def run(self, frame: LaneFrame | None = None) -> None:
        self._run()


class SampleFrame(Step):
    """Makes the small picture that a network sees. A plate that stays the same is sampled once."""

    def __init__(self, stage: OpStage, tensors: Tensors, color: Color, cuda_stream: int | None) -> None:
        super().__init__(stage)
        self._picture, self._out = stage.inputs[0], tensors[stage.outputs[0]]
        self._settings = {**sampling(stage), "color": color, "out": self._out, "cuda_stream": cuda_stream}
        self._on_host = cuda_stream is None

    def run(self, frame: LaneFrame) -> None:
        if self._picture == PLATE and frame.same_plate:
            return
        picture = frame.pictures[self._picture]
        ops.frame_sample(picture, **self._settings)
        if self._on_host and picture.dtype != np.uint8:  # on a device the values have not been computed yet
            require_sane(self._picture, self._out)


class EstimateForeground(Step):
    """Estimates smooth colours of the foreground and of the background behind it."""

    def __init__(self, stage: OpStage, tensors: Tensors, color: Color, memory: Memory) -> None:
        super().__init__(stage)
        self._picture, self._alpha = stage.inputs[0], tensors[stage.inputs[1]]
        self._settings: dict[str, Any] = {"color": color, "out": tensors[stage.outputs[0]]}
        self._settings["cuda_stream"] = memory.cuda_stream
        if memory.cuda_stream is not None:
            self._settings["workspace"] = memory.zeros((ops.foreground_estimate_workspace(),), "uint8")

    def run(self, frame: LaneFrame) -> None:
        ops.foreground_estimate(frame.pictures[self._picture], self._alpha, **self._settings)


class WriteMatte(Step):
    """Writes the outputs of the matte that were asked for."""

    def __init__(
        self, stage: OpStage, tensors: Tensors, spec: OutputSpec, cuda_stream: int | None, **more: Any
    ) -> None:
        super().__init__(stage)
        self._write, self._tensors = _function_of(stage.op), tensors
        self._inputs = [name for name in stage.inputs if name != BACKGROUND]
        form = {"layout": spec.layout, "color": spec.color, "outputs": spec.matte, "cuda_stream": cuda_stream}
        self._settings = {**sampling(stage), **form, **more}

    def run(self, frame: LaneFrame) -> None:
        pictures = frame.pictures
        arrays = [pictures[name] if name in PICTURES else self._tensors[name] for name in self._inputs]
        self._write(*arrays, **self._settings, background=pictures.get(BACKGROUND), out=frame.matte)


def _function_of(op: str) -> Callable[..., Any]:
    """The function of `trtmatte.ops` for an op that writes a matte: `matte_upsample` for MatteUpsample."""
    name = re.sub(r"\B(?=[A-Z])", "_", op).lower()
    if not (hasattr(_core, name) and hasattr(ops, name)):
        raise EngineError(f"the engine has the op {op}, which this trtmatte does not know: update it, or build again")
    function: Callable[..., Any] = getattr(ops, name)
    return function


def sampling(stage: OpStage) -> dict[str, Any]:
    """The attributes of an op as keyword arguments of `trtmatte.ops`."""
    settings: dict[str, Any] = dict(stage.attributes)
    if "method" in settings:
        settings["method"] = _METHODS[settings["method"]]
    for step in ("step_y", "step_x"):
        if step in settings:
            settings[step] = Fraction(*settings[step])
    return settings


def require_sane(picture: str, sample: np.ndarray[Any, Any]) -> None:
    """Refuse values that would stay in the states for good. The network sees nothing but this small picture."""
    mean = float(np.add.reduce(sample, axis=None)) / sample.size
    if not math.isfinite(mean):
        raise FrameError(f"{picture} holds NaN or infinite values; expected 0…1: np.nan_to_num makes them numbers")
    if mean > _TOO_BRIGHT:
        raise FrameError(f"{picture} holds values far above 1; expected 0…1 in a float picture: divide it by 255")
