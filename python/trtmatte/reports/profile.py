"""Profiles: the time of every stage of a session, with the bytes that it moves and the time of copying as many."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np

from trtmatte import _core
from trtmatte.errors import SettingError
from trtmatte.format.file import EngineFile, read
from trtmatte.format.outputs import CHANNELS, MATTE_OUTPUTS
from trtmatte.format.program import Program
from trtmatte.format.stages import BACKGROUND, PATCHES, PICTURES, PLATE, NetworkStage, OpStage, Stage
from trtmatte.runtime.session.session import Session
from trtmatte.runtime.session.steps import title

__all__ = [
    "Latency",
    "Profile",
    "StageProfile",
    "bytes_moved",
    "copy_seconds",
    "describe",
    "generated_frames",
    "profile",
]

Array = np.ndarray[Any, Any]

_GREEN: Final = (120, 255, 155)
_WARM_UP: Final = 3  # frames
_COPIES: Final = 7
_ESTIMATED_ROWS: Final = 256  # that ForegroundEstimate reads of a frame
_LINEAR: Final = 0  # of the methods of FrameSample
_NOTHING: Final = 0.003  # milliseconds, which a step takes that finds nothing to do


@dataclass(frozen=True)
class Latency:
    """Milliseconds per frame."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        return cls(*(float(each) * 1000 for each in np.percentile(seconds, (50, 95, 99))))


@dataclass(frozen=True)
class StageProfile:
    """A stage's part of a frame. `copy` is what a copy of as many bytes takes, in milliseconds; None for networks."""

    name: str
    ms: Latency
    bytes: int
    copy: float | None

    @property
    def rate(self) -> float | None:
        """Bytes a second of an op; None where it has nothing to do, as a background that stays is sampled once."""
        return None if self.copy is None or self.ms.p50 < _NOTHING else self.bytes / self.ms.p50 * 1000


@dataclass(frozen=True)
class Profile:
    """`frames` calls were timed as they are, and as many again stage by stage. A call has one frame of each stream.

    On a GPU each stage is waited for, so the stages together take longer than a frame that is one graph.
    """

    family: str
    variant: str
    backend: str
    device: str
    threads: int
    size: tuple[int, int]
    batch: int
    frames: int
    load: float  # seconds until there was a session
    first: float  # milliseconds of the first call
    ms: Latency
    throughput: float  # frames a second, all streams together
    stages: tuple[StageProfile, ...]
    rest: float  # milliseconds of a call that are in no stage: reading arguments, transfers, what stages hand on
    memory: int  # the most that the process has had, in bytes

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def profile(
    engine: EngineFile | str | Path, *, size: tuple[int, int] | None = None, frames: int = 50, **options: Any
) -> Profile:
    """Time a session on generated uint8 frames of `size`, or of the size that the engine was built for.

    `options` are those of `Session`; by default it makes a composite over a colour.
    """
    if frames < 1:
        raise SettingError(f"frames is {frames}; expected the number of frames to time, 1 or more")
    engine = engine if isinstance(engine, EngineFile) else read(engine)
    program = engine.program.for_frame(*(size or engine.program.size))
    batch = options.get("batch") or program.batch
    pictures = [generated_frames(program.size, batch, seed) for seed in range(3)]
    if program.matte and options.get("outputs") is None:
        options |= {"outputs": ("composite",), "background": _GREEN}
    if PLATE in program.pictures and options.get("plate") is None:
        options["plate"] = pictures.pop()
    began = perf_counter()
    with Session(engine, **options) as session:
        ready = perf_counter() - began
        following = itertools.cycle(pictures)
        first, *_ = _timed(session, following, 1 + _WARM_UP)
        whole = _timed(session, following, frames)
        stopwatch = Stopwatch()
        session.watch(stopwatch)
        _timed(session, following, _WARM_UP)
        stopwatch.forget()
        rest = []
        for picture in itertools.islice(following, frames):
            (seconds,) = _timed(session, iter([picture]), 1)
            rest.append(seconds - stopwatch.next())
        device = session.device
        stages = tuple(_stages(program, session.outputs, batch, stopwatch.seconds, device == "cpu"))
        return Profile(
            family=program.family,
            variant=program.variant,
            backend=session.backend,
            device=device,
            threads=_core.get_num_threads(),
            size=program.size,
            batch=batch,
            frames=frames,
            load=ready,
            first=first * 1000,
            ms=Latency.of(whole),
            throughput=batch * frames / sum(whole),
            stages=stages,
            rest=float(np.median(rest)) * 1000,
            memory=peak_memory(),
        )


class Stopwatch:
    """Sums up, frame by frame, what each stage takes. It is what `Session.watch` wants."""

    def __init__(self) -> None:
        self._now: dict[str, float] = {}
        self._frames: list[dict[str, float]] = []

    def __call__(self, name: str, step: Callable[..., object]) -> Callable[..., object]:
        self._now.setdefault(name, 0.0)

        def timed(*args: Any) -> None:
            began = perf_counter()
            step(*args)
            self._now[name] += perf_counter() - began

        return timed

    def next(self) -> float:
        """End a frame. Returns the seconds of all its stages."""
        self._frames.append(dict(self._now))
        self._now.update(dict.fromkeys(self._now, 0.0))
        return sum(self._frames[-1].values())

    def forget(self) -> None:
        """Forget all times so far."""
        self.next()
        self._frames.clear()

    @property
    def seconds(self) -> dict[str, list[float]]:
        """The seconds by stage, then by frame."""
        return {name: [frame[name] for frame in self._frames] for name in self._now}


# ---------------------------------------------------------------------------------------------------------------------
# Bytes


