"""Matte videos: a reader, a session and the writers each run in their own thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from trtmatte.api import Engine, Session, load
from trtmatte.errors import SettingError, TruncatedError
from trtmatte.format.stages import PLATE
from trtmatte.media import still
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.media.claims import files_of, require_replaceable
from trtmatte.media.opening import open_source
from trtmatte.media.padding import PATCH, crop_to, multiple_of, pad_to
from trtmatte.media.source import Array, Source
from trtmatte.media.targets import Target, targets
from trtmatte.media.writer_threads import WriterThread, writer_threads
from trtmatte.runtime.session import Matte
from trtmatte.support import progress as terminal
from trtmatte.support.limits import Limits
from trtmatte.support.renamed import notice
from trtmatte.support.signals import stopping

__all__ = ["Interrupted", "Summary", "VideoInput", "VideoOutput", "convert_video", "matte_video"]

EngineLike = Engine | str | Path | Callable[[tuple[int, int]], Engine]
"""An engine, the path of one, or a function that returns the engine for frames of a width and height."""

Progress = bool | Callable[[int, "int | None"], object]

_GREEN: Final = "greenscreen"  # the background where none is given, as in RVM's script
_WAITING: Final = 2  # mattes that may wait for a writer, at least
_MOST_WAITING: Final = 1000


@dataclass(frozen=True)
class VideoInput:
    """The frames of a video, and the plate that belongs to them. `convert_video` explains the fields."""

    source: Any
    resize: tuple[int, int] | None = None
    raw: str | None = None
    rate: float | Fraction | str | None = None
    start: float | None = None
    end: float | None = None
    frames: int | None = None
    plate: str | Path | None = None
    alignment: bool | str = False
    threads: int = 0
    limits: Limits | None = None
    """For files of strangers."""

    def __post_init__(self) -> None:
        if self.frames is not None and self.frames < 1:
            raise SettingError(f"frames is {self.frames}; expected the largest number of frames to matte, 1 or more")
        if self.alignment not in (None, False, True, "frame", "once"):
            raise SettingError(f"preprocess_alignment is {self.alignment!r}; expected True, 'frame' or 'once'")
        if self.alignment and self.plate is None:
            raise SettingError("preprocess_alignment aligns a plate, and none is given")

    def open(self) -> Source:
        return open_source(
            self.source,
            raw=self.raw,
            rate=self.rate,
            resize=self.resize,
            start=self.start,
            end=self.end,
            threads=self.threads,
            limits=self.limits,
        )

    def expected(self, count: int | None) -> int | None:
        """The number of frames to matte, if it is known."""
        if count is None or self.frames is None:
            return count if self.frames is None else self.frames
        return min(count, self.frames)


@dataclass(frozen=True)
class VideoOutput:
    """The files to write, and their form. `convert_video` explains the fields."""

    place: str | Path | None = None
    kinds: Sequence[str] = ()
    places: Mapping[str, str | Path | None] = field(default_factory=dict)
    """Files or folders by kind."""
    type: str | None = None
    codec: str | None = None
    mbps: float | None = None
    crf: int | None = None
    preset: str | None = None
    background: Any = None
    sound: bool = True
    overwrite: bool = False
    waiting: int = _WAITING
    """The number of mattes that may wait for each writer."""

    def targets(self) -> list[Target]:
        return targets(
            self.place,
            list(self.kinds),
            dict(self.places),
            output_type=self.type,
            has_background=self.background is not None,
            codec=self.codec,
            mbps=self.mbps,
            crf=self.crf,
            preset=self.preset,
        )


@dataclass(frozen=True)
class Summary:
    """The result of a conversion."""

    frames: int
    seconds: float
    outputs: tuple[str, ...]
    backend: str = ""  # that ran the networks

    @property
    def fps(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        where = f" on {self.backend}" if self.backend else ""
        return f"{self.frames} frames at {self.fps:.1f} a second{where}: {', '.join(self.outputs)}"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed. The frames before that are written, and the files are complete."""

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
    plate: str | Path | None = None,
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
    progress: Progress = True,
    background_shot: str | Path | None = None,
    reads: Sequence[str | Path] = (),
    safe: bool | Limits = False,
) -> Summary:
    """Matte a video, pictures or raw frames, and write the outputs that are asked for.

    >>> trtmatte.convert_video("rvm-hd.trtm", "in.mp4", output_composition="com.mp4", output_alpha="pha.mp4")

    `input_source` is a video's path, a folder of pictures, a pattern like `"shots/*.png"`, a picture, or `"-"` for raw
    RGB frames on standard input (`raw="1280x720@30"`). `engine` is an engine, the path of one, or a function that
    returns the engine for frames of a width and height.

    `output` is the path for the outputs that `kinds` lists: `composite`, `rgba`, `alpha`, `foreground`. A path that
    ends in .mp4, .m4v, .mkv, .mov or .webm is a video, a path without a suffix is a folder of PNG files, `"-"` is
    standard output. With several kinds, each path gets its kind added. `output_composition`, `output_alpha`,
    `output_foreground` and `output_rgba` are paths for one kind each. `output_type` is "video" or "png_sequence", for
    paths that do not show it. `codec` is h264, h265, prores, vp9, h264-nvenc or h265-nvenc. Audio and subtitles are
    copied unless `sound` is False.

    `background` is put behind the subject: a colour, a picture, a video (looped), "blur" or "blur:N". Pictures are
    scaled to fill the frame, then cropped. `plate` is the photographed empty scene that BackgroundMattingV2 needs, a
    picture or a video. `preprocess_alignment` aligns the plate: True or "frame" to each frame, "once" to the first.

    `start` and `end` are seconds; `frames` is the largest number of frames to matte. `seq_chunk` is the number of
    mattes that may wait for a writer; frames are matted one by one in any case. `num_workers` is the number of threads
    of each decoder and encoder; 0 lets the library choose. `downsample_ratio` and `dtype` are settings of the engine;
    if they are given here, they must have the engine's values.

    No file that is read is overwritten, whatever its name is among the outputs. `reads` are further files that
    belong to the run, such as the model of `engine`. `safe` sets limits for files of strangers: True for the usual
    ones, or `Limits`. Nothing is read from the network then.

    Files appear under their names when they are complete. Ctrl-C completes them with the frames so far and raises
    `Interrupted`. If the video is damaged, the frames before the damage are written and a `TruncatedError` is raised.
    """
    if not 1 <= seq_chunk <= _MOST_WAITING:
        raise SettingError(f"seq_chunk is {seq_chunk}; expected 1…{_MOST_WAITING}")
    if background_shot is not None:
        notice("background_shot", "plate")
        plate = background_shot if plate is None else plate
    return matte_video(
        engine,
        VideoInput(
            *(input_source, input_resize, raw, rate, start, end, frames, plate, preprocess_alignment, num_workers),
            limits=Limits.of(safe),
        ),
        VideoOutput(
            output,
            [kinds] if isinstance(kinds, str) else list(kinds),
            {
                "composite": output_composition,
                "alpha": output_alpha,
                "foreground": output_foreground,
                "rgba": output_rgba,
            },
            output_type,
            codec,
            output_video_mbps,
            crf,
            preset,
            background,
            sound,
            overwrite,
            max(_WAITING, seq_chunk),
        ),
        reads=reads,
        expected={"downsample_ratio": downsample_ratio, "dtype": dtype},
        progress=progress,
        device=device,
        backend=backend,
        scene_cut=scene_cut,
    )


