"""Before and after for a matting model: its file in the loop that its project documents, and its engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from trtmatte.errors import BackendError, SettingError
from trtmatte.format.file import EngineFile
from trtmatte.format.program import Program
from trtmatte.format.stages import FRAME, PLATE, OpStage
from trtmatte.reports.before_after import BeforeAfter, Side, onnxruntime, race
from trtmatte.reports.profile import generated_frames
from trtmatte.runtime.session.session import Session
from trtmatte.support.text import first_line

__all__ = ["compare"]

Array = np.ndarray[Any, Any]
Infer = Callable[[Sequence[Array]], Sequence[Array]]
"""Runs the model: its pictures as float planes and its states in, its matte and its states out."""

_GREEN: Final = (120, 255, 155)
_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation
_METHODS: Final = ("BILINEAR", "BOX", "BILINEAR", "BILINEAR", "LANCZOS", "BICUBIC")  # of PIL, for those of the ops
_BEFORE: Final = "the uint8 frame to float planes in numpy, {run}, and the composite over a colour to uint8 in numpy"
_RESIZED: Final = "the uint8 frame resized by Pillow, {run}, its alpha resized back, and the composite in numpy"
_AFTER: Final = "from the uint8 frame to the uint8 composite over a colour, both in host memory"


class _Model(NamedTuple):
    """A model that runs: the library, what its run is called, the function, and how many states RVM's has."""

    title: str
    run: str
    infer: Infer
    states: int


def compare(engine: EngineFile, path: Path, *, runs: int, **options: Any) -> BeforeAfter:
    """Time a model file in its documented loop against its engine. `options` are those of `Session`."""
    program = engine.program
    if program.matte is None or program.batch != 1:
        raise SettingError("the documented loop makes a matte of one frame at a time; leave out segmentation and batch")
    frames = [generated_frames(program.size, 1, seed) for seed in range(3)]
    plate = frames[2]
    if program.settings.get("garment"):
        raise SettingError("clothing has no documented loop; `trtmatte bench --engine` times its engine alone")
    if PLATE in program.pictures:
        options["plate"] = plate
    if any(isinstance(stage, OpStage) and stage.op == "ForegroundEstimate" for stage in program.stages):
        options["raw_foreground"] = True  # the documented loops show the frame's own colours
    with Session(engine, outputs=("composite",), background=_GREEN, **options) as session:
        model = _model(program, path)
        loop = _loop(program, model, plate)
        try:
            loop(frames[0])
        except Exception as error:  # the libraries' own exceptions share no base
            raise BackendError(f"{model.title} cannot run {path}: {first_line(error)}") from error
        first, second, ratio = race(lambda n: loop(frames[n % 2]), lambda n: session(frames[n % 2]), runs)
        size = "x".join(map(str, program.size))
        holds = _BEFORE if program.family in ("rvm", "bgmv2") else _RESIZED
        return BeforeAfter(
            model=str(path),
            about=f"{path}, {program.family} {program.variant}, frames of {size}",
            runs=runs,
            before=Side(f"{model.title}, float32 on the CPU", holds.format(run=model.run), first),
            after=Side(f"trtmatte, {session.backend} on {session.device}", _AFTER, second),
            ratio=ratio,
            difference=None,
        )


# ---------------------------------------------------------------------------------------------------------------------
# The model as it is


def _model(program: Program, path: Path) -> _Model:
    from trtmatte.compiler.families.reading import is_onnx

    return _in_onnxruntime(program, path) if is_onnx(path) else _in_torch(program, path)


def _in_onnxruntime(program: Program, path: Path) -> _Model:
    runtime = onnxruntime()
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exceptions share no base
        raise BackendError(f"ONNX Runtime cannot load {path}: {first_line(error)}") from error
    names = [each.name for each in session.get_inputs()]
    halves = {each.name for each in session.get_inputs() if each.type == "tensor(float16)"}
    count = sum(len(each.shape) == 4 for each in session.get_inputs()) - len(program.pictures)
    more = {}
    if program.family == "rvm" and len(names) > 1 + count:
        more = {names[-1]: np.array([program.settings["downsample_ratio"]], np.float32)}
    outputs = [each.name for each in session.get_outputs()]
    wanted = _outputs(program, outputs, count)

    def infer(values: Sequence[Array]) -> Sequence[Array]:
        given = dict(zip(names, values, strict=False)) | more
        given = {name: each.astype(np.float16) if name in halves else each for name, each in given.items()}
        results: Sequence[Array] = session.run(wanted, given)
        return results

    return _Model("ONNX Runtime with its defaults", "session.run of the file as it is", infer, count)


def _outputs(program: Program, names: Sequence[str], states: int) -> list[str]:
    """The outputs that the loop asks for: the foreground first and the alpha second, but for one picture the alpha."""
    if program.family == "rvm":
        return list(names[: 2 + states])
    if program.family == "bgmv2":
        return [names[1], names[0]]
    return [str(program.settings.get("output") or names[0])]


