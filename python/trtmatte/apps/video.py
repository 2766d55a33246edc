"""Matte videos: a reader, a session and the writers each run in their own thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from trtmatte.api import Session
from trtmatte.apps.conversion import WAITING, Interrupted, Summary, VideoInput, VideoOutput
from trtmatte.apps.engines import Model, engine_for
from trtmatte.apps.film_frames import FilmFrames, background_of
from trtmatte.apps.maps import picture_of, session_outputs
from trtmatte.errors import SettingError, TruncatedError
from trtmatte.media import still
from trtmatte.media.claims import files_of, require_replaceable
from trtmatte.media.targets import Target
from trtmatte.media.writer_threads import WriterThread, writer_threads
from trtmatte.runtime.session import Matte
from trtmatte.support import progress as terminal
from trtmatte.support.limits import Limits
from trtmatte.support.options import option
from trtmatte.support.renamed import notice
from trtmatte.support.signals import stopping

__all__ = ["Interrupted", "Summary", "VideoInput", "VideoOutput", "convert_video", "matte_video"]

Progress = bool | Callable[[int, "int | None"], object]

_LOG: Final = logging.getLogger("trtmatte")
_MOST_WAITING: Final = 1000


def convert_video(
    model: Model | None = None,
    input_source: Any = None,
    *,
    output: str | Path | None = None,
    kinds: Sequence[str] | str = (),
    output_type: str | None = None,
    output_composition: str | Path | None = None,
    output_alpha: str | Path | None = None,
    output_foreground: str | Path | None = None,
    output_rgba: str | Path | None = None,
    output_error: str | Path | None = None,
    output_refined: str | Path | None = None,
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
    raw_foreground: bool = False,
    seq_chunk: int = 1,
    num_workers: int = 0,
    progress: Progress = True,
    background_shot: str | Path | None = None,
    engine: Model | None = None,
    reads: Sequence[str | Path] = (),
    safe: bool | Limits = False,
) -> Summary:
    """Matte a video, pictures or raw frames, and write the outputs that are asked for.

    >>> trtmatte.convert_video("rvm-mobilenetv3", "in.mp4", output_composition="com.mp4", output_alpha="pha.mp4")

    `input_source` is a video's path, a folder of pictures, a pattern like `"shots/*.png"`, a picture, or `"-"` for raw
    RGB frames on standard input (`raw="1280x720@30"`). `model` is the name of a known model, the file of a model or an
    engine, a PyTorch network of a known family or its state_dict, an `Engine`, or a function that returns the engine
    for frames of a width and height. Models are built for the frames once, then kept in the cache.

    `output` is the path for the outputs that `kinds` lists: `composite`, `rgba`, `alpha`, `foreground`. A path that
    ends in .mp4, .m4v, .mkv, .mov or .webm is a video, a path without a suffix is a folder of PNG files, `"-"` is
    standard output. With several kinds, each path gets its kind added. `output_composition`, `output_alpha`,
    `output_foreground` and `output_rgba` are paths for one kind each. BackgroundMattingV2 has two more kinds: `error`,
    the error that its base network expects, and `refined`, the patches that were refined. `output_type` is "video" or
    "png_sequence", for paths that do not show it. Without any path, the output is beside the input: `in-matte.mov`
    (rgba), or `in-composite.mp4` if there is a background. `codec` is h264, h265, prores, vp9, h264-nvenc or
    h265-nvenc. Audio and subtitles are kept unless `sound` is False.

    `background` is put behind the subject: a colour, a picture, a video (looped), "blur" or "blur:N". Pictures are
    scaled to fill the frame, then cropped. `plate` is the photographed empty scene that BackgroundMattingV2 needs, a
    picture or a video. `preprocess_alignment` aligns the plate: True or "frame" to each frame, "once" to the first.

    `start` and `end` are seconds; `frames` is the largest number of frames to matte. `seq_chunk` is the number of
    mattes that may wait for a writer; frames are matted one by one in any case. `num_workers` is the number of threads
    of each decoder and encoder; 0 lets the library choose. `downsample_ratio` and `dtype` are settings of a build;
    an engine must have been built with them.

    Models that predict alpha alone show the foreground in colours that are estimated, without the old background in
    its edges. With `raw_foreground` they are the frame's own.

    No file that is read is overwritten, whatever its name is among the outputs. `reads` are further files that
    belong to the run, such as the model of `engine`. `safe` sets limits for files of strangers: True for the usual
    ones, or `Limits`. Nothing is read from the network then.

    Files appear under their names when they are complete. Ctrl-C completes them with the frames so far and raises
    `Interrupted`. If the video is damaged, the frames before the damage are written and a `TruncatedError` is raised.
    """
    if not 1 <= seq_chunk <= _MOST_WAITING:
        raise SettingError(f"{option('seq_chunk')} is {seq_chunk}; expected 1…{_MOST_WAITING}")
    if background_shot is not None:
        notice("background_shot", "plate")
        plate = background_shot if plate is None else plate
    if engine is not None:
        notice("engine", "model")
        model = engine if model is None else model
    if model is None or input_source is None:
        missing = "model" if model is None else "input_source"
        raise SettingError(f"there is no {missing}; expected convert_video(model, input_source)")
    return matte_video(
        model,
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
                "error": output_error,
                "refined": output_refined,
            },
            output_type,
            codec,
            output_video_mbps,
            crf,
            preset,
            background,
            sound,
            overwrite,
            max(WAITING, seq_chunk),
        ),
        reads=reads,
        settings={"downsample_ratio": downsample_ratio, "dtype": dtype},
        progress=progress,
        device=device,
        backend=backend,
        scene_cut=scene_cut,
        raw_foreground=raw_foreground,
    )


def matte_video(
    model: Model,
    video: VideoInput,
    output: VideoOutput,
    *,
    reads: Sequence[str | Path] = (),
    settings: Mapping[str, Any] | None = None,
    progress: Progress = True,
    **session_options: Any,
) -> Summary:
    """Matte the frames of `video` and write `output`. `settings` are those of the build; an engine must have
    them. `reads` are further files that must not be overwritten.
    """
    output = output.beside(video.source)
    wanted = output.targets()
    _require_free(wanted, video, output, model, *reads)
    source = video.open()
    if source.facts.lost:
        _LOG.warning("%s has %s", source.facts.name, source.facts.lost)
    safety: dict[str, Any] = {"safe": video.limits} if video.limits else {}
    quiet = progress is not True
    chosen = engine_for(model, source.facts.size, settings or {}, safety, quiet=quiet)
    require_replaceable((path for each in wanted for path in each.replaced()), [chosen.path] if chosen.path else [])
    frames = FilmFrames(source, chosen, video)
    outputs = session_outputs((each.output for each in wanted), chosen.program)
    background, backgrounds = background_of(output.background, source.facts.size, video, "composite" in outputs)
    with ExitStack() as stack:
        stack.enter_context(still.without_warnings())
        session = stack.enter_context(
            Session(
                chosen,
                outputs=tuple(outputs.values()),
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
        return _run(mattes, outputs, frames, writers, report, wanted, session.backend)


# ---------------------------------------------------------------------------------------------------------------------
# The run


def _run(
    mattes: Iterator[Matte],
    outputs: Mapping[str, str],
    frames: FilmFrames,
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
                picture = picture_of(matte[outputs[writer.output]], writer.output, frames.padded_size, frames.size)
                writer.put(picture, pts, duration)
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


@contextmanager
def _report(progress: Progress, total: int | None) -> Iterator[Callable[[int], object]]:
    if callable(progress):
        tell = progress
        yield lambda done: tell(done, total)
        return
    with terminal.frames(total, quiet=not progress) as advance:
        yield advance


def _require_free(
    wanted: Sequence[Target], video: VideoInput, output: VideoOutput, model: Model, *reads: str | Path
) -> None:
    """Check the outputs before anything is done."""
    for each in wanted:
        each.require_free(output.overwrite)
    files = [path for given in (video.source, video.plate, output.background) for path in files_of(given)]
    files += [Path(path) for path in (model, *reads) if isinstance(path, (str, Path))]
    require_replaceable((path for each in wanted for path in each.replaced()), files)
