"""`trtmatte video`: matte a video or a sequence of pictures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from trtmatte.apps import video
from trtmatte.cli import scripts, sessions, values
from trtmatte.cli.arguments import add_old_name, described
from trtmatte.cli.folders import made
from trtmatte.cli.process import complain, log
from trtmatte.errors import SettingError
from trtmatte.media.formats import CODECS
from trtmatte.media.targets import KINDS, MAPS

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_INPUT: Final = (
    "a video, an address (rtsp://…), a folder of pictures, a quoted pattern ('shots/*.png'), a picture, or - for raw "
    "RGB frames"
)
_RATE: Final = "frame rate of a folder of pictures (default: 30), or another one for a film, which then has no sound"
_MOST_CRF: Final = 63
_MOST_MBPS: Final = 10_000
_MOST_WAITING: Final = 1024
_MOST_THREADS: Final = 128
_OUT: Final = (
    "a video (.mp4, .m4v, .mov, .mkv, .webm), a folder for PNG files, or - for raw frames; with several outputs, each "
    "adds its name: out-alpha.mp4 (default: beside INPUT, in-matte.mov, or in-composite.mp4 with a background)"
)
_KIND: Final = (
    "one or more outputs to write to OUT (default: composite if there is a background or OUT cannot store alpha, "
    "otherwise rgba); bgmv2 alone makes error and refined"
)
_BACKGROUND: Final = (
    "the background of composites: a colour (red, #00b140, 120,255,155), a picture, a video, blur or blur:N "
    "(default: greenscreen)"
)


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("video", **described("matte a video or a sequence of pictures"), allow_abbrev=False)
    add = parser.add_argument
    for name, metavar, text in (("input_source", "INPUT", _INPUT), ("output_positional", "[OUT]", _OUT)):
        # With nargs="?", argparse would not take the second one after a flag.
        add(name, type=values.name, metavar=metavar, help=text).required = False
    add("--input-source", dest="input_flag", type=values.name, metavar="INPUT", help=argparse.SUPPRESS)
    add("-o", "--out", dest="out", type=values.name, metavar="OUT", help="the same as OUT")
    add("--output", dest="kinds", nargs="+", action="extend", default=[], choices=(*KINDS, *MAPS), help=_KIND)
    add("--background", type=values.name, metavar="B", help=_BACKGROUND)
    add("-y", "--overwrite", action="store_true", help="overwrite existing files")
    add("--no-sound", dest="sound", action="store_false", help="do not copy audio or subtitles")
    add("--quiet", action="store_true", help="print only warnings and errors")
    sessions.add_arguments(parser)
    _add_input(parser)
    _add_output(parser)
    scripts.add_video(parser)
    add_old_name(parser, "--background-shot", "--plate", "plate", type=values.name)
    parser.set_defaults(run=run)


def _add_input(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("input").add_argument
    add(
        "--input-resize",
        "--source-resize",
        nargs=2,
        type=values.side,
        metavar=("W", "H"),
        help="resize the frames first",
    )
    add("--start", type=values.seconds, metavar="T", help="start at this time, in seconds or [H:]M:S")
    add("--end", type=values.seconds, metavar="T", help="stop before this time")
    add("--frames", type=values.whole(1), metavar="N", help="stop after this many frames")
    add("--raw", type=values.raw, metavar="WxH@FPS", help="size and rate of the raw frames on standard input")
    add("--rate", type=values.rate, metavar="FPS", help=_RATE)
    add("--plate", type=values.name, metavar="FILE", help="bgmv2: the photographed empty scene, a picture or a video")
    add(
        "--preprocess-alignment",
        dest="alignment",
        action="store_const",
        const="frame",
        default=False,
        help="bgmv2: align the plate to each frame, for hand-held cameras (needs OpenCV)",
    )
    add(
        "--align-once",
        dest="alignment",
        action="store_const",
        const="once",
        help="bgmv2: align the plate once, to the first frame, for a camera that was moved",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("output").add_argument
    add(
        "--output-composition",
        type=values.name,
        metavar="OUT",
        help="write composites to OUT, in addition to -o or without it",
    )
    add("--output-alpha", type=values.name, metavar="OUT", help="write alpha to OUT")
    add("--output-foreground", type=values.name, metavar="OUT", help="write foregrounds to OUT")
    add("--output-rgba", type=values.name, metavar="OUT", help="write cut-outs with alpha to OUT")
    add("--output-error", type=values.name, metavar="OUT", help="bgmv2: write the expected error to OUT")
    add("--output-refined", type=values.name, metavar="OUT", help="bgmv2: write the patches that are refined to OUT")
    add("--output-type", choices=("video", "png_sequence"), help="type of an output whose name does not show it")
    add("--codec", choices=tuple(CODECS), help="default: h264; vp9 for .webm; prores for .mov with alpha")
    add(
        "--crf",
        type=values.whole(0, _MOST_CRF),
        metavar="N",
        help="quality; a smaller number is better (default: h264 18, h265 20, vp9 24)",
    )
    add(
        "--mbps",
        "--output-video-mbps",
        type=values.number(0, _MOST_MBPS),
        metavar="R",
        help="megabits per second, in place of --crf",
    )
    add(
        "--preset",
        type=values.name,
        metavar="P",
        help="the encoder's preset; slow makes smaller files (default: h264 and h265 veryfast)",
    )
    add(
        "--seq-chunk",
        type=values.whole(1, _MOST_WAITING),
        default=1,
        metavar="N",
        help="mattes that may wait for a writer (at least 2)",
    )
    add(
        "--num-workers",
        type=values.whole(0, _MOST_THREADS),
        default=0,
        metavar="N",
        help="threads of each decoder and encoder (default: the library chooses)",
    )
    add("--disable-progress", action="store_true", help="show no progress bar")


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 done, 1 failed or truncated input, 2 wrong input or flag, 130 stopped."""
    log("trtmatte video")
    scripts.video(args)
    source, output = _places(args)
    with made([] if args.output_dir is None else [args.output_dir]):
        summary = _converted(args, source, output)
    if not args.quiet:
        complain("trtmatte video", summary)
    return 0


