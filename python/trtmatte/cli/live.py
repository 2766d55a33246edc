"""`trtmatte live`: matte a camera and show it in a window or as a virtual camera."""

from __future__ import annotations

import argparse
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Final

from trtmatte.cli import scripts, sessions, values
from trtmatte.cli.arguments import add_old_name
from trtmatte.cli.process import complain, log, tell
from trtmatte.support.limits import Limits

if TYPE_CHECKING:
    from pathlib import Path

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_MOST_FPS: Final = 10_000
_VIEWS: Final = ("composite", "foreground", "alpha", "camera")


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "live",
        help="matte a camera and show it in a window or as a virtual camera",
        description="Matte a camera. Keys: b takes the plate if the model needs one, and drops it if pressed again; "
        "r resets the states; o shows the next output; q quits.",
        allow_abbrev=False,
    )
    sessions.add_arguments(parser)
    add = parser.add_argument
    add(
        "--camera",
        "--video-device-id",
        "--video_device_id",
        type=values.camera,
        default=0,
        metavar="N|PLACE",
        help=_CAMERA,
    )
    add("--resolution", nargs=2, type=values.side, metavar=("W", "H"), help="ask the camera for this size")
    add("--fps", type=values.number(0, _MOST_FPS), metavar="N", help="ask the camera for this rate")
    add("--mirror", action="store_true", help="flip the picture like a mirror")
    add("--output", choices=_VIEWS, default="composite", help="the view to begin with (default: composite)")
    add("--background", type=values.name, default="greenscreen", metavar="B", help=_BACKGROUND)
    add("--plate", type=values.path, metavar="FILE", help="bgmv2: the photographed empty scene, in place of the key b")
    add_old_name(parser, "--background-shot", "--plate", "plate", type=values.path)
    add(
        "--virtual-camera",
        action="store_true",
        help="offer the result to other programs as a camera (needs pyvirtualcam)",
    )
    add("--no-window", action="store_true", help="open no window; --frames or Ctrl-C ends the program")
    add("--quiet", action="store_true", help="print only warnings and errors")
    add("--hide-fps", action="store_true", help="do not write the frame rate on the picture")
    add("--frames", type=values.whole(1), metavar="N", help="stop after this many frames")
    scripts.add_live(parser)
    parser.set_defaults(run=run)


_CAMERA: Final = (
    "the number of a camera or its file (/dev/video0), an address (rtsp://…), or a video file to play in its place "
    "(default: 0)"
)
_BACKGROUND: Final = "the background of composites: a colour, a picture, a video, blur or blur:N (default: greenscreen)"


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 the user ended it, 1 the camera failed, 2 a flag is wrong."""
    from trtmatte.apps.live import Live
    from trtmatte.media.camera import Camera
    from trtmatte.media.virtual_camera import VirtualCamera
    from trtmatte.media.window import Window

    log("trtmatte live")
    scripts.live(args)
    with ExitStack() as stack:
        source = stack.enter_context(Camera(args.camera, args.resolution, args.fps, limits=Limits.of(args.safe)))
        say = _nothing if args.quiet else _say
        say(f"{source.name}: {source.size[0]}x{source.size[1]}, {source.fps:.0f} fps")
        virtual_camera = window = None
        if args.virtual_camera:
            virtual_camera = stack.enter_context(closing(VirtualCamera(source.size, source.fps)))
            say(f"virtual camera: {virtual_camera.name}")
        if not args.no_window:
            window = stack.enter_context(closing(Window("trtmatte", source.size)))
        live = Live(
            sessions.engine(args, source.size, quiet=args.quiet),
            source,
            window=window,
            virtual_camera=virtual_camera,
            view=args.output,
            plate=_plate(args.plate, source.size, Limits.of(args.safe)),
            background=args.background,
            mirror=args.mirror,
            overlay=not args.hide_fps,
            safe=args.safe,
            **sessions.session_arguments(args),
        )
        stack.enter_context(closing(live))
        try:
            if live.run(args.frames) and source.is_address:
                say(f"{source.name} has ended")
        finally:
            if not args.quiet:
                tell(str(live.summary))
    return 0


def _plate(place: Path | None, size: tuple[int, int], limits: Limits | None) -> Any:
    from trtmatte.media import pictures
    from trtmatte.media.plates import fitted

    if place is None:
        return None
    return fitted(pictures.read(place, limits=limits), size, "camera", _say)[..., ::-1]


def _nothing(_message: str) -> None: ...


def _say(message: str) -> None:
    complain("trtmatte live", message)
