"""A program: a matting model as an ordered list of stages with named tensors between them, as plain data.

A stage is a network over small tensors, which an inference engine runs, or one of our own ops (`docs/ops.md`). The
program holds all that a session needs, so that the wing that runs knows no family. What the session decides is not in
it: the layout and type of frames and mattes, and the size of the frame, which `Program.for_frame` brings in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from trtmatte.errors import EngineError, FrameError, ModelError
from trtmatte.format.outputs import MATTE_OUTPUTS

FRAME: Final = "frame"  # the picture to be matted
PLATE: Final = "plate"  # the photographed empty scene, which some families need
BACKGROUND: Final = "background"  # the picture that is put behind the subject in a composite
PICTURES: Final = (FRAME, PLATE, BACKGROUND)

PATCHES: Final = "patches"
"""The dimension that is known only once the patches of a frame are selected. `Program.capacity` is its upper bound."""

DTYPES: Final = ("float32", "float16", "int32")

Attribute = int | float | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True)
class Tensor:
    """A small tensor between stages. Its first dimension is the batch, or `PATCHES`."""

    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class State:
    """Recurrent state: zeros at first, then the `input` of a frame is the `output` of the frame before."""

    name: str
    input: str
    output: str


@dataclass(frozen=True)
class NetworkStage:
    """A network. Its name is that of the ONNX model; inputs and outputs are named as in there."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class OpStage:
    """An op, by its name in `docs/ops.md`. Outputs that nobody needs are empty.

    The attributes are those that the model determines. Where they depend on the frame's size they are those of
    `Program.size`.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def integer(self, name: str) -> int:
        """An attribute that is a whole number."""
        return _integer(self.attributes[name])

    def number(self, name: str) -> float:
        """An attribute that is a number."""
        value = self.attributes[name]
        if not isinstance(value, (int, float)):
            raise TypeError(f"{name} of {self.op} is {value!r}; expected a number")
        return float(value)


Stage = NetworkStage | OpStage


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
        _check(self)

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
        if width < 1 or height < 1:
            raise FrameError(f"a frame is {width}x{height} pixels; expected at least 1x1")
        if self.capacity and (width % 4 or height % 4):
            raise FrameError(
                f"a frame is {width}x{height} pixels; {self.family} with refinement needs width and height divisible "
                f"by 4: crop or pad the frame and the plate to {width // 4 * 4}x{height // 4 * 4} or more"
            )
        if (width, height) == self.size:
            return self
        stages = tuple(_stage_for_frame(stage, width, height, self.batch) for stage in self.stages)
        return replace(self, size=(width, height), stages=stages)

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
            return cls(
                family=_text(data["family"]),
                variant=_text(data["variant"]),
                size=(_integer(data["size"][0]), _integer(data["size"][1])),
                batch=_integer(data["batch"]),
                tensors={_text(name): _tensor(each) for name, each in data["tensors"].items()},
                stages=tuple(_stage(each) for each in data["stages"]),
                states=tuple(State(**{key: _text(each[key]) for key in each}) for each in data["states"]),
                outputs=_texts(data["outputs"]),
                settings=dict(data["settings"]),
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise EngineError(f"the engine's program is not as expected ({error}): build the engine again") from error


def _check(program: Program) -> None:
    """Every value is made once, before it is used, and has a description."""
    known = set(PICTURES) | {state.input for state in program.states}
    for stage in program.stages:
        title = stage.op if isinstance(stage, OpStage) else stage.name
        _require(known, stage.inputs, f"stage {title} reads")
        made = [name for name in stage.outputs if name]
        if known.intersection(made):
            raise ModelError(f"stage {title} makes {', '.join(sorted(known.intersection(made)))}, which exists already")
        known.update(made)
    writers = [stage for stage in program.stages if BACKGROUND in stage.inputs]
    if len(writers) > 1 or not (writers or program.outputs):
        raise ModelError(f"{len(writers)} stages write a matte; expected one, or none and other outputs")
    _require(known, program.outputs, "the outputs are")
    _require(known, [state.output for state in program.states], "the states become")
    described = {*program.tensors, *PICTURES, *(name for stage in writers for name in stage.outputs)}
    _require(described, known, "a description is missing of")
    for name, tensor in program.tensors.items():
        if tensor.dtype not in DTYPES:
            raise ModelError(f"tensor {name} is {tensor.dtype}; expected one of {', '.join(DTYPES)}")
        if not all(size == PATCHES or (isinstance(size, int) and size > 0) for size in tensor.shape):
            raise ModelError(f"tensor {name} has the shape {list(tensor.shape)}; expected fixed sizes or {PATCHES}")
    for state in program.states:
        if program.tensors[state.input] != program.tensors[state.output]:
            raise ModelError(f"state {state.name} goes in and comes out with different types or shapes")


def _require(known: Iterable[str], names: Iterable[str], title: str) -> None:
    missing = sorted(set(names) - set(known))
    if missing:
        raise ModelError(f"{title} {', '.join(missing)}, which no stage before makes")


def _stage_for_frame(stage: Stage, width: int, height: int, batch: int) -> Stage:
    if isinstance(stage, NetworkStage):
        return stage
    attributes = dict(stage.attributes)
    if stage.op == "FrameSample":
        attributes["step_y"] = (height, _integer(attributes["height"]))
        attributes["step_x"] = (width, _integer(attributes["width"]))
    if stage.op == "PatchSelect":
        attributes["height"], attributes["width"] = height // 4, width // 4
        attributes["capacity"] = patch_capacity(width, height, batch, attributes)
    return replace(stage, attributes=attributes)


def patch_capacity(width: int, height: int, batch: int, attributes: Mapping[str, Any]) -> int:
    """How many patches `PatchSelect` can select: `k` an image when sampling (mode 0), else all there are."""
    cells = (width // 4) * (height // 4)
    return batch * (min(_integer(attributes["k"]), cells) if attributes["mode"] == 0 else cells)


def _stage(data: Mapping[str, Any]) -> Stage:
    if data["kind"] == "network":
        return NetworkStage(_text(data["name"]), _texts(data["inputs"]), _texts(data["outputs"]))
    attributes = {
        _text(name): tuple(value) if isinstance(value, list) else value for name, value in data["attributes"].items()
    }
    inputs, outputs = _texts(data["inputs"]), _texts(data["outputs"])
    if BACKGROUND in inputs:  # the op writes the outputs of today's table, whichever there were when it was built
        outputs = MATTE_OUTPUTS
    return OpStage(_text(data["op"]), inputs, outputs, attributes)


def _tensor(data: Mapping[str, Any]) -> Tensor:
    return Tensor(_text(data["dtype"]), tuple(data["shape"]))


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(_text(value) for value in values)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value
