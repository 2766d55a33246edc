"""The validator: everything that a program relies on, checked once, before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from trtmatte.errors import ModelError
from trtmatte.format import values
from trtmatte.format.op_forms import LARGEST_SIDE, check_op
from trtmatte.format.outputs import MATTE_OUTPUTS
from trtmatte.format.stages import (
    BACKGROUND,
    DTYPES,
    FRAME,
    PATCHES,
    PICTURES,
    Attribute,
    NetworkStage,
    OpStage,
    Stage,
    State,
    Tensor,
)

__all__ = ["MOST_STAGES", "MOST_TENSORS", "Parts", "patch_capacity", "validate"]

MOST_STAGES: Final = 256
MOST_TENSORS: Final = 4096
_LARGEST_BATCH: Final = 1024
_LARGEST_SIZE: Final = (1 << 31) - 1
_MOST_DIMENSIONS: Final = 8
_MOST_BYTES: Final = 1 << 34  # of all buffers of one group of streams
_LARGEST_PIECE: Final = 1024  # patches that are refined at once
_BYTES: Final = {"float32": 4, "float16": 2, "int32": 4}
_PATCH_OPS: Final = ("PatchSelect", "PatchCrop", "PatchScatter")


class Parts(Protocol):
    """A program, as far as the validator reads it."""

    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def batch(self) -> int: ...
    @property
    def tensors(self) -> Mapping[str, Tensor]: ...
    @property
    def stages(self) -> tuple[Stage, ...]: ...
    @property
    def states(self) -> tuple[State, ...]: ...
    @property
    def outputs(self) -> tuple[str, ...]: ...


def validate(program: Parts) -> None:
    """Raise a ModelError unless a session can run the program: its values fit together and stay below the limits."""
    values.whole(program.size[0], "the frame's width", 1, LARGEST_SIDE)
    values.whole(program.size[1], "the frame's height", 1, LARGEST_SIDE)
    values.whole(program.batch, "the batch", 1, _LARGEST_BATCH)
    values.entries(program.stages, "the list of stages", MOST_STAGES)
    for name, tensor in program.tensors.items():
        _check_tensor(name, tensor)
    _check_flow(program)
    for stage in program.stages:
        if isinstance(stage, OpStage):
            check_op(stage, program.tensors, program.batch)
        else:
            _check_network(stage, program)
    _check_samples(program)
    _check_states(program)
    _check_patches(program)
    _check_outputs(program)
    _check_bytes(program)


def patch_capacity(width: int, height: int, batch: int, attributes: Mapping[str, Attribute]) -> int:
    """How many patches `PatchSelect` can select: `k` an image when sampling (mode 0), else all there are."""
    cells = (width // 4) * (height // 4)
    k = attributes.get("k", 1)
    return batch * (min(int(k), cells) if attributes["mode"] == 0 and isinstance(k, int) else cells)


# ---------------------------------------------------------------------------------------------------------------------
# Tensors and where they come from


def _check_tensor(name: str, tensor: Tensor) -> None:
    values.name(name, "the name of a tensor")
    if name in (*PICTURES, *MATTE_OUTPUTS):
        raise ModelError(f"a tensor is called {name}, the name of a picture; expected another")
    if tensor.dtype not in DTYPES:
        raise ModelError(f"tensor {name} is {values.shown(tensor.dtype)}; expected one of {', '.join(DTYPES)}")
    first, rest = tensor.shape[:1], tensor.shape[1:]
    sizes = rest if first == (PATCHES,) else tensor.shape
    if len(tensor.shape) > _MOST_DIMENSIONS or not all(
        type(size) is int and 0 < size <= _LARGEST_SIZE for size in sizes
    ):
        raise ModelError(
            f"tensor {name} has the shape {values.shown(list(tensor.shape))}; "
            f"expected fixed sizes or {PATCHES} in front, at most {_MOST_DIMENSIONS}"
        )


def _check_flow(program: Parts) -> None:
    """Every value is made once, before it is used, and has a description."""
    known = set(PICTURES) | {state.input for state in program.states}
    for stage in program.stages:
        title = _title(stage)
        _require(known, stage.inputs, f"stage {title} reads")
        made = [name for name in stage.outputs if name]
        if known.intersection(made) or len(set(made)) < len(made):
            twice = known.intersection(made) or made
            raise ModelError(f"stage {title} makes {', '.join(sorted(twice))}, which exists already")
        known.update(made)
    writers = [stage for stage in program.stages if BACKGROUND in stage.inputs]
    if len(writers) > 1 or not (writers or program.outputs):
        raise ModelError(f"{len(writers)} stages write a matte; expected one, or none and other outputs")
    _require(known, program.outputs, "the outputs are")
    _require(known, [state.output for state in program.states], "the states become")
    described = {*program.tensors, *PICTURES, *(name for stage in writers for name in stage.outputs)}
    _require(described, known, "a description is missing of")


def _require(known: Iterable[str], names: Iterable[str], title: str) -> None:
    missing = sorted(set(names) - set(known))
    if missing:
        raise ModelError(f"{title} {', '.join(missing)}, which no stage before makes")


def _title(stage: Stage) -> str:
    return stage.op if isinstance(stage, OpStage) else stage.name


# ---------------------------------------------------------------------------------------------------------------------
# Stages


def _check_network(stage: NetworkStage, program: Parts) -> None:
    """A network reads and makes small tensors. One that works on patches makes nothing else."""
    same = [each for each in program.stages if isinstance(each, NetworkStage) and each.name == stage.name]
    if len(same) > 1:
        raise ModelError(f"{len(same)} networks are called {stage.name}; expected different names")
    if not stage.inputs or not stage.outputs or "" in stage.outputs or len(set(stage.inputs)) < len(stage.inputs):
        raise ModelError(f"{stage.name} has inputs or outputs that are missing or twice the same; expected names")
    full_frames = [name for name in (*stage.inputs, *stage.outputs) if name not in program.tensors]
    if full_frames:
        raise ModelError(f"{stage.name} reads {', '.join(full_frames)}: full frames must pass through an op")
    refines = any(_is_open(program.tensors[name]) for name in stage.inputs)
    if any(_is_open(program.tensors[name]) != refines for name in stage.outputs):
        raise ModelError(f"{stage.name} makes patches of other tensors, or others of patches; expected one kind alone")


# ---------------------------------------------------------------------------------------------------------------------
# What belongs together


def _ops(program: Parts, name: str) -> list[OpStage]:
    return [stage for stage in program.stages if isinstance(stage, OpStage) and stage.op == name]


def _is_open(tensor: Tensor) -> bool:
    return PATCHES in tensor.shape


def _check_samples(program: Parts) -> None:
    """Each picture is sampled once, within its borders. The frame always is."""
    samples = _ops(program, "FrameSample")
    pictures = [stage.inputs[0] for stage in samples]
    if len(set(pictures)) < len(pictures) or FRAME not in pictures:
        raise ModelError(f"FrameSample reads {', '.join(pictures) or 'nothing'}; expected the frame, each picture once")
    for stage in samples:
        for side, size in (("height", program.size[1]), ("width", program.size[0])):
            numerator, denominator = values.entries(
                stage.attributes[f"step_{'y' if side == 'height' else 'x'}"], side, 2
            )
            if (stage.integer(side) - 1) * numerator >= size * denominator:
                raise ModelError(
                    f"FrameSample takes {stage.integer(side)} samples in steps of {numerator}/{denominator} from a "
                    f"{side} of {size}; expected steps that stay within the frame"
                )


def _check_states(program: Parts) -> None:
    names = [name for state in program.states for name in (state.input, state.output)]
    if len(set(names)) < len(names) or len({state.name for state in program.states}) < len(program.states):
        raise ModelError("two states have the same name, input or output; expected different ones")
    selected = {name for stage in _ops(program, "PatchSelect") for name in stage.outputs}
    made = {name for stage in program.stages for name in stage.outputs} - selected
    for state in program.states:
        values.name(state.name, "the name of a state")
        if state.output not in made or state.input not in program.tensors or state.output not in program.tensors:
            raise ModelError(f"state {state.name} becomes {state.output}; expected a small tensor that a stage makes")
        tensor = program.tensors[state.input]
        if tensor != program.tensors[state.output]:
            raise ModelError(f"state {state.name} goes in and comes out with different types or shapes")
        if _is_open(tensor) or tensor.shape[:1] != (program.batch,):
            raise ModelError(f"state {state.name} has the shape {list(tensor.shape)}; expected the batch in front")


def _check_patches(program: Parts) -> None:
    """The ops on patches come together, pass on the same indices, and fit the size of the frame."""
    counts = {name: len(_ops(program, name)) for name in _PATCH_OPS}
    if set(counts.values()) not in ({0}, {1}):
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ModelError(f"the program has {found}; expected one of each, or none")
    open_ones = [name for name, tensor in program.tensors.items() if _is_open(tensor)]
    if not counts["PatchSelect"]:
        if open_ones:
            raise ModelError(f"{', '.join(open_ones)} has {PATCHES}, but the program has no PatchSelect")
        return
    (select,), (crop,), (scatter,) = (_ops(program, name) for name in _PATCH_OPS)
    if crop.inputs[3] != select.outputs[0] or scatter.inputs[2] != select.outputs[0]:
        raise ModelError("PatchCrop and PatchScatter read other indices than PatchSelect makes")
    for stage in program.stages:
        if stage not in (crop, scatter) and set(stage.inputs) & set(select.outputs):
            raise ModelError(f"{_title(stage)} reads what PatchSelect makes; expected PatchCrop and PatchScatter alone")
    width, height = program.size
    expected = {"height": height // 4, "width": width // 4}
    if width % 4 or height % 4 or any(select.attributes[name] != size for name, size in expected.items()):
        raise ModelError(
            f"PatchSelect has a grid of {select.attributes['width']}x{select.attributes['height']} and the frame "
            f"{width}x{height} pixels; expected a patch for each 4x4 pixels"
        )
    for needed, mode in (("k", 0), ("threshold", 1)):
        if select.attributes["mode"] == mode and needed not in select.attributes:
            raise ModelError(f"PatchSelect lacks {needed}, which the mode {mode} needs")
    capacity = patch_capacity(width, height, program.batch, select.attributes)
    if select.integer("capacity") != capacity:
        raise ModelError(f"PatchSelect has the capacity {select.integer('capacity')}; expected {capacity}")


def _check_outputs(program: Parts) -> None:
    if len(set(program.outputs)) < len(program.outputs):
        raise ModelError(f"the outputs are {', '.join(program.outputs)}; expected each once")
    for name in program.outputs:
        tensor = program.tensors.get(name)
        if tensor is None or _is_open(tensor) or tensor.shape[:1] != (program.batch,):
            found = "a picture" if tensor is None else list(tensor.shape)
            raise ModelError(f"the output {name} is {found}; expected a tensor with the batch in front")


def _check_bytes(program: Parts) -> None:
    """Limit all that a session would allocate for the program, twice for the two sides of the states."""
    needed = sum(
        math.prod(_LARGEST_PIECE if size == PATCHES else int(size) for size in tensor.shape) * _BYTES[tensor.dtype]
        for tensor in program.tensors.values()
    )
    for select in _ops(program, "PatchSelect"):
        needed += (select.integer("capacity") + _LARGEST_PIECE) * (4 * 4 * 4 + 3) * _BYTES["float32"]
    if 2 * needed > _MOST_BYTES:
        raise ModelError(
            f"the program needs {2 * needed / 1e9:.1f} GB of buffers; expected at most {_MOST_BYTES / 1e9:.1f}"
        )
