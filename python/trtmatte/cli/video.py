"""`trtmatte video`: matte a video or a sequence of pictures."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from typing import TYPE_CHECKING, Final

from trtmatte.apps import video
from trtmatte.apps.video import Interrupted
from trtmatte.cli import sessions
from trtmatte.cli.arguments import add_old_name
from trtmatte.media.formats import CODECS
from trtmatte.media.targets import KINDS

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_INPUT: Final = "a video, a folder of pictures, a pattern like 'shots/*.png', a picture, or - for raw RGB frames"
_OUT: Final = (
    "a file that ends in .mp4, .mov, .mkv or .webm, a folder for PNG files, or - for raw frames; with several kinds of "
    "output, their names are added to it"
)
_KIND: Final = (
    f"what is written to OUT: {', '.join(KINDS)} (composite where there is a background or OUT cannot hold an alpha "
    "channel, else rgba)"
)
_BACKGROUND: Final = (
    "what is put behind the subject: a colour (green, #00ff00, 120,255,155), a picture, a video, blur or blur:N "
    "(greenscreen)"
)


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("video", help="matte a video or a sequence of pictures", allow_abbrev=False)
    add = parser.add_argument
    add("input_source", metavar="INPUT", nargs="?", help=_INPUT)
    add("--input-source", dest="input_flag", metavar="INPUT", help=argparse.SUPPRESS)
    add("-o", "--out", dest="out", metavar="OUT", help=_OUT)
    add("--output", dest="kinds", nargs="+", action="extend", default=[], choices=tuple(KINDS), help=_KIND)
    add("--background", metavar="B", help=_BACKGROUND)
    add("-y", "--overwrite", action="store_true", help="overwrite existing files")
    add("--no-sound", dest="sound", action="store_false", help="do not copy sound and subtitles")
    add("--quiet", action="store_true", help="print warnings and errors alone")
    sessions.add_arguments(parser)
    _add_input(parser)
    _add_output(parser)
    add_old_name(parser, "--background-shot", "--plate", "plate")
    parser.set_defaults(run=run)


def _add_input(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("input").add_argument
    add(
        "--input-resize",
        "--source-resize",
        nargs=2,
        type=int,
        metavar=("W", "H"),
        help="bring the frames to this size before anything else",
    )
    add("--start", type=_seconds, metavar="T", help="begin at this time: seconds, or [H:]M:S")
    add("--end", type=_seconds, metavar="T", help="end before this time")
    add("--frames", type=int, metavar="N", help="end after this many frames")
    add("--raw", metavar="WxH@FPS", help="the size and the rate of raw frames on standard input")
    add("--rate", metavar="FPS", help="of pictures (30)")
    add("--plate", metavar="FILE", help="bgmv2: the photographed empty scene, a picture or a video")
    add(
        "--preprocess-alignment",
        dest="alignment",
        action="store_const",
        const="frame",
        default=False,
        help="bgmv2: move the plate onto each frame, for cameras in a hand (needs OpenCV)",
    )
    add(
        "--align-once",
        dest="alignment",
        action="store_const",
        const="once",
        help="bgmv2: move the plate once, as for the first frame, for cameras that were pushed",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("output").add_argument
    add("--output-composition", metavar="OUT", help="where composites go, besides or in place of -o")
    add("--output-alpha", metavar="OUT", help="where mattes go")
    add("--output-foreground", metavar="OUT", help="where foregrounds go")
    add("--output-rgba", metavar="OUT", help="where cut-outs go")
    add("--output-type", choices=("video", "png_sequence"), help="the type of outputs whose names do not say it")
    add("--codec", choices=tuple(CODECS), help="h264; of .webm vp9; of .mov with alpha prores")
    add("--crf", type=int, metavar="N", help="quality, smaller is better (h264 18, h265 20, vp9 24)")
    add("--mbps", "--output-video-mbps", type=float, metavar="R", help="megabits a second, in place of a quality")
    add("--preset", metavar="P", help="of the encoder: slower makes smaller files (veryfast)")
    add("--seq-chunk", type=int, default=1, metavar="N", help="mattes that may wait for their writers (2)")
    add("--num-workers", type=int, default=0, metavar="N", help="threads of each decoder and encoder")
    add("--disable-progress", action="store_true", help="show no progress bar")


def run(args: argparse.Namespace) -> int:
    """0: done, 1: it failed, or the input broke off, 2: the input or a flag is wrong, 130: stopped."""
    logging.basicConfig(format="trtmatte video: %(message)s", force=True)
    source = args.input_source or args.input_flag
    if source is None:
        print("trtmatte video: there is no INPUT; expected " + _INPUT, file=sys.stderr)
        return 2
    try:
        summary = video.convert_video(
            lambda size: sessions.engine(args, size, quiet=args.quiet or args.disable_progress),
            source,
            output=args.out,
            kinds=args.kinds,
            output_type=args.output_type,
            output_composition=args.output_composition,
            output_alpha=args.output_alpha,
            output_foreground=args.output_foreground,
            output_rgba=args.output_rgba,
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
            **sessions.session_arguments(args),
        )
    except Interrupted as stopped:
        print(f"trtmatte video: {stopped}", file=sys.stderr)
        return 130
    if not args.quiet:
        print(f"trtmatte video: {summary}", file=sys.stderr)
    return 0


def _seconds(text: str) -> float:
    """Seconds, or minutes and seconds, or hours too."""
    if re.fullmatch(r"(\d+:){0,2}\d+(\.\d+)?", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; expected seconds or [H:]M:S, such as 90.5 or 1:30.5")
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part)
    return total
