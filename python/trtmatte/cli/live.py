"""`trtmatte live`: matte a camera and show it in a window or as a virtual camera."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trtmatte.cli import sessions
from trtmatte.cli.arguments import add_old_name

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

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
    add("--camera", "--video-device-id", "--video_device_id", default="0", metavar="N|FILE", help=_CAMERA)
    add("--resolution", nargs=2, type=int, metavar=("W", "H"), help="ask the camera for this size")
    add("--fps", type=float, metavar="N", help="ask the camera for this rate")
    add("--mirror", action="store_true", help="flip the picture like a mirror")
    add("--output", choices=_VIEWS, default="composite", help="the view to begin with (default: composite)")
    add("--background", default="greenscreen", metavar="B", help=_BACKGROUND)
    add("--plate", type=Path, metavar="FILE", help="bgmv2: the photographed empty scene, in place of the key b")
    add_old_name(parser, "--background-shot", "--plate", "plate", type=Path)
    add(
        "--virtual-camera",
        action="store_true",
        help="offer the result to other programs as a camera (needs pyvirtualcam)",
    )
    add("--no-window", action="store_true", help="open no window; --frames or Ctrl-C ends the program")
    add("--hide-fps", action="store_true", help="do not write the frame rate on the picture")
    add("--frames", type=int, metavar="N", help="stop after this many frames")
    parser.set_defaults(run=run)


_CAMERA: Final = "the number of a camera, or a video file to play in its place (default: 0)"
_BACKGROUND: Final = "the background of composites: a colour, a picture, a video, blur or blur:N (default: greenscreen)"


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 the user ended it, 1 the camera failed, 2 a flag is wrong."""
    from trtmatte.apps.live import Live
    from trtmatte.media.camera import Camera
    from trtmatte.media.virtual_camera import VirtualCamera
    from trtmatte.media.window import Window

    logging.basicConfig(format="trtmatte live: %(message)s", force=True)
    with ExitStack() as stack:
        camera = stack.enter_context(
            Camera(int(args.camera) if args.camera.isdigit() else args.camera, args.resolution, args.fps)
        )
        _say(f"{camera.name}: {camera.size[0]}x{camera.size[1]}, {camera.fps:.0f} fps")
        virtual_camera = window = None
        if args.virtual_camera:
            virtual_camera = stack.enter_context(closing(VirtualCamera(camera.size, camera.fps)))
            _say(f"virtual camera: {virtual_camera.name}")
        if not args.no_window:
            window = stack.enter_context(closing(Window("trtmatte", camera.size)))
        live = Live(
            sessions.engine(args, camera.size),
            camera,
            window=window,
            virtual_camera=virtual_camera,
            view=args.output,
            plate=_plate(args.plate),
            background=args.background,
            mirror=args.mirror,
            overlay=not args.hide_fps,
            **sessions.session_arguments(args),
        )
        stack.enter_context(closing(live))
        try:
            live.run(args.frames)
        finally:
            print(live.summary)
    return 0


def _plate(path: Path | None) -> Any:
    from trtmatte.media import pictures

    return None if path is None else pictures.read(path)[..., ::-1]


def _say(message: str) -> None:
    print(f"trtmatte live: {message}", file=sys.stderr)
