"""Whole models in TensorRT against the CPU: `MODEL-FORM-PRECISION`, as in `rvm-plan-fp16`.

The form is `plan`, the whole model as one plan with our ops as plugins, or `stages`, an engine in a session. The CPU
comes first: then all that does not need TensorRT has been seen before TensorRT is called.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

import trtmatte
from benchmarks.models import weights
from benchmarks.models.subjects import Subject, subjects
from tools.gpu_day.report import part

FILES: Final = Path("out/gpu-day/files")
FRAMES: Final = 12
TIMED: Final = 200
OUTPUTS: Final = ("fgr", "pha")
SUBJECTS: Final = {"rvm": "rvm-mobilenetv3-1080p", "bgmv2": "bgmv2-mobilenetv2-hd"}
MEAN: Final = {"fp32": 0.1, "fp16": 0.5}  # of 255 steps: how far the alphas may be apart


class Model(NamedTuple):
    """A model, its settings, and pictures to show to it."""

    path: Path
    settings: Mapping[str, Any]
    scenes: list[tuple[np.ndarray[Any, Any], ...]]  # the frame, and for BackgroundMattingV2 the plate


def model(family: str, folder: Path) -> Model:
    subject = weights.at_hand(next(each for each in subjects("full") if each.name == SUBJECTS[family]))
    frames = [subject.picture(seed) for seed in range(FRAMES)]
    settings: dict[str, Any] = {"size": (subject.width, subject.height)}
    if family == "rvm":
        path = weights.published(subject) if subject.real else weights.state(subject, folder)
        return Model(path, {**settings, "downsample_ratio": subject.scale}, [(frame,) for frame in frames])
    settings |= {"backbone_scale": subject.scale, "refine_sample_pixels": subject.sample_pixels}
    return Model(weights.state(subject, folder), settings, [(frame, _plate(subject)) for frame in frames])


def _plate(subject: Subject) -> np.ndarray[Any, Any]:
    return subject.picture(99)


class Comparison:
    """A model in TensorRT against the same on the CPU."""

    def __init__(self, family: str, form: str, precision: str) -> None:
        self._family, self._run, self._precision = family, {"plan": _plan, "stages": _stages}[form], precision
        self._folder = weights.default_folder()
        self._folder.mkdir(parents=True, exist_ok=True)

    def on_cpu(self) -> dict[str, Any]:
        """The mattes to compare with."""
        self._model = model(self._family, self._folder)
        engine = trtmatte.build(
            self._model.path,
            out=self._folder / f"{self._family}-cpu.trtm",
            target="onnxruntime",
            **self._model.settings,
        )
        session = engine.session(backend="onnxruntime", device="cpu", outputs=OUTPUTS)
        began = time.monotonic()
        self._expected = [session(*scene).copy() for scene in self._model.scenes]
        return {"ms a frame": round((time.monotonic() - began) / FRAMES * 1e3, 1)}

    def in_tensorrt(self) -> dict[str, Any]:
        """Times, and how far the mattes differ from those of the CPU."""
        found, numbers = self._run(self._model, self._family, self._precision, self._folder)
        for output in OUTPUTS:
            pairs = zip(found, self._expected, strict=True)
            steps = np.stack([_steps(one[output], other[output]) for one, other in pairs])
            numbers |= {f"{output}, mean of 255": round(float(steps.mean()), 4), f"{output}, worst": int(steps.max())}
        mean, most = numbers["pha, mean of 255"], MEAN[self._precision]
        assert mean <= most, f"alpha differs by {mean} on average; expected at most {most}: {numbers}"
        return numbers


def _plan(chosen: Model, family: str, precision: str, folder: Path) -> tuple[list[Any], dict[str, Any]]:
    from tools.gpu_day.steps.device_plan import DevicePlan

    began = time.monotonic()
    path = folder / f"{family}-{precision}.plan"
    made = trtmatte.export(chosen.path, "plan", out=path, outputs=OUTPUTS, precision=precision, **chosen.settings)
    numbers: dict[str, Any] = {"seconds to build": round(time.monotonic() - began, 1), "bytes": path.stat().st_size}
    plan = DevicePlan(path.read_bytes(), made.program.states)
    _write_layers(f"{family}-plan-{precision}", plan.layers())
    inputs = [dict(zip(made.program.pictures, scene, strict=True)) for scene in chosen.scenes]
    plain = [plan(each) for each in inputs]
    captured = plan.captured(inputs)
    pairs = zip(plain, captured, strict=True)
    differ = max(int(_steps(one[name], other[name]).max()) for one, other in pairs for name in one)
    return captured, numbers | {"captured against enqueued, worst": differ} | plan.times()


def _stages(chosen: Model, family: str, precision: str, folder: Path) -> tuple[list[Any], dict[str, Any]]:
    began = time.monotonic()
    path = folder / f"{family}-{precision}.trtm"
    engine = trtmatte.build(
        chosen.path, out=path, target="tensorrt", precision=precision, verbose=True, **chosen.settings
    )
    numbers: dict[str, Any] = {"seconds to build": round(time.monotonic() - began, 1), "bytes": path.stat().st_size}
    plans = engine.manifest["plans"]
    _write_layers(f"{family}-stages-{precision}", plans)
    with engine.session(backend="tensorrt", outputs=OUTPUTS) as session:
        found = [session(*scene).copy() for scene in chosen.scenes]
        before, began = session.stats(), time.monotonic()
        for index in range(TIMED):
            session(*chosen.scenes[index % FRAMES])
        spent, after = time.monotonic() - began, session.stats()
    numbers |= {"ms, host to host": round(spent / TIMED * 1e3, 3), "launches": after.launches - before.launches}
    return found, numbers | {"captures": after.captures - before.captures, "note": after.note}


def _steps(one: Any, other: Any) -> np.ndarray[Any, Any]:
    """By how many of 255 steps two pictures differ. A plan has a batch in front, a session has none."""
    return np.abs(np.asarray(one).reshape(other.shape).astype(int) - other)


def _write_layers(name: str, layers: Any) -> None:
    """The engine inspector's description of the layers."""
    FILES.mkdir(parents=True, exist_ok=True)
    (FILES / f"layers-{name}.json").write_text(json.dumps(layers, indent=1, default=str) + "\n")


def main() -> int:
    (name,) = sys.argv[1:]
    comparison = Comparison(*name.split("-"))
    return 0 if part("on the CPU", comparison.on_cpu) and part("in TensorRT", comparison.in_tensorrt) else 1


if __name__ == "__main__":
    raise SystemExit(main())
