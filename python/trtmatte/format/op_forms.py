"""The forms of the ops in programs: one row each (`docs/ops.md`), with all that sessions and the native ops rely on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from trtmatte.errors import ModelError
from trtmatte.format import values
from trtmatte.format.outputs import MATTE_OUTPUTS
from trtmatte.format.stages import BACKGROUND, FRAME, PATCHES, PLATE, OpStage, Tensor

__all__ = ["LARGEST_SIDE", "OPS", "Form", "OpForm", "Range", "check_op"]

LARGEST_SIDE: Final = 1 << 16
"""The most pixels along one side of a frame."""

_FLOAT: Final = ("float32", "float16")


@dataclass(frozen=True)
class Range:
    """The values of an attribute: whole numbers if the bounds are. `count` of them, or a single one."""

    low: int | float
    high: int | float
    count: int | None = None
    required: bool = False
    among: tuple[int, ...] = ()  # the only values, if there are any


@dataclass(frozen=True)
class Form:
    """Types and shape of a tensor.

    Sizes are numbers, choices of numbers, `PATCHES`, or words: the same word is the same size.
    """

    shape: tuple[int | str | tuple[int, ...], ...]
    dtypes: tuple[str, ...] = _FLOAT
    optional: bool = False  # as an input


Sizes = Mapping[str, int]


@dataclass(frozen=True)
class OpForm:
    """An op: its inputs, which are tensors or the pictures that may stand there, its outputs and its attributes.

    Words in shapes are `batch`, attributes, what `derived` computes, or free. `may_lack_outputs`: outputs that nobody
    needs may have no name.
    """

    inputs: tuple[Form | tuple[str, ...], ...]
    outputs: tuple[Form, ...] = ()  # of an op that writes no matte
    attributes: Mapping[str, Range] = field(default_factory=dict)
    derived: Callable[[Sizes], Sizes] = lambda sizes: {}
    may_lack_outputs: bool = False

    @property
    def writes_matte(self) -> bool:
        """Report if the outputs are `MATTE_OUTPUTS`."""
        return (BACKGROUND,) in self.inputs

    def inputs_of(self, count: int) -> tuple[Form | tuple[str, ...], ...]:
        """The inputs of an op with this many: all, or those that are not optional."""
        if count == len(self.inputs):
            return self.inputs
        return tuple(each for each in self.inputs if not (isinstance(each, Form) and each.optional))

    @property
    def output_count(self) -> int:
        return len(MATTE_OUTPUTS) if self.writes_matte else len(self.outputs)


_STEP: Final = Range(1, 1 << 30, count=2, required=True)
_SIDE: Final = Range(1, LARGEST_SIDE, required=True)
_GRID: Final = Range(1, LARGEST_SIDE // 4, required=True)
_MOST: Final = (1 << 31) - 1
_INDICES: Final = Form((PATCHES, 3), ("int32",))
_ALPHA: Final = Form(("batch", (1, 4), "rows", "columns"))

OPS: Final[Mapping[str, OpForm]] = {
    "ForegroundEstimate": OpForm(
        inputs=((FRAME,), _ALPHA),
        outputs=(Form(("batch", 6, 128, 128)),),
    ),
    "FrameSample": OpForm(
        inputs=((FRAME, PLATE),),
        outputs=(Form(("batch", 3, "height", "width")),),
        attributes={
            "height": _SIDE,
            "width": _SIDE,
            "step_y": _STEP,
            "step_x": _STEP,
            "method": Range(0, 5),
            "sigma": Range(0.25, 65536.0),
            "mean": Range(-65536.0, 65536.0, count=3),
            "std": Range(1e-6, 65536.0, count=3),
        },
    ),
    "GuidedUpsample": OpForm(
        inputs=((FRAME,), Form(("batch", 4, "rows", "columns")), Form(("batch", 4, "rows", "columns")), (BACKGROUND,)),
    ),
    "MatteUpsample": OpForm(
        inputs=((FRAME,), _ALPHA, Form(("batch", 6, "cells_down", "cells_across"), optional=True), (BACKGROUND,)),
        attributes={"method": Range(0, 5, among=(0, 1, 4, 5))},
    ),
    "PatchSelect": OpForm(
        inputs=(Form(("batch", 1, "rows", "columns")),),
        outputs=(_INDICES, Form((1,), ("int32",)), Form(("batch", 1, "grid_rows", "grid_columns"), ("float32",))),
        attributes={
            "height": _GRID,
            "width": _GRID,
            "mode": Range(0, 1, required=True),
            "k": Range(1, _MOST),
            "threshold": Range(-1e6, 1e6),
            "prevent_oversampling": Range(0, 1),
            "capacity": Range(1, _MOST, required=True),
        },
        may_lack_outputs=True,
    ),
    "PatchCrop": OpForm(
        inputs=(Form(("batch", "channels", "rows", "columns")), (FRAME,), (PLATE,), _INDICES),
        outputs=(
            Form((PATCHES, "half_channels", "half_side", "half_side")),
            Form((PATCHES, 6, "full_side", "full_side")),
        ),
        attributes={"kernel": Range(1, 3, required=True, among=(1, 3))},
        derived=lambda sizes: {
            "half_channels": sizes["channels"] + 6,
            "half_side": 8 if sizes["kernel"] == 3 else 2,
            "full_side": 8 if sizes["kernel"] == 3 else 4,
        },
    ),
    "PatchScatter": OpForm(
        inputs=(Form(("batch", 4, "rows", "columns")), Form((PATCHES, 4, 4, 4)), _INDICES, (FRAME,), (BACKGROUND,)),
    ),
}


def check_op(stage: OpStage, tensors: Mapping[str, Tensor], batch: int) -> None:
    """An op has the attributes, inputs and outputs of its row in `OPS`."""
    form = OPS.get(stage.op)
    if form is None:
        raise ModelError(
            f"the engine has the op {stage.op}, which this trtmatte does not know: update it, or build again"
        )
    _check_attributes(stage, form)
    inputs = form.inputs_of(len(stage.inputs))
    if len(stage.inputs) != len(inputs) or len(stage.outputs) != form.output_count:
        raise ModelError(
            f"{stage.op} has {len(stage.inputs)} inputs and {len(stage.outputs)} outputs; "
            f"expected {len(form.inputs)} and {form.output_count}"
        )
    if form.writes_matte and stage.outputs != MATTE_OUTPUTS:
        raise ModelError(f"{stage.op} makes {', '.join(stage.outputs)}; expected {', '.join(MATTE_OUTPUTS)}")
    sizes = {"batch": batch}
    sizes |= {name: value for name, value in stage.attributes.items() if isinstance(value, int)}
    for name, expected in zip(stage.inputs, inputs, strict=True):
        if isinstance(expected, Form):
            _match(stage, name, expected, tensors, sizes)
        elif name not in expected:
            raise ModelError(f"{stage.op} reads {name}; expected {' or '.join(expected)}")
    sizes |= form.derived(sizes)
    for name, made in zip(stage.outputs, form.outputs, strict=False):
        if name or not form.may_lack_outputs:
            _match(stage, name, made, tensors, sizes)


def _match(stage: OpStage, name: str, form: Form, tensors: Mapping[str, Tensor], sizes: dict[str, int]) -> None:
    """Compare a tensor with its form. Sizes that are free until now are noted in `sizes`."""
    tensor = tensors.get(name)
    fits = tensor is not None and tensor.dtype in form.dtypes and len(tensor.shape) == len(form.shape)
    if tensor is not None and fits:
        for size, expected in zip(tensor.shape, form.shape, strict=True):
            if isinstance(expected, str) and expected != PATCHES:
                expected = sizes.setdefault(expected, size) if isinstance(size, int) else -1
            fits = fits and size in (expected if isinstance(expected, tuple) else (expected,))
    if not fits:
        found = "no tensor" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"
        shape = ", ".join(
            " or ".join(map(str, each)) if isinstance(each, tuple) else str(sizes.get(str(each), each))
            for each in form.shape
        )
        raise ModelError(
            f"{name or 'an output'} of {stage.op} is {found}; expected {' or '.join(form.dtypes)} [{shape}]"
        )


def _check_attributes(stage: OpStage, form: OpForm) -> None:
    for name, expected in form.attributes.items():
        if name in stage.attributes:
            _check_attribute(f"{name} of {stage.op}", stage.attributes[name], expected)
        elif expected.required:
            raise ModelError(f"{stage.op} lacks {name}; expected a number from {expected.low} to {expected.high}")
    if unknown := sorted(map(str, stage.attributes.keys() - form.attributes.keys())):
        known = ", ".join(form.attributes) or "no attributes"
        raise ModelError(f"{stage.op} has {', '.join(map(values.shown, unknown))}; expected {known}")


def _check_attribute(title: str, value: object, expected: Range) -> None:
    listed: Sequence[object] = (value,)
    if expected.count is not None:
        listed = values.entries(value, title, expected.count)
        if len(listed) != expected.count:
            raise ModelError(f"{title} has {len(listed)} numbers; expected {expected.count}")
    for each in listed:
        if isinstance(expected.low, int) and isinstance(expected.high, int):
            values.whole(each, title, expected.low, expected.high)
        else:
            values.number(each, title, expected.low, expected.high)
        if expected.among and each not in expected.among:
            raise ModelError(f"{title} is {each}; expected {' or '.join(map(str, expected.among))}")
