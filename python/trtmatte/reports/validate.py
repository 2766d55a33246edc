"""Validation: the errors of each backend against the engine's networks in float32 in ONNX Runtime on the CPU."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from trtmatte import ops
from trtmatte.backends import registry, tensorrt
from trtmatte.backends.tensorrt import BuildCancelledError, Progress
from trtmatte.compiler import plans
from trtmatte.errors import BackendError, InputError, SettingError, TruncatedError
from trtmatte.format.file import CPU_PLAN, CUDA_PLAN, EngineFile
from trtmatte.format.program import Program
from trtmatte.format.stages import PLATE
from trtmatte.media.opening import open_source
from trtmatte.media.padding import PATCH, crop_to, multiple_below
from trtmatte.models.download import sha256
from trtmatte.runtime.session import Session
from trtmatte.support.packages import version_of

__all__ = ["FRAMES", "fingerprint", "generated", "measure"]

FRAMES: Final = 100
REFERENCE: Final = "onnxruntime"
ON_CUDA: Final = "onnxruntime-cuda"
"""ONNX Runtime on a GPU, whose networks differ from those of the CPU in an engine of the precision fp16 or tf32."""
EMULATED: Final = "fp16-emulated"
"""The plans' networks on the CPU, every value rounded to float16: an estimate for plans that cannot run here."""

_BINS: Final = 1 << 16  # of the histogram that percentiles are read from
_PERCENTILE: Final = 0.999
_LONG_SIDE: Final = 240  # of the picture that generated frames are drawn in

Array = np.ndarray[Any, Any]
Pair = tuple[Array, Array]
"""A frame and its plate."""


