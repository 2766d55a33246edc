"""The cost of float16: the errors of mattes over recurrent sequences, with and without nodes kept in float32.

    python -m benchmarks.precision                     the table of docs/precision.md
    python -m benchmarks.precision --rules             candidates, from which the families' rules were chosen
    python -m benchmarks.precision --ranges            the largest values and sums

Runs on a CPU: the float16 network is emulated, every value rounded, sums in float32.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, ValueInfoProto

from tests import real_models as models
from tests import reference
from tests.program_runner import StagedRunner
from trtmatte.backends.onnxruntime import Network
from trtmatte.compiler.families import reading, registry
from trtmatte.compiler.graph.cut import cut
from trtmatte.compiler.graph.onnx_graph import Graph
from trtmatte.compiler.graph.precision import Rule, emulated, head, nothing, offsets, rule_of, stem, to_fp16

RESULTS = Path("benchmarks/results/precision-cpu.json")
VERSIONS = ("numpy", "onnx", "onnxruntime", "av", "pillow")
Size = tuple[int, int]
Frames = Iterator[np.ndarray]


# ---------------------------------------------------------------------------------------------------------------------
# Sequences


def film(size: Size, start: int = 0) -> Frames:
    return itertools.islice(models.clip(*size), start, None)


def late_film(size: Size) -> Frames:
    return film(size, 60)


def pan(size: Size, zoom: float = 0.75) -> Frames:
    """A portrait under a camera that moves in a circle of 60 frames."""
    from PIL import Image

    picture = Image.fromarray(models.photograph())
    width = picture.width * zoom
    height = width * size[1] / size[0]
    for angle in np.arange(10_000) * (2 * np.pi / 60):
        left = (picture.width - width) * (0.5 + 0.5 * np.sin(angle))
        top = (picture.height - height) * (0.3 - 0.3 * np.cos(angle))
        yield np.asarray(picture.resize(size, Image.Resampling.BICUBIC, (left, top, left + width, top + height)))


def near_pan(size: Size) -> Frames:
    return pan(size, 0.5)


def even(value: int) -> Callable[[Size], Frames]:
    return lambda size: itertools.repeat(np.full((size[1], size[0], 3), value, np.uint8))


def noise(size: Size) -> Frames:
    random = np.random.default_rng(0)
    while True:
        yield random.integers(0, 256, (size[1], size[0], 3), np.uint8)


def saturated(size: Size) -> Frames:
    """Moving stripes of saturated colours."""
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]], np.uint8)
    for shift in itertools.count(0, 3):
        columns = (np.arange(size[0]) + shift) // 16 % len(colours)
        yield np.broadcast_to(colours[columns], (size[1], size[0], 3))


PICTURES: dict[str, Callable[[Size], Frames]] = {
    "film": film,
    "late film": late_film,
    "pan": pan,
    "near pan": near_pan,
}
EXTREMES: dict[str, Callable[[Size], Frames]] = {
    "black": even(0),
    "white": even(255),
    "noise": noise,
    "saturated": saturated,
}


# ---------------------------------------------------------------------------------------------------------------------
# Models


@dataclass(frozen=True)
class Subject:
    """A model at one frame size, with published weights if available, otherwise the stand-in weights of the tests."""

    name: str
    family: str
    size: Size
    weights: str  # a known model, or with "stand-in " before it a network of the tests
    settings: dict[str, Any] = field(default_factory=dict)
    extremes: bool = False  # whether black, white, noise and saturated frames are run too

    @property
    def is_recurrent(self) -> bool:
        return self.family == "rvm"

    def read(self) -> ModelProto:
        if not self.weights.startswith("stand-in "):
            return reading.read(models.model(self.weights), size=self.size, **self.settings)
        name = self.weights.removeprefix("stand-in ")
        family = registry.family(self.family)
        return family.from_network(reference.network(name), name, self.size, 1, family.checked(self.settings))


SUBJECTS = (
    Subject("rvm 176x144", "rvm", (176, 144), "rvm-mobilenetv3", {"downsample_ratio": 1.0}, True),
    Subject("rvm 288x162", "rvm", (576, 324), "rvm-mobilenetv3", {"downsample_ratio": 0.5}),
    Subject("rvm 384x216", "rvm", (768, 432), "rvm-mobilenetv3", {"downsample_ratio": 0.5}),
    Subject("rvm 480x270", "rvm", (960, 540), "rvm-mobilenetv3", {"downsample_ratio": 0.5}),
    Subject("rvm 512x288", "rvm", (1024, 576), "rvm-mobilenetv3", {"downsample_ratio": 0.5}),
    Subject("rvm resnet50", "rvm", (288, 160), "stand-in rvm_resnet50", {"downsample_ratio": 0.5}, True),
    Subject("u2netp", "u2net", (320, 320), "u2netp", extremes=True),
    Subject("modnet", "modnet", (512, 512), "stand-in modnet", extremes=True),
    Subject("bgmv2 base", "bgmv2", (480, 272), "stand-in bgmv2_base_mobilenetv2", extremes=True),
    Subject("bgmv2 refine", "bgmv2", (960, 544), "stand-in bgmv2_refine_mobilenetv2", {"refine_sample_pixels": 20_000}),
)


class Sequence:
    """A subject, some frames, and their mattes in float32."""

    def __init__(self, subject: Subject, pictures: Callable[[Size], Frames], frames: int) -> None:
        self.model = subject.read()
        self.networks = cut(self.model)[1]
        self._frames = [_planes(each) for each in itertools.islice(pictures(subject.size), frames)]
        self._plate = self._frames[-1][:, :, ::-1, ::-1].copy()
        self.expected, _ = self.mattes(self.networks)

    def inputs(self) -> Iterator[dict[str, np.ndarray]]:
        for frame in self._frames:
            yield {"frame": frame, "plate": self._plate}

    def mattes(self, networks: list[ModelProto]) -> tuple[np.ndarray, bool]:
        """Compute the mattes, and check that the networks gave only finite numbers."""
        runner = StagedRunner(self.model, ("pha",))
        checked = [_Checked(Network(network.SerializeToString(), 2)) for network in networks]
        runner.networks = dict(zip(runner.networks, checked, strict=True))
        pictures = runner.program.pictures
        mattes = [runner(**{name: each[name] for name in pictures})["pha"] for each in self.inputs()]
        return np.stack(mattes), all(network.is_finite for network in checked)

    def errors(self, rule: Rule) -> dict[str, float | bool]:
        """The errors of float16."""
        found, finite = self.mattes([emulated(to_fp16(network, rule)) for network in self.networks])
        errors = np.abs(found - self.expected)
        return {
            "mean": float(errors.mean()),
            "p99.9": float(np.quantile(errors, 0.999)),
            "max": float(errors.max()),
            "finite": finite,
        }

    def cost(self, rule: Rule) -> dict[str, int]:
        """The number of nodes, of nodes in float32, and of Casts."""
        graphs = [Graph(network) for network in self.networks]
        kinds = [node.op_type for network in self.networks for node in to_fp16(network, rule).graph.node]
        return {
            "nodes": sum(len(graph.nodes) for graph in graphs),
            "kept": sum(len(rule(graph)) for graph in graphs),
            "casts": kinds.count("Cast"),
        }


class _Checked:
    """A network that records NaN and infinite results, which a matte would not show."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.is_finite = True

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        values = self._network(inputs)
        self.is_finite = self.is_finite and all(bool(np.isfinite(value).all()) for value in values.values())
        return values


