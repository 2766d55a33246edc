"""Executors run a session's program: one on the CPU, one on CUDA devices. `open_executor` opens the one chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, cast

from trtmatte.backends.interface import DeviceNetwork
from trtmatte.errors import BackendError
from trtmatte.format.file import EngineFile
from trtmatte.format.program import Program
from trtmatte.runtime.choice import Choice, instead_of
from trtmatte.runtime.networks import load_networks
from trtmatte.runtime.session import cpu
from trtmatte.runtime.session.background import Background
from trtmatte.runtime.session.lanes import StreamGroup
from trtmatte.runtime.session.memory import Array, Memory
from trtmatte.runtime.session.patches import piece_size
from trtmatte.runtime.session.pending import Pending
from trtmatte.runtime.session.settings import Settings
from trtmatte.runtime.session.states import States
from trtmatte.runtime.session.steps import LaneFrame, Watch

__all__ = ["Executor", "FrameSchedule", "open_executor"]


class FrameSchedule(Protocol):
    """All steps for frames of certain sizes."""

    def run(self, frames: Mapping[int, LaneFrame]) -> Pending:
        """Run the frames of lanes, by the lanes' numbers. Lanes without a frame do nothing.

        The frames count once `states.flip` or `states.advance` is called.
        """


class Executor(Protocol):
    """Runs a program for all streams of a session. What depends on the size of the frame is in a `FrameSchedule`."""

    in_flight: int
    """The number of frames that may be under way beside the one that is waited for."""

    @property
    def memory(self) -> Memory:
        """The memory of all its arrays."""

    @property
    def states(self) -> States:
        """The recurrent states of all streams."""

    @property
    def groups(self) -> Sequence[StreamGroup]:
        """The groups that the streams are divided into."""

    def schedule(self, program: Program) -> FrameSchedule:
        """The steps for frames of the size that `program` is for. Each group of streams is a lane."""

    def schedule_streams(self, programs: Mapping[int, Program]) -> FrameSchedule:
        """The steps for frames of a size of its own in each of these streams. Each stream is a lane."""

    def background_of(self, background: Background, frame: Array, time: int, streams: slice) -> Any:
        """The picture behind these streams at one time, or the instruction to make it from the frame."""

    def watch(self, watch: Watch) -> None:
        """Pass the steps of every schedule that is made from now on through `watch`."""

    def counts(self) -> Mapping[str, Any]:
        """The executor's own counters, by their names in `Stats`."""

    def close(self) -> None:
        """Wait for all work that is under way."""


def open_executor(engine: EngineFile, choice: Choice, settings: Settings) -> tuple[Executor, Choice]:
    """An executor with the networks of an engine, and the choice that it runs: another one where a backend that was
    not asked for by name cannot load the networks."""
    try:
        return _opened(engine, choice, settings), choice
    except BackendError as error:
        other = instead_of(choice, error)
        if other is None:
            raise
    return open_executor(engine, other, settings)


def _opened(engine: EngineFile, choice: Choice, settings: Settings) -> Executor:
    program = engine.program
    form: Final = (settings.batch, settings.spec, settings.scene_cut)
    if choice.device is None:
        return cpu.Executor(program, load_networks(engine, choice, piece_size(program)), *form)
    from trtmatte.runtime.session.cuda.executor import Executor as CudaExecutor
    from trtmatte.runtime.session.cuda.memory import DeviceMemory

    memory = DeviceMemory(choice.device)
    with memory.entered():
        networks = cast(Mapping[str, DeviceNetwork], load_networks(engine, choice, piece_size(program), memory))
        return CudaExecutor(program, networks, *form, memory)