def measure(engine: EngineFile, frames: Path | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Measure the errors of every backend that runs here: output by output, over up to `FRAMES` frames in turn.

    `frames` is a video or a folder of pictures; the first one is the plate if the model needs one. Without it, frames
    are generated. Errors are absolute differences of values in 0…1.
    """
    program = engine.program
    networks = {stage.name: bytes(engine.network(stage.name)) for stage in program.networks}
    reference = _session(EngineFile.of(program, networks), REFERENCE)
    sessions, reasons = _contenders(engine)
    found = {name: {output: _Errors() for output in reference.outputs} for name in sessions}
    count = 0
    for frame, plate in itertools.islice(_pairs(program, frames), FRAMES):
        expected = _run(reference, program, frame, plate)
        for name, session in sessions.items():
            for output, values in _run(session, program, frame, plate).items():
                found[name][output].add(values, expected[output])
        count += 1
        if progress is not None and progress("validating", count / FRAMES) is False:
            raise BuildCancelledError("the validation was cancelled")
    if not count:
        raise SettingError(f"{frames} has no pictures; expected a video, or a folder of pictures")
    return {
        "reference": f"fp32 in {REFERENCE}",
        "pictures": "generated" if frames is None else frames.name,
        "frames": count,
        "measured": {name: {out: each.to_json() for out, each in outputs.items()} for name, outputs in found.items()},
        "not_measured": reasons,
    }


def fingerprint(frames: Path | None) -> dict[str, Any]:
    """All that a measurement depends on besides the engine."""
    files = [] if frames is None else [frames] if frames.is_file() else _files(frames)
    return {
        "pictures": {path.name: sha256(path) for path in files},
        "runs": {name: backend.unavailable_reason(0) for name, backend in registry.on("cuda").items()},
        "packages": {name: version_of(name) for name in registry.on("cpu")},
    }


class _Errors:
    """The errors of one output, added up frame by frame."""

    def __init__(self) -> None:
        self._means: list[float] = []
        self._largest = 0.0
        self._histogram = np.zeros(_BINS + 1, np.int64)

    def add(self, values: Array, expected: Array) -> None:
        errors = np.abs(values.astype(np.float32) - expected)
        np.nan_to_num(errors, copy=False, nan=1.0, posinf=1.0)
        self._means.append(float(errors.mean(dtype=np.float64)))
        self._largest = max(self._largest, float(errors.max()))
        bins = np.minimum(errors * _BINS, _BINS).astype(np.int32)
        self._histogram += np.bincount(bins.ravel(), minlength=_BINS + 1)

    def to_json(self) -> dict[str, float]:
        tenth = math.ceil(len(self._means) / 10)
        first, last = self._means[:tenth], self._means[-tenth:]
        return {
            "mean": sum(self._means) / len(self._means),
            "p99.9": self._percentile(),
            "max": self._largest,
            "drift": (sum(last) - sum(first)) / tenth,
        }

    def _percentile(self) -> float:
        """The upper edge of the bin that holds the percentile."""
        below = np.cumsum(self._histogram)
        found = int(np.searchsorted(below, _PERCENTILE * below[-1]))
        return min((found + 1) / _BINS, self._largest)


# ---------------------------------------------------------------------------------------------------------------------
# Sessions


def _contenders(engine: EngineFile) -> tuple[dict[str, Session], dict[str, str]]:
    """The sessions that can be opened here, and the reasons why others cannot."""
    openers: dict[str, Callable[[], Session]] = {
        name: functools.partial(_session, engine, name) for name in engine.plans if name != REFERENCE
    }
    kinds = {(target, key) for target, keys in engine.plans.items() for key in keys}
    if CPU_PLAN in kinds:  # without a plan of its own, ONNX Runtime is the reference itself
        openers[REFERENCE] = functools.partial(_session, engine, REFERENCE)
    if CUDA_PLAN in kinds or engine.uses_tf32:
        openers[ON_CUDA] = functools.partial(_session, engine, "onnxruntime", "cuda")
    openers |= {name: functools.partial(_session, engine, name) for name in registry.on("cpu") if name != REFERENCE}
    if any(info.get("precision") == "fp16" for keys in engine.plans.values() for info in keys.values()):
        openers[EMULATED] = lambda: _session(_emulated(engine), REFERENCE)
    sessions, reasons = {}, {}
    for name, opened in openers.items():
        try:
            _require(name)
            sessions[name] = opened()
        except BackendError as error:
            reasons[name] = str(error)
    return sessions, reasons


def _require(name: str) -> None:
    reason = tensorrt.run_unavailable_reason(name) if name in tensorrt.TARGETS else None
    if reason is not None:
        raise BackendError(reason)


def _session(engine: EngineFile, backend: str, device: str | None = None) -> Session:
    return Session(engine, backend=backend, device=device, dtype="float32", layout="CHW")


def _emulated(engine: EngineFile) -> EngineFile:
    from trtmatte.compiler.graph.precision import emulated

    program = engine.program
    models = {stage.name: plans.parsed(engine.network(stage.name)) for stage in program.networks}
    narrow = plans.in_precision(models, plans.kept_by(engine, models), program.outputs)
    return EngineFile.of(program, {name: emulated(model).SerializeToString() for name, model in narrow.items()})


def _run(session: Session, program: Program, frame: Array, plate: Array) -> Mapping[str, Array]:
    """The outputs of one frame, the same for every stream."""
    pictures = (frame, plate) if PLATE in program.pictures else (frame,)
    stacked = [np.broadcast_to(each, (program.batch, *each.shape)) for each in pictures]
    matte = session(*stacked)
    return {name: np.asarray(matte[name]) for name in session.outputs}


# ---------------------------------------------------------------------------------------------------------------------
# Frames


def _pairs(program: Program, path: Path | None) -> Iterator[Pair]:
    if path is None:
        yield from generated(*program.size)
        return
    frames = _read(path)
    plate = None
    for frame in frames:
        if program.capacity:
            height, width = frame.shape[:2]
            frame = crop_to(frame, multiple_below(PATCH, (width, height)))
        plate = frame if plate is None else plate
        yield frame, plate


def generated(width: int, height: int) -> Iterator[Pair]:
    """Generate endless pictures of a figure that walks to and fro in front of a wall."""
    scale = _LONG_SIDE / max(width, height)
    small = (max(round(height * scale), 8), max(round(width * scale), 8))
    random = np.random.default_rng(0)
    wall, clothes = (_enlarged(random.random((1, 3, 9, 16), np.float32), *small) for _ in range(2))
    plate = _picture(wall, width, height)
    for number in itertools.count():
        figure = _figure(*small, 0.5 + 0.3 * math.sin(number / 8))
        yield _picture(clothes * figure + wall * (1 - figure), width, height), plate


def _figure(height: int, width: int, place: float) -> Array:
    """The alpha of a head and a body; `place` is how far to the right they stand."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    x = (x - place * width) / height
    y = y / height
    head = 1 - np.hypot(x / 0.11, (y - 0.3) / 0.15)
    body = 1 - np.hypot(x / 0.25, (y - 1.0) / 0.56)
    alpha: Array = np.clip(np.maximum(head, body) * 12 + 0.5, 0, 1)
    return alpha


def _picture(small: Array, width: int, height: int) -> Array:
    large = _enlarged(small, height, width)[0]
    picture: Array = np.ascontiguousarray((large * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))
    return picture


def _enlarged(picture: Array, height: int, width: int) -> Array:
    enlarged: Array = ops.frame_sample(picture, height, width, frame_layout="CHW")
    return enlarged


def _read(path: Path) -> Iterator[Array]:
    """The pictures of a video, or of a folder in the order of their names."""
    if not path.exists():
        raise SettingError(f"frames is {path}, which does not exist; expected a video, or a folder of pictures")
    for file in _files(path) if path.is_dir() else [path]:
        try:
            for frame in open_source(file).frames():
                yield frame.picture
        except (InputError, TruncatedError) as error:
            raise SettingError(f"the frames of {file} cannot be read: {error}") from error


def _files(folder: Path) -> Sequence[Path]:
    return sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))