def _planes(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture.transpose(2, 0, 1))[None]


# ---------------------------------------------------------------------------------------------------------------------
# Ranges


def ranges(subject: Subject, pictures: Callable[[Size], Frames], frames: int) -> dict[str, float]:
    """The largest value in the networks, and the largest sum of absolute values over one plane."""
    sequence = Sequence(subject, pictures, frames)
    probes = [_Probe(network) for network in sequence.networks]
    runner = StagedRunner(sequence.model, ("pha",))
    runner.networks = dict(zip(runner.networks, probes, strict=True))
    for each in sequence.inputs():
        runner(**{name: each[name] for name in runner.program.pictures})
    return {
        "value": max(probe.largest for probe in probes),
        "sum": max(probe.largest_sum for probe in probes),
        "terms": max(probe.terms for probe in probes),
    }


class _Probe:
    """A network that records its own values."""

    def __init__(self, network: ModelProto) -> None:
        graph = Graph(network)
        self._outputs = tuple(graph.outputs)
        self._summed = {node.input[0] for node in graph.all("GlobalAveragePool", "InstanceNormalization")}
        self._summed |= {node.input[0] for node in graph.all("ReduceMean", "ReduceSum")}
        for name in {each for node in graph.nodes for each in node.output if each} - graph.outputs.keys():
            graph.outputs[name] = ValueInfoProto(name=name)
        self._network = Network(graph.model().SerializeToString(), 2)
        self.largest = self.largest_sum = 0.0
        self.terms = 0

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        values = self._network(inputs)
        floats = {name: value for name, value in values.items() if value.dtype == np.float32 and value.size}
        self.largest = max(self.largest, *(float(np.abs(value).max()) for value in floats.values()))
        for name in self._summed & floats.keys():
            value = np.abs(floats[name])
            self.largest_sum = max(self.largest_sum, float(value.sum(axis=tuple(range(2, value.ndim))).max()))
            self.terms = max(self.terms, int(np.prod(value.shape[2:])))
        return {name: values[name] for name in self._outputs}