def matte_video(
    engine: EngineLike,
    video: VideoInput,
    output: VideoOutput,
    *,
    reads: Sequence[str | Path] = (),
    expected: Mapping[str, Any] | None = None,
    progress: Progress = True,
    **session_options: Any,
) -> Summary:
    """Matte the frames of `video` and write `output`. `expected` are build options that the engine must have.

    `reads` are further files that must not be overwritten.
    """
    wanted = output.targets()
    _require_free(wanted, video, output, engine, *reads)
    source = video.open()
    safety: dict[str, Any] = {"safe": video.limits} if video.limits else {}
    chosen = _engine(engine, source.facts.size, expected or {}, safety)
    require_replaceable((path for each in wanted for path in each.replaced()), [chosen.path] if chosen.path else [])
    frames = _SourceFrames(source, chosen, video)
    outputs = tuple(dict.fromkeys(each.output for each in wanted))
    background, backgrounds = _background(output.background, source.facts.size, video, "composite" in outputs)
    with ExitStack() as stack:
        stack.enter_context(still.without_warnings())
        session = stack.enter_context(
            Session(
                chosen,
                outputs=outputs,
                background=background,
                ring=output.waiting + 2,  # the mattes that wait, the one being written, the one being made
                **session_options,
                **safety,
            )
        )
        mattes = session.stream(frames.frames(), plates=frames.plates(), backgrounds=backgrounds)
        stack.enter_context(closing(mattes))  # type: ignore[type-var]
        report = stack.enter_context(_report(progress, video.expected(source.facts.count)))
        stack.enter_context(stopping(frames.stop))
        writers = stack.enter_context(
            writer_threads(wanted, source, with_sound=output.sound, waiting=output.waiting, threads=video.threads)
        )
        return _run(mattes, frames, writers, report, wanted, session.backend)


