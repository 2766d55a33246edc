"""Plans: what TensorRT makes of an engine's networks, in the precision that was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from trtmatte import cache
from trtmatte.backends import tensorrt
from trtmatte.backends.tensorrt import Progress
from trtmatte.engine import Engine, Plan
from trtmatte.errors import BackendError
from trtmatte.options import Options
from trtmatte.program import PATCHES, NetworkStage, Program

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["completed", "in_precision", "make", "parsed"]

LARGEST_PIECE: Final = 20_000  # patches that one run of a plan can refine; more are refined piece by piece
_USUAL_PIECE: Final = 5_000


def make(
    program: Program,
    networks: Mapping[str, ModelProto],
    target: str,
    precision: str,
    verbose: bool,
    progress: Progress | None,
    gpu: int = 0,
) -> Plan:
    """A target's plan of all networks of a program."""
    built = {
        stage.name: tensorrt.build_plan(
            in_precision(networks[stage.name], program.family, precision).SerializeToString(),
            target=target,
            name=stage.name,
            progress=_titled(f"{target} {stage.name}", progress),
            verbose=verbose,
            bounds=_bounds(program, stage),
            timing_cache=cache.private_folder("timings") / f"{target}.cache",
            gpu=gpu,
        )
        for stage in program.networks
    }
    info = {
        "precision": precision,
        "environment": tensorrt.environment(target, gpu=gpu),
        "networks": {name: {**each.info, "key": each.key} for name, each in built.items()},
    }
    key = cache.key({name: each.key for name, each in built.items()})[:16]
    return Plan(target, key, {name: each.data for name, each in built.items()}, info)


def completed(engine: Engine, target: str, *, gpu: int = 0, progress: Progress | None = None) -> Engine:
    """The engine with a plan for this machine, its last one: built of its networks once, then from the cache."""
    precision = engine.manifest["settings"].get("precision", Options.precision)
    ingredients = {
        "networks": {name: each for name, each in engine.manifest["members"].items() if not name.startswith("plans/")},
        "program": engine.manifest["program"],
        "precision": precision,
        "environment": tensorrt.environment(target, gpu=gpu),
        "code": cache.code(),
    }
    key = cache.key(ingredients)

    def complete() -> Engine:
        networks = {stage.name: parsed(engine.network(stage.name)) for stage in engine.program.networks}
        return engine.with_plans([make(engine.program, networks, target, precision, False, progress, gpu)], key)

    return cache.engine(key, complete)


def in_precision(network: ModelProto, family: str, precision: str) -> ModelProto:
    """A network in the types that a plan of this precision computes in."""
    if precision == "fp32":
        return network
    from trtmatte.families.precision import for_family
    from trtmatte.graph.precision import to_fp16

    return to_fp16(network, for_family(family))


def _bounds(program: Program, stage: NetworkStage) -> dict[str, Any] | None:
    """The shapes of inputs that have one patch or many."""
    largest = min(program.capacity, LARGEST_PIECE)
    counts = (1, min(largest, _USUAL_PIECE), largest)
    loose = [name for name in stage.inputs if PATCHES in program.tensors[name].shape]
    bounds = {
        name: tuple([count if size == PATCHES else size for size in program.tensors[name].shape] for count in counts)
        for name in loose
    }
    return bounds or None


def _titled(title: str, progress: Progress | None) -> Progress | None:
    """Says which plan is being built; the library's own phases are of no use to others."""
    return None if progress is None else lambda _phase, done: progress(title, done)


def parsed(network: memoryview) -> ModelProto:
    try:
        from onnx import ModelProto
    except ImportError as error:
        raise BackendError("building a plan of an engine's networks needs onnx: pip install onnx") from error
    model = ModelProto()
    model.ParseFromString(bytes(network))
    return model
