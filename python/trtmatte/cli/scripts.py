"""The flags of the original projects' scripts: their command lines work with `trtmatte video`, `image` or `live`.

The scripts are `inference.py` of RobustVideoMatting; `inference_video.py`, `inference_images.py` and
`inference_webcam.py` of BackgroundMattingV2; `inference.py`, `inference_onnx.py` and `custom/run.py` of MODNet; and
rembg. Flags that are the same here, or only another name, are beside ours; these have a meaning or a default of their
own. Each function `add_…` adds flags to a parser. The function of a command turns what they said into our flags.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from trtmatte.cli import values
from trtmatte.cli.process import note
from trtmatte.errors import SettingError
from trtmatte.format.program import Program

__all__ = [
    *("add_image", "add_live", "add_model", "add_refine_mode", "add_video", "backend", "image", "live"),
    *("precision", "require_as_said", "video", "words"),
]

_TYPES: Final = {"com": "composite", "pha": "alpha", "fgr": "foreground", "err": "error", "ref": "refined"}
"""BackgroundMattingV2's names of outputs, and ours."""

_CUT_OUT: Final = "rgba"
_TYPES_OF_PICTURES: Final = {**_TYPES, "com": _CUT_OUT}
"""The same for pictures, whose compositions have alpha."""

_PRECISIONS: Final = {"float32": "fp32", "float16": "fp16"}
_BACKENDS: Final = ("pytorch", "torchscript")
_THRESHOLD: Final = 0.7  # in the scripts for videos and pictures; that for webcams has 0.1, as we do
_ALPHA_MATTING: Final = (
    "trtmatte image: alpha matting has no flags here: cut-outs have the foreground's own colours at their edges, and "
    "--refine makes the edges finer"
)
_WEBCAM: Final = (1280, 720)


