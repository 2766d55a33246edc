"""A program: a matting model as an ordered list of stages with named tensors between them, as plain data.

A stage is a network over small tensors, which an inference engine runs, or one of our own ops (`docs/ops.md`). The
program holds all that a session needs, so that the wing that runs knows no family. What the session decides is not in
it: the layout and type of frames and mattes, and the size of the frame, which `Program.for_frame` brings in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from trtmatte.errors import EngineError, FrameError, ModelError
from trtmatte.format import values
from trtmatte.format.op_forms import LARGEST_SIDE
from trtmatte.format.outputs import MATTE_OUTPUTS
from trtmatte.format.stages import (
    BACKGROUND,
    FRAME,
    PLATE,
    NetworkStage,
    OpStage,
    Stage,
    State,
    Tensor,
)
from trtmatte.format.validate import MOST_STAGES, MOST_TENSORS, patch_capacity, validate

__all__ = ["Program"]

_MOST_NAMES: Final = 256  # inputs or outputs of a stage, attributes of an op, states


@dataclass(frozen=True)
class Program:
    """The stages in the order in which they run. `outputs` are tensors of interest besides the matte."""

    family: str
    variant: str
    size: tuple[int, int]  # width and height of the frames that it is meant for
    batch: int
    tensors: Mapping[str, Tensor]
    stages: tuple[Stage, ...]
    states: tuple[State, ...] = ()
    outputs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        validate(self)

    @property
    def pictures(self) -> tuple[str, ...]:
        """The pictures that a frame consists of: `FRAME`, for some families `PLATE`."""
        used = {name for stage in self.stages for name in stage.inputs}
        return tuple(name for name in (FRAME, PLATE) if name in used)

    @property
    def networks(self) -> tuple[NetworkStage, ...]:
        return tuple(stage for stage in self.stages if isinstance(stage, NetworkStage))

    @property
    def matte(self) -> OpStage | None:
        """The op that writes the matte; None where the outputs are small tensors alone."""
        ops = (stage for stage in self.stages if isinstance(stage, OpStage))
        return next((stage for stage in ops if BACKGROUND in stage.inputs), None)

    @property
    def select(self) -> OpStage | None:
        """The op that selects patches; None for a program without patches."""
        return self.op("PatchSelect")

    def op(self, name: str) -> OpStage | None:
        """The stage that runs this op; None if there is none."""
        return next((stage for stage in self.stages if isinstance(stage, OpStage) and stage.op == name), None)

    @property
    def has_fixed_patches(self) -> bool:
        """Every frame has equally many patches, or none: sampling takes the best k, the full mode takes all."""
        select = self.select
        return select is None or select.attributes["mode"] == 0 or select.number("threshold") < 0

    @property
    def capacity(self) -> int:
        """How many patches one run can hold; 0 for a program without patches."""
        select = self.select
        return 0 if select is None else select.integer("capacity")

    def for_frame(self, width: int, height: int) -> Program:
        """The same program for frames of another size. The networks stay as they are, and so do their tensors."""
        if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
            raise FrameError(f"a frame is {width}x{height} pixels; expected 1 to {LARGEST_SIDE} a side")
        if self.capacity and (width % 4 or height % 4):
            raise FrameError(
                f"a frame is {width}x{height} pixels; {self.family} with refinement needs width and height divisible "
                f"by 4: crop or pad the frame and the plate to {width // 4 * 4}x{height // 4 * 4} or more"
            )
        if (width, height) == self.size:
            return self
        stages = tuple(_stage_for_frame(stage, width, height, self.batch) for stage in self.stages)
        try:
            return replace(self, size=(width, height), stages=stages)
        except ModelError as error:
            raise FrameError(f"a frame is {width}x{height} pixels, too large: {error}; give smaller frames") from error

    def to_json(self) -> dict[str, Any]:
        """The program as JSON's kinds of values."""
        plain = asdict(self)
        for stage, entry in zip(self.stages, plain["stages"], strict=True):
            entry["kind"] = "op" if isinstance(stage, OpStage) else "network"
        result: dict[str, Any] = json.loads(json.dumps(plain))
        return result

    @classmethod
    def from_json(cls, data: Any) -> Program:
        """The program that `to_json` described; an EngineError if it is not one."""
        try:
            values.require_shallow(data, "the program")
            return cls(**_read(data))
        except ModelError as error:
            raise EngineError(f"the engine's program is not as expected ({error}): build the engine again") from error


