"""The refinement of patches: selected for each frame, refined in pieces of one size, put back.

A piece has the size that the network was loaded for, so that no buffer depends on how many patches a frame selects. The
rest of the last piece holds no patches: its indices are -1, and nothing of it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from trtmatte import ops
from trtmatte.format.program import Program
from trtmatte.format.stages import PATCHES, NetworkStage, OpStage
from trtmatte.ops import Color
from trtmatte.runtime.session.memory import Memory
from trtmatte.runtime.session.steps import LaneFrame, OutputSpec, Step, Tensors, Watch, WriteMatte

_MODES: Final = ("sampling", "thresholding")
_LARGEST_PIECE: Final = 1024


def piece_size(program: Program) -> int:
    """The number of patches that are refined at once; 0 for a program without patches."""
    pieces = -(-program.capacity // _LARGEST_PIECE)
    return -(-program.capacity // pieces) if pieces else 0


def works_on_patches(stage: NetworkStage, program: Program) -> bool:
    return any(PATCHES in program.tensors[name].shape for name in stage.inputs)


def shape_of(program: Program, name: str) -> tuple[int, ...]:
    """The shape of a tensor. That of the map of what was selected follows the frame's size."""
    select = program.select
    if select is not None and name == select.outputs[2]:
        return (program.batch, 1, select.integer("height"), select.integer("width"))
    piece = piece_size(program)
    return tuple(piece if size == PATCHES else int(size) for size in program.tensors[name].shape)


class Selection(Step):
    """Selects the patches of a frame to refine. There is room for whole pieces."""

    def __init__(self, select: OpStage, program: Program, piece: int, tensors: Tensors, memory: Memory) -> None:
        super().__init__(select)
        self._piece, self._memory = piece, memory
        self.room = -(-select.integer("capacity") // piece) * piece
        self.indices = memory.zeros((self.room, 3), "int32")
        self._count = memory.zeros((1,), "int32")
        self._ref = memory.zeros(shape_of(program, select.outputs[2]), "float32")
        self._err = tensors[select.inputs[0]]
        self._settings = _selection(select)
        self._count_is_known = memory.cuda_stream is not None and program.has_fixed_patches
        self._more: dict[str, Any] = {"cuda_stream": memory.cuda_stream}
        if memory.cuda_stream is not None:
            size = ops.patch_select_workspace(program.batch, self._settings["height"], self._settings["width"])
            self._more["workspace"] = memory.zeros((size,), "uint8")
        self.tensors = dict(zip(select.outputs, (self.indices, self._count, self._ref), strict=True))

    @property
    def pieces(self) -> Iterator[slice]:
        """The pieces that hold selected patches. Reading their number from a device waits, unless it is known."""
        selected = self.room if self._count_is_known else min(self._memory.number(self._count), self.room)
        return (slice(start, start + self._piece) for start in range(0, selected, self._piece))

    def run(self, frame: LaneFrame) -> None:
        ops.patch_select(
            self._err, **self._settings, indices=self.indices, count=self._count, ref=self._ref, **self._more
        )


class CropPiece(Step):
    """Cuts the patches of one piece out of the frame, the plate and the small maps."""

    def __init__(
        self, crop: OpStage, selection: Selection, tensors: Tensors, color: Color, cuda_stream: int | None
    ) -> None:
        super().__init__(crop)
        maps, self._frame, self._plate, _ = crop.inputs
        self._maps, self._indices = tensors[maps], selection.indices
        half, full = (tensors[name] for name in crop.outputs)
        self._settings: dict[str, Any] = {"kernel": crop.integer("kernel"), "half": half, "full": full}
        self._settings |= {"color": color, "cuda_stream": cuda_stream}

    def run(self, frame: LaneFrame, piece: slice) -> None:
        pictures = frame.pictures
        ops.patch_crop(self._maps, pictures[self._frame], pictures[self._plate], self._indices[piece], **self._settings)


class Refinement:
    """The stages from cutting patches to putting them back. `runs` are bound to `tensors`, which hold one piece."""

    def __init__(
        self,
        program: Program,
        selection: Selection,
        tensors: Tensors,
        runs: Sequence[Callable[..., object]],
        spec: OutputSpec,
        memory: Memory,
        watch: Watch,
    ) -> None:
        crop, scatter = program.op("PatchCrop"), program.op("PatchScatter")
        assert crop is not None
        assert scatter is not None
        self._selection, self._runs, self._memory = selection, runs, memory
        crop_piece = CropPiece(crop, selection, tensors, spec.color, memory.cuda_stream)
        self._crop = watch(crop_piece.title, crop_piece)
        self._piece = tensors[scatter.inputs[1]]
        self._patches = memory.zeros((selection.room, *self._piece.shape[1:]), self._piece.dtype.name)
        whole = {scatter.inputs[1]: self._patches, scatter.inputs[2]: selection.indices}
        more = {}
        if memory.cuda_stream is not None:
            width, height = program.size
            size = ops.patch_scatter_workspace(program.batch, height, width)
            more["workspace"] = memory.zeros((size,), "uint8")
        self.scatter = WriteMatte(scatter, {**tensors, **whole}, spec, memory.cuda_stream, **more)

    def refine(self, frame: LaneFrame) -> None:
        """Cut, refine and collect the selected patches, piece by piece."""
        for piece in self._selection.pieces:
            self._crop(frame, piece)
            for run in self._runs:
                run()
            self._memory.copy(self._patches[piece], self._piece)


def _selection(select: OpStage) -> dict[str, Any]:
    """The attributes of PatchSelect as keyword arguments of `trtmatte.ops`. A small frame may have fewer than k."""
    settings: dict[str, Any] = dict(select.attributes)
    settings["mode"] = _MODES[settings["mode"]]
    settings["prevent_oversampling"] = bool(settings.get("prevent_oversampling", True))
    settings["k"] = min(settings.get("k", 1), settings["height"] * settings["width"])
    return settings