def _converted(args: argparse.Namespace, source: str, output: str | None) -> video.Summary:
    return video.convert_video(
        lambda size: sessions.engine(args, size, quiet=args.quiet or args.disable_progress),
        source,
        output=output,
        kinds=args.kinds,
        output_type=args.output_type,
        output_composition=args.output_composition,
        output_alpha=args.output_alpha,
        output_foreground=args.output_foreground,
        output_rgba=args.output_rgba,
        output_error=args.output_error,
        output_refined=args.output_refined,
        output_video_mbps=args.mbps,
        crf=args.crf,
        codec=args.codec,
        preset=args.preset,
        background=args.background,
        plate=args.plate,
        preprocess_alignment=args.alignment,
        input_resize=None if args.input_resize is None else tuple(args.input_resize),
        raw=args.raw,
        rate=args.rate,
        start=args.start,
        end=args.end,
        frames=args.frames,
        sound=args.sound,
        overwrite=args.overwrite,
        seq_chunk=args.seq_chunk,
        num_workers=args.num_workers,
        progress=not (args.quiet or args.disable_progress),
        reads=[model] if (model := sessions.model_or_engine(args)) else [],
        safe=args.safe,
        **sessions.session_arguments(args),
    )


def _places(args: argparse.Namespace) -> tuple[str, str | None]:
    """Return the input and the output. With --input-source, the only positional argument is the output."""
    source, output = args.input_source, args.output_positional
    if args.input_flag is not None:
        if output is not None:
            raise SettingError(f"the input is given twice, as {source} and as {args.input_flag}; leave one of them out")
        source, output = args.input_flag, source
    if source is None:
        raise SettingError(f"there is no INPUT; expected {_INPUT}")
    if output is not None and args.out is not None:
        raise SettingError(f"the output is given twice, as {output} and as {args.out}; leave one of them out")
    return source, args.out if output is None else output