def _stage_for_frame(stage: Stage, width: int, height: int, batch: int) -> Stage:
    if isinstance(stage, NetworkStage):
        return stage
    attributes = dict(stage.attributes)
    if stage.op == "FrameSample":
        attributes["step_y"] = (height, stage.integer("height"))
        attributes["step_x"] = (width, stage.integer("width"))
    if stage.op == "PatchSelect":
        attributes["height"], attributes["width"] = height // 4, width // 4
        attributes["capacity"] = patch_capacity(width, height, batch, attributes)
    return replace(stage, attributes=attributes)


# ---------------------------------------------------------------------------------------------------------------------
# From JSON: the types of all values. `validate` checks what they mean


def _read(data: Any) -> dict[str, Any]:
    needed = ("family", "variant", "size", "batch", "tensors", "stages", "states", "outputs", "settings")
    found = values.members(data, "it", *needed)
    width, height = (*values.entries(found["size"], "the frame's size", 2), None, None)[:2]
    tensors = values.members(found["tensors"], "the description of tensors")
    values.entries(list(tensors), "the description of tensors", MOST_TENSORS)
    return {
        "family": values.text(found["family"], "the family"),
        "variant": values.text(found["variant"], "the variant"),
        "size": (width, height),
        "batch": found["batch"],
        "tensors": {values.name(name, "the name of a tensor"): _tensor(name, each) for name, each in tensors.items()},
        "stages": tuple(map(_stage, values.entries(found["stages"], "the list of stages", MOST_STAGES))),
        "states": tuple(map(_state, values.entries(found["states"], "the list of states", _MOST_NAMES))),
        "outputs": _names(found["outputs"], "an output"),
        "settings": dict(values.members(found["settings"], "the settings")),
    }


def _tensor(name: str, data: Any) -> Tensor:
    found = values.members(data, f"tensor {name}", "dtype", "shape")
    return Tensor(
        values.text(found["dtype"], f"the type of tensor {name}"),
        tuple(values.entries(found["shape"], f"the shape of tensor {name}", _MOST_NAMES)),
    )


def _stage(data: Any) -> Stage:
    found = values.members(data, "a stage", "kind", "inputs", "outputs")
    inputs = _names(found["inputs"], "an input of a stage")
    outputs = _names(found["outputs"], "an output of a stage")
    kind = values.text(found["kind"], "the kind of a stage")
    if kind == "network":
        values.members(data, "a network", "name")
        return NetworkStage(values.name(found["name"], "the name of a network"), inputs, outputs)
    if kind != "op":
        raise ModelError(f"the kind of a stage is {values.shown(kind)}; expected op or network")
    values.members(data, "an op", "op", "attributes")
    attributes = values.members(found["attributes"], "the attributes of an op")
    if BACKGROUND in inputs:  # the op writes the outputs of today's table, whichever there were when it was built
        outputs = MATTE_OUTPUTS
    return OpStage(
        values.name(found["op"], "the name of an op"),
        inputs,
        outputs,
        {name: tuple(value) if isinstance(value, list) else value for name, value in attributes.items()},
    )


def _state(data: Any) -> State:
    found = values.members(data, "a state", "name", "input", "output")
    return State(*(values.name(found[each], f"the {each} of a state") for each in ("name", "input", "output")))


def _names(data: Any, title: str) -> tuple[str, ...]:
    """Names, which are empty for outputs that nobody needs."""
    return tuple(values.text(each, title) for each in values.entries(data, f"the list of what is {title}", _MOST_NAMES))