# ---------------------------------------------------------------------------------------------------------------------
# Reports


CANDIDATES: dict[str, Rule] = {
    "plain": nothing,
    **{f"stem({count})": stem(count) for count in (0, 1, 3, 6, 9, 15, 30)},
    **{f"head({count})": head(count) for count in (1, 2)},
    **{f"offsets({limit})": offsets(limit) for limit in (100, 32, 10)},
}

Row = dict[str, Any]


def rules(subject: Subject, frames: int) -> Iterator[Row]:
    for title, pictures in PICTURES.items():
        sequence = Sequence(subject, pictures, frames)
        for name, rule in CANDIDATES.items():
            yield {"sequence": title, "rule": name, **sequence.errors(rule), **sequence.cost(rule)}


def watch(subject: Subject, frames: int) -> Iterator[Row]:
    for title, pictures in {**PICTURES, **EXTREMES}.items():
        yield {"sequence": title, **ranges(subject, pictures, min(frames, 4))}


def table(subject: Subject, frames: int) -> Iterator[Row]:
    chosen = rule_of(registry.keep_fp32(subject.family))
    lengths = dict.fromkeys(PICTURES, frames if subject.is_recurrent else min(frames, 4))
    if subject.extremes:
        lengths |= dict.fromkeys(EXTREMES, 200 if subject.is_recurrent else 2)
    for title, length in lengths.items():
        sequence = Sequence(subject, {**PICTURES, **EXTREMES}[title], length)
        errors = {"plain": sequence.errors(nothing), "chosen": sequence.errors(chosen)}
        yield {"sequence": title, "frames": length, **errors, **sequence.cost(chosen)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", nargs="*", default=[""], help="beginnings of names")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--rules", dest="report", action="store_const", const=rules, default=table)
    parser.add_argument("--ranges", dest="report", action="store_const", const=watch)
    parser.add_argument("-o", "--output", type=Path, help=f"e.g. {RESULTS}")
    options = parser.parse_args()
    rows = []
    for subject in SUBJECTS:
        if subject.name.startswith(tuple(options.subjects)):
            for row in options.report(subject, options.frames):
                rows.append({"subject": subject.name, "weights": subject.weights, **row})
                print(json.dumps(rows[-1]), flush=True)
    if options.output:
        versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in VERSIONS}}
        options.output.write_text(json.dumps({"versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