def _in_torch(program: Program, path: Path) -> _Model:
    from trtmatte.compiler.families import checkpoint

    kept = ("backbone_scale", "refine_mode", "refine_sample_pixels", "refine_threshold", "prevent_oversampling")
    options = {name: value for name, value in program.settings.items() if name in kept}
    network, name = checkpoint.load_network(path)
    import torch

    if "_refine_" in name:
        for option, value in options.items():
            setattr(network, option, value)
    elif program.family == "bgmv2" and options.get("backbone_scale", 1) != 1:
        raise SettingError(f"{name} has no documented loop for another backbone_scale than 1; leave it out")
    call: Any = network.alpha if hasattr(network, "alpha") else network
    more = {"downsample_ratio": program.settings["downsample_ratio"]} if program.family == "rvm" else {}

    def infer(values: Sequence[Array]) -> Sequence[Array]:
        with torch.inference_mode():
            results = call(*map(torch.from_numpy, values), **more)
        results = [results] if isinstance(results, torch.Tensor) else list(results)
        if program.family == "bgmv2":
            results = [results[1], results[0]]
        return [each.numpy() for each in results]

    return _Model("PyTorch, eager", "a call of the network", infer, 4 if program.family == "rvm" else 0)


# ---------------------------------------------------------------------------------------------------------------------
# The documented loops


def _loop(program: Program, model: _Model, plate: Array) -> Callable[[Array], Array]:
    if program.family == "rvm":
        return _recurrent(model)
    if program.family == "bgmv2":
        return _with_plate(model, plate)
    return _of_one_picture(program, model)


def _recurrent(model: _Model) -> Callable[[Array], Array]:
    states = [np.zeros((1, 1, 1, 1), np.float32)] * model.states

    def loop(frame: Array) -> Array:
        fgr, pha, *states[:] = model.infer([_planes(frame), *states])
        return _composite(fgr[0], pha[0])

    return loop


def _with_plate(model: _Model, plate: Array) -> Callable[[Array], Array]:
    bgr = _planes(plate)

    def loop(frame: Array) -> Array:
        fgr, pha, *_ = model.infer([_planes(frame), bgr])
        return _composite(fgr[0], pha[0])

    return loop


def _of_one_picture(program: Program, model: _Model) -> Callable[[Array], Array]:
    """The picture is resized for the network, and the alpha for the frame."""
    from PIL import Image

    sample = next(stage for stage in program.stages if isinstance(stage, OpStage) and FRAME in stage.inputs)
    size = (sample.integer("width"), sample.integer("height"))
    method = Image.Resampling[_METHODS[int(sample.number("method")) if "method" in sample.attributes else 0]]
    normalise, finish = _normalisation(program)

    def loop(frame: Array) -> Array:
        small = normalise(_planes(np.asarray(Image.fromarray(frame).resize(size, method))))
        alpha = finish(model.infer([np.ascontiguousarray(small, np.float32)])[0].astype(np.float32))
        pha = np.asarray(Image.fromarray(alpha[0, 0]).resize(frame.shape[1::-1], method))
        return _composite(_planes(frame)[0], pha[None])

    return loop


def _normalisation(program: Program) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """The functions for the planes before the network and for the alpha after it."""
    if "stretch" in program.settings:
        return _as_rembg(program)
    settings = program.settings if program.family == "generic" else {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    mean, std = _column(settings["mean"]), _column(settings["std"])
    return lambda x: (x - mean) / std, lambda alpha: alpha


def _as_rembg(program: Program) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    given = program.settings
    mean, std = (_column(given.get(name, usual)) for name, usual in zip(("mean", "std"), _IMAGENET, strict=True))
    divide, stretch, logits = (given.get(name) for name in ("divide_by_maximum", "stretch", "logits"))

    def finish(result: Array) -> Array:
        alpha = 1 / (1 + np.exp(-result)) if logits else result
        return _stretched(alpha) if stretch else alpha

    return lambda x: ((x / x.max() if divide else x) - mean) / std, finish


def _stretched(alpha: Array) -> Array:
    low, high = alpha.min(), alpha.max()
    stretched: Array = (alpha - low) / max(high - low, 1e-6)
    return stretched


def _column(values: Sequence[float]) -> Array:
    return np.array(values, np.float32).reshape(3, 1, 1)


def _planes(picture: Array) -> Array:
    planes: Array = (picture.astype(np.float32) / 255).transpose(2, 0, 1)[None]
    return planes


def _composite(fgr: Array, pha: Array) -> Array:
    mixed = fgr * pha + _column(_GREEN) / 255 * (1 - pha)
    composite: Array = (mixed * 255).astype(np.uint8).transpose(1, 2, 0)
    return composite