# ---------------------------------------------------------------------------------------------------------------------
# The run


def _run(
    mattes: Iterator[Matte],
    frames: _SourceFrames,
    writers: Sequence[WriterThread],
    report: Callable[[int], object],
    wanted: Sequence[Target],
    backend: str,
) -> Summary:
    began, count, broken = perf_counter(), 0, None
    try:
        for matte in mattes:
            pts, duration = frames.times.popleft()
            for writer in writers:
                writer.put(crop_to(matte[writer.output], frames.size), pts, duration)
            count += 1
            report(count)
    except TruncatedError as error:
        if not count:
            raise
        broken = error
    if frames.stopping.is_set() and not count:
        raise Interrupted(Summary(0, 0.0, ()))
    for writer in writers:
        writer.finish(whole=frames.whole and broken is None)
    for writer in writers:
        writer.wait()
    summary = Summary(count, perf_counter() - began, tuple(str(each.place) for each in wanted), backend)
    if broken is not None:
        raise TruncatedError(f"{broken}; the frames before that are in {', '.join(summary.outputs)}") from broken
    if frames.stopping.is_set():
        raise Interrupted(summary)
    return summary


class _SourceFrames:
    """The frames of a source and their plates, padded to whole patches if the engine needs them. Another thread reads
    them."""

    def __init__(self, source: Source, engine: Engine, video: VideoInput) -> None:
        self._source, self._limit = source, video.frames
        self._plates = _plates(engine, video, source)
        self._align = _aligner(video.alignment)
        self.size = source.facts.size
        self._padded_size = multiple_of(PATCH, self.size) if engine.program.capacity else self.size
        self._frame: Any = None
        self.times: deque[tuple[int, int]] = deque()
        self.stopping = threading.Event()
        self.whole = False

    def stop(self) -> None:
        """End the frames. A source that may be silent for long is told as well."""
        self.stopping.set()
        getattr(self._source, "stop", lambda: None)()

    def frames(self) -> Iterator[Array]:
        step = max(1, round(1 / (self._source.facts.rate * self._source.facts.time_base)))
        for number, frame in enumerate(self._source.frames()):
            if self.stopping.is_set() or number == self._limit:
                return
            self._frame = frame.picture
            self.times.append((frame.pts, frame.duration or step))
            yield pad_to(frame.picture, self._padded_size)
        self.whole = True

    def plates(self) -> Iterator[Array] | None:
        """The plates of the frames; None for an engine without plates. Take each plate after its frame."""
        return None if self._plates is None else map(self._placed, self._plates)

    def _placed(self, plate: Array) -> Array:
        return pad_to(self._align(plate, self._frame) if self._align else plate, self._padded_size)


