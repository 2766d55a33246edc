"""Plans: an engine's networks, compiled by TensorRT in the precision of the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from trtmatte.backends import tensorrt
from trtmatte.backends.tensorrt import Progress
from trtmatte.compiler import engine_cache
from trtmatte.compiler.families import registry
from trtmatte.compiler.options import Options
from trtmatte.errors import BackendError, EngineError
from trtmatte.format.archive import BUILD_AGAIN
from trtmatte.format.file import CUDA_PLAN, EngineFile, Plan
from trtmatte.format.program import Program
from trtmatte.format.stages import PATCHES, NetworkStage
from trtmatte.support.cache_folder import private_folder
from trtmatte.support.packages import code_hash

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["KeptNodes", "completed", "for_onnxruntime", "in_precision", "keep_fp32", "kept_by", "make", "parsed"]

KeptNodes = Mapping[str, Sequence[str]]
"""The nodes of each network that stay in float32, by their first outputs."""

LARGEST_PIECE: Final = 20_000  # patches that one run of a plan can refine; more are refined piece by piece
_USUAL_PIECE: Final = 5_000


def make(
    program: Program,
    networks: Mapping[str, ModelProto],
    target: str,
    kept: KeptNodes | None,
    verbose: bool,
    progress: Progress | None,
    gpu: int = 0,
    *,
    tf32: bool = False,
) -> Plan:
    """A target's plan of all networks: in float16 except for the kept nodes, or without `kept` in float32 or TF32."""
    typed = in_precision(networks, kept, program.outputs)
    built = {
        stage.name: tensorrt.build_plan(
            typed[stage.name].SerializeToString(),
            target=target,
            name=stage.name,
            progress=_titled(f"{target} {stage.name}", progress),
            verbose=verbose,
            bounds=_bounds(program, stage),
            timing_cache=private_folder("timings") / f"{target}.cache",
            gpu=gpu,
            tf32=tf32,
        )
        for stage in program.networks
    }
    info = {
        "precision": "fp16" if kept is not None else "tf32" if tf32 else "fp32",
        "environment": tensorrt.environment(target, gpu=gpu),
        "networks": {name: {**each.info, "key": each.key} for name, each in built.items()},
    }
    key = engine_cache.key({name: each.key for name, each in built.items()})[:16]
    return Plan(target, key, {name: each.data for name, each in built.items()}, info)


def for_onnxruntime(program: Program, networks: Mapping[str, ModelProto], kept: KeptNodes | None) -> list[Plan]:
    """The plan that ONNX Runtime runs on GPUs: the networks in float16; none in float32, since the engine has those."""
    if kept is None:
        return []
    typed = in_precision(networks, kept, program.outputs)
    return [Plan(*CUDA_PLAN, {name: model.SerializeToString() for name, model in typed.items()}, {"precision": "fp16"})]


def completed(engine: EngineFile, target: str, *, gpu: int = 0, progress: Progress | None = None) -> EngineFile:
    """The engine with a plan for this machine as its last one: built once from its networks, then from the cache."""
    precision = engine.manifest["settings"].get("precision", Options.precision)
    ingredients = {
        "networks": {name: each for name, each in engine.manifest["members"].items() if not name.startswith("plans/")},
        "program": engine.manifest["program"],
        "precision": precision,
        "keep_fp32": engine.keep_fp32,
        "environment": tensorrt.environment(target, gpu=gpu),
        "code": code_hash(),
    }
    key = engine_cache.key(ingredients)

    def complete() -> EngineFile:
        networks = {stage.name: parsed(engine.network(stage.name)) for stage in engine.program.networks}
        kept = kept_by(engine, networks) if precision == "fp16" else None
        plan = make(engine.program, networks, target, kept, False, progress, gpu, tf32=engine.uses_tf32)
        return engine.with_plans([plan], key)

    return engine_cache.engine(key, complete)


def keep_fp32(program: Program, networks: Mapping[str, ModelProto]) -> dict[str, list[str]]:
    """The nodes that stay in float32 by the rule of the program's family."""
    from trtmatte.compiler.graph.precision import kept_nodes, rule_of

    rule = rule_of(registry.keep_fp32(program.family))
    return {name: kept_nodes(network, rule) for name, network in networks.items()}


def kept_by(engine: EngineFile, networks: Mapping[str, ModelProto]) -> KeptNodes:
    """The nodes that an engine lists. Engines of trtmatte before 0.2 list none: their family's rule finds them."""
    listed = engine.keep_fp32
    return listed if listed and listed.keys() >= networks.keys() else keep_fp32(engine.program, networks)


def in_precision(
    networks: Mapping[str, ModelProto], kept: KeptNodes | None, wide: Sequence[str] = ()
) -> dict[str, ModelProto]:
    """Networks in float16 except for the kept nodes and for inputs and outputs in `wide`, or without `kept` as they
    are."""
    if kept is None:
        return dict(networks)
    from trtmatte.compiler.graph.precision import these, to_fp16

    return {name: to_fp16(network, these(kept[name]), wide) for name, network in networks.items()}


def _bounds(program: Program, stage: NetworkStage) -> dict[str, Any] | None:
    """The smallest, usual and largest shapes of inputs whose number of patches varies."""
    largest = min(program.capacity, LARGEST_PIECE)
    counts = (1, min(largest, _USUAL_PIECE), largest)
    loose = [name for name in stage.inputs if PATCHES in program.tensors[name].shape]
    bounds = {
        name: tuple([count if size == PATCHES else size for size in program.tensors[name].shape] for count in counts)
        for name in loose
    }
    return bounds or None


def _titled(title: str, progress: Progress | None) -> Progress | None:
    """Report the plan that is built instead of the library's own phases."""
    return None if progress is None else lambda _phase, done: progress(title, done)


def parsed(network: bytes) -> ModelProto:
    """A network of an engine as an ONNX model."""
    try:
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from onnx import ModelProto
    except ImportError as error:
        raise BackendError("building a plan of an engine's networks needs onnx: pip install onnx") from error
    model = ModelProto()
    try:
        model.ParseFromString(network)
    except (DecodeError, ValueError) as error:
        raise EngineError(f"a network of the engine cannot be read ({error}): {BUILD_AGAIN}") from error
    return model
