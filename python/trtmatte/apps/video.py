"""convert_video: frames from a reader, through a session, to writers, each on a thread of its own."""

from __future__ import annotations

import logging
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np

from trtmatte.errors import SettingError, TruncatedError
from trtmatte.format.file import Engine, load
from trtmatte.format.program import PLATE
from trtmatte.media.backdrops import Backdrop
from trtmatte.media.opening import open_source
from trtmatte.media.source import Array, Source
from trtmatte.media.targets import Target, targets
from trtmatte.media.writing import Sink
from trtmatte.runtime.session import Matte, Session
from trtmatte.support import progress as terminal

__all__ = ["Interrupted", "Summary", "convert_video"]

EngineLike = Engine | str | Path | Callable[[tuple[int, int]], Engine]

_LOG: Final = logging.getLogger("trtmatte")
_GREEN: Final = "greenscreen"  # what composites are made over where nothing is said, as RVM's are
_WAITING: Final = 2  # mattes that wait for a writer, at least
_PATCH: Final = 4


@dataclass(frozen=True)
class Summary:
    """What became of a conversion."""

    frames: int
    seconds: float
    outputs: tuple[str, ...]
    backend: str = ""  # what ran the networks

    @property
    def fps(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        where = f" on {self.backend}" if self.backend else ""
        return f"{self.frames} frames at {self.fps:.1f} a second{where}: {', '.join(self.outputs)}"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C: what was done by then is written, and whole."""

    def __init__(self, summary: Summary) -> None:
        super().__init__(
            f"stopped after {summary}" if summary.frames else "stopped before the first frame; nothing is left"
        )
        self.summary = summary


def convert_video(
    engine: EngineLike,
    input_source: Any,
    *,
    output: str | Path | None = None,
    kinds: Sequence[str] | str = (),
    output_type: str | None = None,
    output_composition: str | Path | None = None,
    output_alpha: str | Path | None = None,
    output_foreground: str | Path | None = None,
    output_rgba: str | Path | None = None,
    output_video_mbps: float | None = None,
    crf: int | None = None,
    codec: str | None = None,
    preset: str | None = None,
    background: Any = None,
    background_shot: str | Path | None = None,
    preprocess_alignment: bool | str = False,
    input_resize: tuple[int, int] | None = None,
    raw: str | None = None,
    rate: float | Fraction | str | None = None,
    start: float | None = None,
    end: float | None = None,
    frames: int | None = None,
    sound: bool = True,
    overwrite: bool = False,
    downsample_ratio: float | str | None = None,
    dtype: Any = None,
    device: Any = None,
    backend: str = "auto",
    scene_cut: float | None = None,
    seq_chunk: int = 1,
    num_workers: int = 0,
    progress: bool | Callable[[int, int | None], object] = True,
) -> Summary:
    """Mattes a video, pictures or raw frames, and writes what is asked for.

    >>> trtmatte.convert_video("rvm-hd.trtm", "in.mp4", output_composition="com.mp4", output_alpha="pha.mp4")

    `input_source` is a video's path, a folder of pictures or a pattern like `"shots/*.png"`, a picture, `"-"` for raw
    RGB frames on standard input (`raw="1280x720@30"`). `engine` is one, the path of one, or a function that gives the
    one for frames of a width and height.

    `output` is the place of `kinds` of pictures: `composite`, `rgba`, `alpha`, `foreground`. A name that ends in .mp4,
    .m4v, .mkv, .mov or .webm is a video, one without a suffix a folder of PNG files, `"-"` standard output. With
    several kinds, each name has its kind added. `output_composition`, `output_alpha`, `output_foreground` and
    `output_rgba` name each place by itself. `output_type` is "video" or "png_sequence", where the name does not say it.
    `codec` is h264, h265, prores, vp9, h264-nvenc or h265-nvenc. Sound and subtitles are copied, unless `sound` is
    False.

    `background` is what composites are made over: a colour, a picture, a video (again and again, frame by frame) or
    "blur", "blur:N"; pictures fill the frame and are cropped. `background_shot` is the captured picture or video of the
    scene without its subject that BackgroundMattingV2 needs; `preprocess_alignment` moves it onto the frame: True or
    "frame" for each anew, "once" for all as for the first.

    `start` and `end` are seconds, `frames` is how many are matted at most. `seq_chunk` is how many mattes may wait for
    their writers; frames pass one by one, whatever it is. `num_workers` is the number of threads of each decoder and
    encoder, 0 for as many as they like. `downsample_ratio` and `dtype` are settled when an engine is built; given here,
    they have to be the engine's.

    Files appear under their names when they are whole. Ctrl-C ends them early and raises `Interrupted`; a damaged video
    raises a `TruncatedError` once the frames before the damage are written.
    """
    wanted = targets(
        output,
        [kinds] if isinstance(kinds, str) else list(kinds),
        {
            "composite": output_composition,
            "alpha": output_alpha,
            "foreground": output_foreground,
            "rgba": output_rgba,
        },
        output_type=output_type,
        has_background=background is not None,
        codec=codec,
        mbps=output_video_mbps,
        crf=crf,
        preset=preset,
    )
    _check(wanted, input_source, overwrite, frames)
    source = open_source(
        input_source, raw=raw, rate=rate, resize=input_resize, start=start, end=end, threads=num_workers
    )
    chosen = _engine(engine, source.facts.size, downsample_ratio, dtype)
    shots = _Shots(
        source,
        chosen,
        background=_captured(chosen, background_shot, source, num_workers),
        alignment=_alignment(preprocess_alignment, background_shot),
        limit=frames,
    )
    waiting = max(_WAITING, seq_chunk)
    outputs = tuple(dict.fromkeys(each.output for each in wanted))
    backdrop, backdrops = _backdrop(background, source.facts.size, num_workers, used="composite" in outputs)
    with ExitStack() as stack:
        session = stack.enter_context(
            Session(
                chosen,
                outputs=outputs,
                backdrop=backdrop,
                device=device,
                backend=backend,
                scene_cut=scene_cut,
                ring=waiting + 2,  # those that wait, the one that is written, the one that is made
            )
        )
        mattes = session.stream(shots.frames(), backgrounds=shots.backgrounds(), backdrops=backdrops)
        stack.enter_context(closing(mattes))  # type: ignore[type-var]
        report = stack.enter_context(_report(progress, _expected(source.facts.count, frames)))
        stack.enter_context(_stopped_by_signals(shots.stop))
        lanes = stack.enter_context(_opened(wanted, source, sound, waiting, num_workers))
        return _run(mattes, shots, lanes, report, wanted, session.backend)


# ---------------------------------------------------------------------------------------------------------------------
# The run


def _run(
    mattes: Iterator[Matte],
    shots: _Shots,
    lanes: Sequence[_Lane],
    report: Callable[[int], object],
    wanted: Sequence[Target],
    backend: str,
) -> Summary:
    began, count, broken = perf_counter(), 0, None
    try:
        for matte in mattes:
            pts, duration = shots.times.popleft()
            for lane in lanes:
                lane.put(shots.cropped(matte[lane.output]), pts, duration)
            count += 1
            report(count)
    except TruncatedError as error:
        if not count:
            raise
        broken = error
    if shots.stopping.is_set() and not count:
        raise Interrupted(Summary(0, 0.0, ()))
    for lane in lanes:
        lane.finish(whole=shots.whole and broken is None)
    for lane in lanes:
        lane.wait()
    summary = Summary(count, perf_counter() - began, tuple(str(each.place) for each in wanted), backend)
    if broken is not None:
        raise TruncatedError(f"{broken}; what came before is in {', '.join(summary.outputs)}") from broken
    if shots.stopping.is_set():
        raise Interrupted(summary)
    return summary


class _Shots:
    """The frames of a source with what belongs to them, on the thread that reads."""

    def __init__(
        self, source: Source, engine: Engine, *, background: Iterator[Array] | None, alignment: Any, limit: int | None
    ) -> None:
        self._source, self._background, self._alignment, self._limit = source, background, alignment, limit
        self._size = source.facts.size
        self._pads = bool(engine.program.capacity) and any(side % _PATCH for side in self._size)
        self._frame: Any = None
        self.times: deque[tuple[int, int]] = deque()
        self.stopping = threading.Event()
        self.whole = False

    def stop(self) -> None:
        self.stopping.set()

    def frames(self) -> Iterator[Array]:
        step = max(1, round(1 / (self._source.facts.rate * self._source.facts.time_base)))
        for number, frame in enumerate(self._source.frames()):
            if self.stopping.is_set() or number == self._limit:
                return
            self._frame = frame.picture
            self.times.append((frame.pts, frame.duration or step))
            yield self._padded(frame.picture)
        self.whole = True

    def backgrounds(self) -> Iterator[Array] | None:
        return None if self._background is None else self._each_background(self._background)

    def cropped(self, picture: Array) -> Array:
        return picture[: self._size[1], : self._size[0]] if self._pads else picture

    def _each_background(self, captured: Iterator[Array]) -> Iterator[Array]:
        """Asked for each after its frame."""
        for background in captured:
            yield self._padded(self._alignment(background, self._frame) if self._alignment else background)

    def _padded(self, picture: Array) -> Array:
        """Refinement works on whole patches: the last rows and columns are there again."""
        if not self._pads:
            return picture
        width, height = self._size
        return np.pad(picture, ((0, -height % _PATCH), (0, -width % _PATCH), (0, 0)), mode="edge")


class _Lane(threading.Thread):
    """Writes one kind of pictures on a thread of its own."""

    def __init__(self, output: str, sink: Sink, waiting: int) -> None:
        super().__init__(name=f"trtmatte-writing-{sink.place}", daemon=True)
        self.output, self._sink = output, sink
        self._queue: queue.Queue[Any] = queue.Queue(waiting)
        self._error: BaseException | None = None
        self._done = False
        self.start()

    def put(self, picture: Array, pts: int, duration: int) -> None:
        self._raise()
        self._queue.put(lambda: self._sink.write(picture, pts, duration))

    def finish(self, *, whole: bool) -> None:
        self._queue.put(lambda: self._sink.close(whole=whole))
        self._queue.put(None)

    def wait(self) -> None:
        self.join()
        self._raise()
        self._done = True

    def abort(self) -> None:
        """Unless it is done."""
        if self.is_alive():
            self._error = self._error or InterruptedError()
            self._queue.put(None)
            self.join()
        if not self._done:
            self._sink.abort()

    def run(self) -> None:
        while (work := self._queue.get()) is not None:
            if self._error is None:
                try:
                    work()
                except BaseException as error:
                    self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


@contextmanager
def _opened(wanted: Sequence[Target], source: Source, sound: bool, waiting: int, threads: int) -> Iterator[list[_Lane]]:
    """All of them come to their end, or none that is not there yet comes to be."""
    lanes: list[_Lane] = []
    try:
        for each in wanted:
            sink = each.open(source.facts, with_sound=sound, threads=threads)
            lanes.append(_Lane(each.output, sink, waiting))
        yield lanes
    finally:
        for lane in lanes:
            lane.abort()


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C, or a request to terminate, ends what is written; the second drops it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _: Any) -> None:
        signal.signal(number, before[signal.Signals(number)])
        stop()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _report(progress: Any, total: int | None) -> Iterator[Callable[[int], object]]:
    if callable(progress):
        yield lambda done: progress(done, total)
        return
    with terminal.frames(total, quiet=not progress) as advance:
        yield advance


# ---------------------------------------------------------------------------------------------------------------------
# What is given


def _check(wanted: Sequence[Target], source: Any, overwrite: bool, frames: int | None) -> None:
    if frames is not None and frames < 1:
        raise SettingError(f"frames is {frames}; expected how many are matted at most, 1 or more")
    for each in wanted:
        if isinstance(source, (str, Path)) and not each.is_raw and _same(each.place, Path(source)):
            raise SettingError(f"{each.place} is what is read as well; choose another place")
        each.require_free(overwrite)


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _engine(engine: EngineLike, size: tuple[int, int], ratio: Any, dtype: Any) -> Engine:
    chosen = _found(engine, size)
    settings = chosen.manifest["settings"]
    for name, value, built in (
        ("downsample_ratio", ratio, settings.get("downsample_ratio", "auto")),
        ("dtype", _precision(dtype), settings.get("precision")),
    ):
        if value is not None and built is not None and value != built:
            raise SettingError(
                f"{name} is {value!r}, and the engine was built with {built!r}; leave it out, or build another: "
                f"trtmatte.build(model, {'precision' if name == 'dtype' else name}={value!r})"
            )
    return chosen


def _found(engine: EngineLike, size: tuple[int, int]) -> Engine:
    if isinstance(engine, (str, Path)):
        return load(engine)
    return engine if isinstance(engine, Engine) else engine(size)


def _precision(dtype: Any) -> str | None:
    """torch.float16, "float16" and numpy's are fp16."""
    if dtype is None:
        return None
    name = getattr(dtype, "__name__", str(dtype)).removeprefix("torch.")
    return {"float16": "fp16", "float32": "fp32"}.get(name, name)


def _captured(engine: Engine, shot: str | Path | None, source: Source, threads: int) -> Iterator[Array] | None:
    """The pictures of the scene without its subject; where they end, the last one stays."""
    if PLATE not in engine.program.pictures:
        if shot is not None:
            raise SettingError(
                f"{engine.program.family} needs no picture of the scene without its subject; leave background_shot "
                "out (what composites are made over is the background)"
            )
        return None
    if shot is None:
        raise SettingError(
            f"{engine.program.family} needs the scene without its subject, as a picture or a video: --background-shot"
        )
    return _lasting(open_source(shot, resize=source.facts.size, threads=threads))


def _lasting(source: Source) -> Iterator[Array]:
    for frame in source.frames():
        yield (picture := frame.picture)
    while True:
        yield picture


def _alignment(choice: bool | str, shot: Any) -> Any:
    if choice is False or choice is None:
        return None
    if choice not in (True, "frame", "once"):
        raise SettingError(f"preprocess_alignment is {choice!r}; expected True, 'frame' or 'once'")
    if shot is None:
        raise SettingError("preprocess_alignment moves a background_shot onto the frame, and none is given")
    from trtmatte.media.alignment import Aligner

    return Aligner(once=choice == "once")


def _backdrop(
    background: Any, size: tuple[int, int], threads: int, *, used: bool
) -> tuple[Any, Iterator[Array | None] | None]:
    """What the session gets once, and what with each frame."""
    if not used:
        if background is not None:
            raise SettingError("a background is given, but nothing is composed over it: ask for the kind composite")
        return None, None
    backdrop = Backdrop(_GREEN if background is None else background, threads)
    return backdrop.once(size), (backdrop.behind(size) for _ in repeat(None)) if backdrop.is_film else None


def _expected(count: int | None, limit: int | None) -> int | None:
    if count is None or limit is None:
        return count if limit is None else limit
    return min(count, limit)