def bytes_moved(program: Program, stage: Stage, outputs: Sequence[str], batch: int | None = None) -> int:
    """The bytes that a stage reads and writes for a uint8 frame of the program's size, without networks' weights.

    Of a frame that is sampled linearly the rows that lie between two samples are not read; a colour is no bytes.
    """
    width, height = program.size
    pixels = width * height * program.batch
    select = next((each for each in program.stages if title(each) == "PatchSelect"), None)

    def size(name: str) -> int:
        if not name or name == BACKGROUND:
            return 0
        if name in PICTURES:
            return round(3 * pixels * _share_of_rows(stage, height))
        if name in MATTE_OUTPUTS:
            return CHANNELS[name] * pixels if name in outputs else 0
        tensor = program.tensors[name]
        shape = [program.capacity if each == PATCHES else int(each) for each in tensor.shape]
        if select is not None and name == select.outputs[2]:  # it follows the frame's size
            shape = [program.batch, height // 4, width // 4]
        return math.prod(shape) * int(np.dtype(tensor.dtype).itemsize)

    if title(stage) == "PatchCrop":  # each pixel of a patch is read somewhere
        moved = 2 * sum(map(size, stage.outputs))
    else:
        moved = sum(map(size, (*stage.inputs, *stage.outputs)))
    return moved * ((batch or program.batch) // program.batch)


def copy_seconds(count: int, threads: int | None = None) -> float:
    """The time in seconds of a copy that reads and writes so many bytes with these threads: a median of several."""
    threads = threads or _core.get_num_threads()
    source, target = (np.full(max(count // 2, 1), fill, np.uint8) for fill in (1, 2))
    pieces = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    times = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_COPIES):
            began = perf_counter()
            others = [pool.submit(np.copyto, *piece) for piece in pieces[1:]]
            np.copyto(*pieces[0])
            for other in others:
                other.result()
            times.append(perf_counter() - began)
    return float(np.median(times[1:]))


def peak_memory() -> int:
    """The peak memory of this process in bytes; 0 if the system does not report it."""
    status = Path("/proc/self/status")
    if status.is_file():  # the limits of `resource` are handed down from the process that started this one
        return next(int(line.split()[1]) * 1024 for line in status.open() if line.startswith("VmHWM"))
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# ---------------------------------------------------------------------------------------------------------------------
# In words


def describe(profile: Profile) -> str:
    """Describe a profile as text: a table of the stages, and the totals."""
    width, height = profile.size
    streams = f", {profile.batch} streams" if profile.batch > 1 else ""
    rows = [("", "p50 ms", "p95 ms", "share", "MB", "GB/s", "of copy speed")]
    whole = sum(stage.ms.p50 for stage in profile.stages) + profile.rest
    for stage in profile.stages:
        rows.append(
            (
                stage.name,
                f"{stage.ms.p50:.2f}",
                f"{stage.ms.p95:.2f}",
                f"{stage.ms.p50 / whole:.0%}",
                f"{stage.bytes / 1e6:.1f}",
                f"{stage.rate / 1e9:.1f}" if stage.rate else "",
                f"{stage.copy / stage.ms.p50:.0%}" if stage.rate and stage.copy else "",
            )
        )
    rows.append(("all else", f"{profile.rest:.2f}", "", f"{profile.rest / whole:.0%}", "", "", ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ms = profile.ms
    return "\n".join(
        [
            f"{profile.family} {profile.variant} at {width}x{height}{streams}, {profile.backend} on {profile.device}, "
            f"{profile.threads} threads, {profile.frames} frames",
            "",
            *("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows),
            "",
            f"a frame   p50 {ms.p50:.2f} ms, p95 {ms.p95:.2f} ms, p99 {ms.p99:.2f} ms",
            f"together  {profile.throughput:.1f} frames a second",
            f"start     {profile.load:.2f} s until there is a session, {profile.first:.1f} ms for the first frame",
            f"memory    {profile.memory / 2**20:.0f} MiB at most, this whole process",
        ]
    )


# ---------------------------------------------------------------------------------------------------------------------


def _stages(
    program: Program, outputs: Sequence[str], batch: int, seconds: Mapping[str, Sequence[float]], on_cpu: bool
) -> Iterator[StageProfile]:
    """The profiles of the stages. Copy times are given for host memory only."""
    for stage in program.stages:
        if (times := seconds.get(title(stage))) is None:
            continue  # nobody needs it
        moved = bytes_moved(program, stage, outputs, batch)
        is_op = not isinstance(stage, NetworkStage)
        copy = copy_seconds(moved) * 1000 if is_op and on_cpu else None
        yield StageProfile(title(stage), Latency.of(times), moved, copy)


def _share_of_rows(stage: Stage, height: int) -> float:
    if isinstance(stage, OpStage) and stage.op == "ForegroundEstimate":
        return min(1.0, _ESTIMATED_ROWS / height)
    if isinstance(stage, NetworkStage) or stage.op != "FrameSample" or stage.attributes.get("method", 0) != _LINEAR:
        return 1.0
    rows = stage.attributes["height"]
    assert isinstance(rows, int)
    return min(1.0, 2 * rows / height)


def _timed(session: Session, pictures: Iterator[Array], frames: int) -> list[float]:
    times = []
    for picture in itertools.islice(pictures, frames):
        began = perf_counter()
        session(picture)
        times.append(perf_counter() - began)
    return times


def generated_frames(size: tuple[int, int], batch: int, seed: int) -> Array:
    """Pictures of large blocks of colours, which stay visible at the size of the network."""
    width, height = size
    blocks = np.random.default_rng(seed).integers(0, 256, (batch, -(-height // 8), -(-width // 8), 3), np.uint8)
    pictures = np.ascontiguousarray(blocks.repeat(8, 1).repeat(8, 2)[:, :height, :width])
    return pictures if batch > 1 else pictures[0]
