"""The refinement of patches: selected for each frame, refined in pieces of one size, put back.

A piece has the size that the network was loaded for, so that nothing depends on how many patches a frame selects. What
is left of the last piece holds no patches (its indices are -1) and is written nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from trtmatte import ops
from trtmatte.backends import Run
from trtmatte.program import PATCHES, NetworkStage, OpStage, Program
from trtmatte.session.memory import Memory
from trtmatte.session.steps import Shot, Step, Tensors, Wanted, Watch, matte, title

_MODES: Final = ("sampling", "thresholding")
_LARGEST_PIECE: Final = 1024


def piece_size(program: Program) -> int:
    """How many patches are refined at once; 0 for a program without patches."""
    pieces = -(-program.capacity // _LARGEST_PIECE)
    return -(-program.capacity // pieces) if pieces else 0


def works_on_patches(stage: NetworkStage, program: Program) -> bool:
    return any(PATCHES in program.tensors[name].shape for name in stage.inputs)


def shape_of(program: Program, name: str) -> tuple[int, ...]:
    """The shape of a tensor. That of the map of what was selected follows the frame's size."""
    select = _op(program, "PatchSelect")
    if select is not None and name == select.outputs[2]:
        return (program.batch, 1, _integer(select, "height"), _integer(select, "width"))
    piece = piece_size(program)
    return tuple(piece if size == PATCHES else int(size) for size in program.tensors[name].shape)


class Selection:
    """Which patches of a frame are refined. There is room for whole pieces."""

    def __init__(self, select: OpStage, program: Program, piece: int, tensors: Tensors, memory: Memory) -> None:
        self._piece, self._memory = piece, memory
        self.room = -(-_integer(select, "capacity") // piece) * piece
        self.indices = memory.zeros((self.room, 3), "int32")
        self._count = memory.zeros((1,), "int32")
        self._ref = memory.zeros(shape_of(program, select.outputs[2]), "float32")
        self._err = tensors[select.inputs[0]]
        self._settings = _selection(select)
        self._more: dict[str, Any] = {"stream": memory.stream}
        if memory.stream is not None:
            size = ops.patch_select_workspace(program.batch, self._settings["height"], self._settings["width"])
            self._more["workspace"] = memory.zeros((size,), "uint8")
        self.tensors = dict(zip(select.outputs, (self.indices, self._count, self._ref), strict=True))

    @property
    def pieces(self) -> Iterator[slice]:
        """The pieces in which something is selected. To know it of a device takes waiting, unless it is always so."""
        always = self._memory.stream is not None and selects_always_as_many(self._settings)
        selected = self.room if always else min(self._memory.number(self._count), self.room)
        return (slice(start, start + self._piece) for start in range(0, selected, self._piece))

    def select(self, shot: Shot) -> None:
        ops.patch_select(
            self._err, **self._settings, indices=self.indices, count=self._count, ref=self._ref, **self._more
        )


class Refinement:
    """The stages from cutting patches to putting them back. `runs` are bound to `tensors`, which hold one piece."""

    def __init__(
        self,
        program: Program,
        selection: Selection,
        tensors: Tensors,
        runs: Sequence[Run],
        wanted: Wanted,
        memory: Memory,
        watch: Watch,
    ) -> None:
        crop, scatter = _op(program, "PatchCrop"), _op(program, "PatchScatter")
        assert crop is not None
        assert scatter is not None
        self._crop, self._selection, self._tensors, self._color = crop, selection, tensors, wanted.color
        self._runs, self._memory = runs, memory
        self._cut = watch(title(crop), self._cut_piece)
        self._piece = tensors[scatter.inputs[1]]
        self._patches = memory.zeros((selection.room, *self._piece.shape[1:]), self._piece.dtype.name)
        whole = {scatter.inputs[1]: self._patches, scatter.inputs[2]: selection.indices}
        more = {}
        if memory.stream is not None:
            width, height = program.size
            size = ops.patch_scatter_workspace(program.batch, height, width)
            more["workspace"] = memory.zeros((size,), "uint8")
        self.scatter: Step = matte(scatter, {**tensors, **whole}, wanted, memory.stream, **more)

    def refine(self, shot: Shot) -> None:
        for piece in self._selection.pieces:
            self._cut(shot, piece)
            for run in self._runs:
                run()
            self._memory.copy(self._patches[piece], self._piece)

    def _cut_piece(self, shot: Shot, piece: slice) -> None:
        maps, frame, background, _ = self._crop.inputs
        half, full = (self._tensors[name] for name in self._crop.outputs)
        ops.patch_crop(
            self._tensors[maps],
            shot.pictures[frame],
            shot.pictures[background],
            self._selection.indices[piece],
            kernel=_integer(self._crop, "kernel"),
            color=self._color,
            half=half,
            full=full,
            stream=self._memory.stream,
        )


def selects_always_as_many(settings: Mapping[str, Any]) -> bool:
    """Whether the number of patches does not depend on the frame: the best k of each, or all that there are."""
    return settings["mode"] in (0, "sampling") or settings["threshold"] < 0


def _selection(select: OpStage) -> dict[str, Any]:
    """The attributes of PatchSelect as trtmatte.ops wants them. A small frame may have fewer patches than asked for."""
    settings: dict[str, Any] = dict(select.attributes)
    settings["mode"] = _MODES[settings["mode"]]
    settings["prevent_oversampling"] = bool(settings.get("prevent_oversampling", True))
    settings["k"] = min(settings.get("k", 1), settings["height"] * settings["width"])
    return settings


def _op(program: Program, name: str) -> OpStage | None:
    return next((stage for stage in program.stages if isinstance(stage, OpStage) and stage.op == name), None)


def _integer(stage: OpStage, name: str) -> int:
    value = stage.attributes[name]
    assert isinstance(value, int)
    return value