@contextmanager
def _report(progress: Progress, total: int | None) -> Iterator[Callable[[int], object]]:
    if callable(progress):
        tell = progress
        yield lambda done: tell(done, total)
        return
    with terminal.frames(total, quiet=not progress) as advance:
        yield advance


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


def _require_free(
    wanted: Sequence[Target], video: VideoInput, output: VideoOutput, engine: EngineLike, *reads: str | Path
) -> None:
    """Check the outputs before anything is done."""
    for each in wanted:
        each.require_free(output.overwrite)
    files = [path for given in (video.source, video.plate, output.background) for path in files_of(given)]
    files += [Path(path) for path in (engine, *reads) if isinstance(path, (str, Path))]
    require_replaceable((path for each in wanted for path in each.replaced()), files)


def _engine(
    engine: EngineLike, size: tuple[int, int], expected: Mapping[str, Any], safety: Mapping[str, Any]
) -> Engine:
    chosen = _found(engine, size, safety)
    settings = chosen.manifest["settings"]
    for name, value, built in (
        ("downsample_ratio", expected.get("downsample_ratio"), settings.get("downsample_ratio", "auto")),
        ("dtype", _precision(expected.get("dtype")), settings.get("precision")),
    ):
        if value is not None and built is not None and value != built:
            raise SettingError(
                f"{name} is {value!r}, and the engine was built with {built!r}; leave it out, or build another: "
                f"trtmatte.build(model, {'precision' if name == 'dtype' else name}={value!r})"
            )
    return chosen


def _found(engine: EngineLike, size: tuple[int, int], safety: Mapping[str, Any]) -> Engine:
    if isinstance(engine, (str, Path)):
        return load(engine, **safety)
    return engine if isinstance(engine, Engine) else engine(size)


def _precision(dtype: Any) -> str | None:
    """Return the precision for a type: torch.float16, "float16" and numpy's float16 are "fp16"."""
    if dtype is None:
        return None
    name = getattr(dtype, "__name__", str(dtype)).removeprefix("torch.")
    return {"float16": "fp16", "float32": "fp32"}.get(name, name)


def _plates(engine: Engine, video: VideoInput, source: Source) -> Iterator[Array] | None:
    """The plates of a picture or a video. The last one is repeated."""
    family = engine.program.family
    if PLATE not in engine.program.pictures:
        if video.plate is not None:
            raise SettingError(f"{family} needs no plate; leave it out (background is what is put behind the subject)")
        return None
    if video.plate is None:
        raise SettingError(f"{family} needs the plate, the photographed empty scene, as a picture or a video: --plate")
    return _lasting(open_source(video.plate, resize=source.facts.size, threads=video.threads, limits=video.limits))


def _lasting(source: Source) -> Iterator[Array]:
    for frame in source.frames():
        yield (picture := frame.picture)
    while True:
        yield picture


def _aligner(choice: bool | str) -> Any:
    if not choice:
        return None
    from trtmatte.media.alignment import Aligner

    return Aligner(once=choice == "once")


def _background(
    background: Any, size: tuple[int, int], video: VideoInput, used: bool
) -> tuple[Any, Iterator[Array | None] | None]:
    """Return the background of the session, and the backgrounds of single frames."""
    if not used:
        if background is not None:
            raise SettingError("a background is given, but no output shows it: ask for the kind composite")
        return None, None
    each = FrameBackground(_GREEN if background is None else background, video.threads, video.limits)
    return each.once(size), (each.behind(size) for _ in repeat(None)) if each.is_film else None