def words(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--output-types` where BackgroundMattingV2's documents have it shortened, `--output-type`."""
    return [
        "--output-types" if (word, after in _TYPES) == ("--output-type", True) else word
        for word, after in itertools.pairwise([*arguments, ""])
    ]


def precision(text: str) -> str:
    """Return our name of a precision."""
    return _PRECISIONS.get(text, text)


def backend(text: str) -> str:
    """Return our name of a backend. PyTorch runs no networks here."""
    return "auto" if text in _BACKENDS else values.name(text)


# ---------------------------------------------------------------------------------------------------------------------
# The model


def add_model(parser: argparse._ActionsContainer) -> None:
    """Add the flags that say which network a file holds, and further names of `--model`."""
    add = _adder(parser)
    add("-m", "--ckpt-path", "--model-path", dest="model", type=values.name)
    add("--variant", dest="said_variant", choices=("mobilenetv3", "resnet50"), default=None)
    add("--model-backbone", dest="said_backbone", choices=("resnet101", "resnet50", "mobilenetv2"), default=None)


def add_refine_mode(parser: argparse._ActionsContainer) -> None:
    """Add `--model-refine-mode`, with which the threshold has the scripts' default."""

    class Mode(argparse.Action):
        def __call__(self, _: Any, namespace: argparse.Namespace, mode: Any, *__: Any) -> None:
            namespace.refine_mode = mode
            if mode == "thresholding" and namespace.refine_threshold is None:
                namespace.refine_threshold = getattr(namespace, "script_threshold", _THRESHOLD)

    modes = ("full", "sampling", "thresholding")
    _adder(parser)("--model-refine-mode", dest="refine_mode", action=Mode, choices=modes)


def require_as_said(args: argparse.Namespace, program: Program, model: str) -> None:
    """Raise a SettingError if the model is another one than the flags say."""
    said = (("--variant", args.said_variant, "rvm"), ("--model-backbone", args.said_backbone, "bgmv2"))
    for flag, name, family in said:
        is_open = program.family == family and program.variant == "custom"
        if name is not None and not is_open and (program.family, program.variant.split("_")[-1]) != (family, name):
            raise SettingError(
                f"{flag} is {name}, and {model} is {program.family} {program.variant}; leave {flag} out, or name "
                "another model"
            )


def _model(args: argparse.Namespace) -> None:
    if args.said_variant is not None:
        args.default_model = f"rvm-{args.said_variant}"
    if args.model_type == "mattingbase":  # as in the scripts, which do not hand them on
        args.backbone_scale = args.refine_mode = args.refine_sample_pixels = None
        args.refine_threshold = args.refine_kernel_size = None


# ---------------------------------------------------------------------------------------------------------------------
# The commands


def add_video(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the scripts for videos."""
    add = _adder(parser)
    add("--video-src", dest="input_flag", type=values.name)
    add("--video-bgr", dest="plate", type=values.name)
    add("--video-target-bgr", dest="background", type=values.name)
    add("--video-resize", dest="input_resize", nargs=2, type=values.side)
    _add_output(add)
    add("--output-format", choices=("video", "image_sequences"), default=None)
    add("--video", dest="modnet_video", type=values.name, default=None)
    add("--result-type", choices=("fg", "matte"), default=None)
    add("--fps", dest="rate", type=values.rate)


def video(args: argparse.Namespace) -> None:
    """Turn the scripts' flags into those of `trtmatte video`."""
    _model(args)
    if args.modnet_video is not None or args.result_type is not None:
        _modnet_video(args)
    folder = _output_folder(args)
    if folder is None:
        if args.output_format is not None:
            raise SettingError("--output-format is given without --output-dir; expected both, or -o")
        return
    pictures = args.output_format == "image_sequences"
    for name in args.output_types:
        place = str(folder / (name if pictures else f"{name}.mp4"))
        kind = (_TYPES_OF_PICTURES if pictures else _TYPES)[name]
        setattr(args, "output_composition" if kind == "composite" else f"output_{kind}", place)
    if pictures and args.background is not None:
        note("trtmatte video: image sequences are cut out, as in BackgroundMattingV2's script: no background is used")
        args.background = None


def _modnet_video(args: argparse.Namespace) -> None:
    """As the script for a video of one's own: over white, or the alpha, in a file beside the video."""
    if args.modnet_video is not None:
        args.input_flag = args.modnet_video
        args.default_model = "modnet-webcam"
        if args.out is None and args.input_source is None:
            args.out = f"{os.path.splitext(args.modnet_video)[0]}_{args.result_type or 'fg'}.mp4"
    if args.result_type == "matte":
        args.kinds = args.kinds or ["alpha"]
    else:
        args.kinds = args.kinds or ["composite"]
        args.background = args.background or "white"


def add_image(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the scripts for pictures, and of rembg."""
    add = _adder(parser)
    add("--images-src", "--input-path", "--image-path", dest="given_inputs", nargs=1, type=values.name, default=None)
    add("--output-path", dest="output_path", type=values.name, default=None)
    _add_output(add)
    add("--num-workers", type=values.whole(0), default=None)
    add("-om", "--only-mask", dest="output", action="append_const", const="alpha")
    add("-bgc", "--bgcolor", nargs=4, type=values.whole(0, 255), metavar=("R", "G", "B", "A"), default=None)
    add("-w", dest="watch", action="store_true")
    add("-ppm", "--post-process-mask", dest="post_process", action="store_true")
    add("-a", "--alpha-matting", dest="alpha_matting", action="store_true", default=False)
    for short, long in (("-af", "foreground-threshold"), ("-ab", "background-threshold"), ("-ae", "erode-size")):
        add(short, f"--alpha-matting-{long}", dest="alpha_matting", type=values.whole(0))
    parser.set_defaults(script_places=None)


def image(args: argparse.Namespace) -> None:
    """Turn the scripts' flags into those of `trtmatte image`."""
    _model(args)
    if args.given_inputs is not None:
        if args.inputs:
            raise SettingError(
                f"the input is given twice, as {args.inputs[0]} and as {args.given_inputs[0]}; leave one of them out"
            )
        args.inputs = args.given_inputs
    if args.output_path is not None:
        args.out, args.output = args.out or args.output_path, args.output or ["alpha"]
    if args.alpha_matting is not False:
        note(_ALPHA_MATTING)
    if args.bgcolor is not None:
        is_seen = args.bgcolor[3] > 0
        if args.background is not None:
            raise SettingError("the background is given twice, with --background and with -bgc; leave one of them out")
        if is_seen:
            args.background = ",".join(map(str, args.bgcolor))
        elif not args.output:
            args.output = [_CUT_OUT]
    folder = _output_folder(args)
    if folder is not None:
        args.out = str(folder)
        args.output = [_TYPES_OF_PICTURES[name] for name in args.output_types]
        args.script_places = _places(folder, args.output_types)


def _places(folder: Path, types: Sequence[str]) -> Callable[[Path], dict[str, Path]]:
    """Return a function that gives the files of a picture, as BackgroundMattingV2's script names them."""

    def places(source: Path) -> dict[str, Path]:
        return {
            _TYPES_OF_PICTURES[name]: folder / name / f"{source.stem}{'.png' if name == 'com' else '.jpg'}"
            for name in types
        }

    return places


def add_live(parser: argparse.ArgumentParser) -> None:
    """Give `trtmatte live` the defaults of the script for webcams where its flags are used."""
    parser.set_defaults(background=None, script_threshold=None)


def live(args: argparse.Namespace) -> None:
    """Turn the flags of BackgroundMattingV2's script for webcams into those of `trtmatte live`."""
    _model(args)
    if args.model_type is not None:
        args.background = args.background or "white"
        args.precision = args.precision or "fp32"
        args.resolution = args.resolution or _WEBCAM
    args.background = args.background or "greenscreen"


# ---------------------------------------------------------------------------------------------------------------------
# Outputs in a folder


def _add_output(add: Callable[..., Any]) -> None:
    add("--output-dir", type=values.path, default=None)
    add("--output-types", nargs="+", choices=tuple(_TYPES), default=None)


def _output_folder(args: argparse.Namespace) -> Path | None:
    """Return the folder of `--output-dir`, if it is given."""
    folder, types = args.output_dir, args.output_types
    if (folder is None) != (types is None):
        given, missing = ("types", "dir") if folder is None else ("dir", "types")
        raise SettingError(f"--output-{given} is given without --output-{missing}; expected both, or -o and --output")
    if folder is None:
        return None
    if args.out is not None:
        raise SettingError(f"the output is given twice, as {args.out} and as {folder}; leave one of them out")
    args.output_types = list(dict.fromkeys(types))
    made: Path = folder
    return made


def _adder(parser: argparse._ActionsContainer) -> Callable[..., Any]:
    """Return a function that adds a flag without a line in the help: docs/commands.md lists them."""

    def add(*names: str, **options: Any) -> Any:
        return parser.add_argument(*names, **{"default": argparse.SUPPRESS, "help": argparse.SUPPRESS, **options})

    return add
