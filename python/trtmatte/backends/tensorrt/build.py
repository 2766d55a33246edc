"""Build a plan from an ONNX network stage. Builds report progress, can be cancelled, and name the node of an error."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trtmatte.backends import driver
from trtmatte.backends.tensorrt import bindings, targets
from trtmatte.backends.tensorrt.key import Bounds, Flags, checked_capabilities, environment, flags, plan_key
from trtmatte.backends.tensorrt.run import LoadedPlan, type_name
from trtmatte.errors import BackendError, ModelError, SettingError
from trtmatte.support.files import replacing

if TYPE_CHECKING:
    import tensorrt

Progress = Callable[[str, float], bool | None]
"""Called on another thread with the current phase and the part of it that is done, 0…1. False cancels the build."""

_BUILDING: Final = threading.Lock()  # tactics are chosen by timing them, which two builds at once would spoil
_LOADED: Final[set[Path]] = set()


class BuildCancelledError(BackendError):
    """A build was stopped by its progress callback."""


@dataclass(frozen=True)
class BuiltPlan:
    """A compiled network stage. It is executable code: load only plans that you built or trust."""

    data: bytes
    target: str
    key: str
    environment: Mapping[str, Any]
    info: Mapping[str, Any] = field(default_factory=dict)


def build_plan(
    model: bytes,
    *,
    target: str,
    name: str = "network",
    progress: Progress | None = None,
    verbose: bool = False,
    bounds: Bounds | None = None,
    compute_capabilities: Sequence[str] | None = None,
    timing_cache: Path | None = None,
    plugins: Path | None = None,
    gpu: int = 0,
    tf32: bool = False,
) -> BuiltPlan:
    """The plan of an ONNX model, which computes in the types that the model states; with `tf32`, it may round what it
    multiplies in float32 to TF32.

    `bounds` gives the shapes of inputs without a fixed one. `compute_capabilities` ("8.6") is for TensorRT-RTX; left
    out, a plan is portable. `timing_cache`, a file that is read and brought up to date, and `plugins`, a library of
    our ops, are for TensorRT. With `verbose` the plan's `info` reports its layers. Ctrl-C cancels.
    """
    reason = targets.build_unavailable_reason(target, gpu)
    if reason is not None:
        raise BackendError(reason)
    if plugins is not None and target != "tensorrt":
        raise SettingError(f"plugins are for the target tensorrt; {bindings.title(target)} cannot run them")
    place = {"compute_capabilities": compute_capabilities, "gpu": gpu, "plugins": plugins}
    key = plan_key(model, target=target, bounds=bounds, tf32=tf32, **place)  # type: ignore[arg-type]
    surroundings = environment(target, **place)  # type: ignore[arg-type]
    chosen = flags(target, tf32=tf32)
    build = _Build(target, name, _Progress(progress), bounds or {}, compute_capabilities, timing_cache, plugins, chosen)
    with _BUILDING:
        data, info = _in_thread(lambda: build.run(model, gpu, verbose), build.progress)
    return BuiltPlan(data, target, key, surroundings, info)


def _in_thread(work: Callable[[], Any], progress: _Progress) -> Any:
    """Run in a separate thread, so that Python handles Ctrl-C while the library works."""
    with ThreadPoolExecutor(1, "trtmatte-build") as worker:
        result = worker.submit(work)
        try:
            return result.result()
        except BaseException:
            progress.cancel()
            raise


class _Build:
    """One build. Builder, network and parser belong to the thread that runs it."""

    def __init__(
        self,
        target: str,
        name: str,
        progress: _Progress,
        bounds: Bounds,
        compute_capabilities: Sequence[str] | None,
        timing_cache: Path | None,
        plugins: Path | None,
        flags: Flags,
    ) -> None:
        self._trt, self._log = bindings.load(target), bindings.log(target)
        self._target, self._name, self._bounds = target, name, bounds
        self._capabilities = checked_capabilities(compute_capabilities)
        self._timing_cache = timing_cache if target == "tensorrt" else None
        self._plugins, self._flags = plugins, flags
        self.progress = progress

    def run(self, model: bytes, gpu: int, verbose: bool) -> tuple[bytes, dict[str, Any]]:
        started = time.monotonic()
        with driver.current(gpu) if self._target == "tensorrt" else nullcontext(), self._log.recorded() as errors:
            if self._plugins is not None:
                _load_plugins(self._trt, self._plugins)
            builder = bindings.builder(self._target)
            network = self._network(builder, model)
            config = self._config(builder, network)
            plan = builder.build_serialized_network(network, config)
            self.progress.raise_if_cancelled(self._name)
            if plan is None:
                raise BackendError(self._failure(errors, _mentioned(network, errors)))
            self._keep_timings(config)
            info = {**_describe(network), "seconds": round(time.monotonic() - started, 3)}
            if verbose:
                info |= _engine_layers(plan, self._target, self._name, gpu)
        self.progress.complete(self._name)
        return bytes(plan), info

    def _network(self, builder: tensorrt.Builder, model: bytes) -> tensorrt.INetworkDefinition:
        strongly_typed = int(self._trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(1 << strongly_typed)
        parser = self._trt.OnnxParser(network, self._log.native)
        if not parser.parse(model):
            errors = [parser.get_error(index) for index in range(parser.num_errors)]
            raise BackendError(self._failure([each.desc() for each in errors], [_node(each) for each in errors]))
        if self._plugins is not None:
            _require_plugins(self._trt, network, model)
        return network

    def _config(self, builder: tensorrt.Builder, network: tensorrt.INetworkDefinition) -> tensorrt.IBuilderConfig:
        config = builder.create_builder_config()
        for flag in self._flags.on:
            if hasattr(self._trt.BuilderFlag, flag):
                config.set_flag(getattr(self._trt.BuilderFlag, flag))
        for flag in self._flags.off:
            config.clear_flag(getattr(self._trt.BuilderFlag, flag))
        config.profiling_verbosity = self._trt.ProfilingVerbosity.DETAILED
        config.progress_monitor = self.progress.monitor(self._trt)
        if self._capabilities:
            config.num_compute_capabilities = len(self._capabilities)
            for index, each in enumerate(self._capabilities):
                member = self._trt.ComputeCapability.__members__["SM" + each.replace(".", "")]
                config.set_compute_capability(member, index)
        self._add_profile(builder, network, config)
        self._use_timings(config)
        return config

    def _add_profile(
        self, builder: tensorrt.Builder, network: tensorrt.INetworkDefinition, config: tensorrt.IBuilderConfig
    ) -> None:
        shapes = {each.name: tuple(each.shape) for each in map(network.get_input, range(network.num_inputs))}
        loose = {name for name, shape in shapes.items() if -1 in shape}
        if loose != set(self._bounds):
            raise ModelError(
                f"{self._name} has the inputs {', '.join(sorted(loose)) or 'none'} without a fixed shape, and bounds "
                f"are given of {', '.join(sorted(self._bounds)) or 'none'}; expected bounds of exactly those"
            )
        if not loose:
            return
        profile = builder.create_optimization_profile()
        for name, (smallest, usual, largest) in self._bounds.items():
            profile.set_shape(name, tuple(smallest), tuple(usual), tuple(largest))
        config.add_optimization_profile(profile)

    def _use_timings(self, config: tensorrt.IBuilderConfig) -> None:
        """Load the timing cache. If it belongs to another version or GPU, begin with an empty one."""
        if self._timing_cache is None:
            return
        known = self._timing_cache.read_bytes() if self._timing_cache.is_file() else b""
        for content in (known, b""):
            cache = config.create_timing_cache(content)
            if cache is not None and config.set_timing_cache(cache, False):
                return

    def _keep_timings(self, config: tensorrt.IBuilderConfig) -> None:
        cache = None if self._timing_cache is None else config.get_timing_cache()
        if self._timing_cache is not None and cache is not None:
            self._timing_cache.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._timing_cache) as file:
                file.write(cache.serialize())

    def _failure(self, messages: Sequence[str], nodes: Sequence[str]) -> str:
        found = ", ".join(dict.fromkeys(filter(None, nodes)))
        reasons = dict.fromkeys(line.strip() for message in messages for line in message.splitlines())
        remedy = f"Leave {self._target} out of the targets" if self._plugins is None else "Build an engine instead"
        return (
            f"{bindings.title(self._target)} {self._trt.__version__} cannot build {self._name}"
            f"{' because of ' + found if found else ''}: {'; '.join(reasons) or 'it gives no reason'}. "
            f"{remedy}, or change the model there"
        )


class _Progress:
    """Report the builder's nested phases as one fraction, and cancel the build on request."""

    def __init__(self, report: Progress | None) -> None:
        self._report = report
        self._phases: dict[str, tuple[str | None, int, int]] = {}  # parent, steps, steps done
        self._done = 0.0
        self._cancelled = threading.Event()
        self._error: BaseException | None = None

    def cancel(self) -> None:
        self._cancelled.set()

    def raise_if_cancelled(self, name: str) -> None:
        if self._error is not None:
            raise self._error
        if self._cancelled.is_set():
            raise BuildCancelledError(f"the build of {name} was cancelled")

    def complete(self, name: str) -> None:
        """Report the end, since some builders do not."""
        if self._report is not None:
            self._report(name, 1.0)

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        self._phases[phase] = (parent, max(steps, 1), 0)
        self._tell(phase)

    def step(self, phase: str, step: int) -> bool:
        if phase in self._phases:
            parent, steps, _ = self._phases[phase]
            self._phases[phase] = (parent, steps, min(step + 1, steps))
        return self._tell(phase)

    def finish(self, phase: str) -> None:
        self._phases.pop(phase, None)

    def _tell(self, phase: str) -> bool:
        self._done = max(self._done, self._fraction(phase))
        if self._report is not None and not self._cancelled.is_set():
            try:
                if self._report(phase, self._done) is False:
                    self.cancel()
            except BaseException as error:  # it must not reach the library, which would only print it
                self._error = error
                self.cancel()
        return not self._cancelled.is_set()

    def _fraction(self, phase: str | None) -> float:
        inner = 0.0
        for _ in range(len(self._phases)):
            if phase not in self._phases:
                break
            phase, steps, done = self._phases[phase]
            inner = min((done + inner) / steps, 1.0)
        return inner

    def monitor(self, module: tensorrt.Module) -> tensorrt.IProgressMonitor:
        progress = self

        class Monitor(module.IProgressMonitor):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                module.IProgressMonitor.__init__(self)

            def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
                progress.start(phase_name, parent_phase, num_steps)

            def step_complete(self, phase_name: str, step: int) -> bool:
                return progress.step(phase_name, step)

            def phase_finish(self, phase_name: str) -> None:
                progress.finish(phase_name)

        return Monitor()


# ---------------------------------------------------------------------------------------------------------------------
# Telling


def _node(error: tensorrt.ParserError) -> str:
    """The ONNX node that a parser's error is about."""
    name, kind, index = error.node_name(), error.node_operator(), error.node()
    if index < 0:
        return ""
    return f"node {name} ({kind})" if name else f"node {index} ({kind}), which has no name"


def _mentioned(network: tensorrt.INetworkDefinition, messages: Sequence[str]) -> list[str]:
    """The ONNX nodes whose layers are named in messages."""
    words = {word.rstrip(".") for word in re.findall(r"[^\s:,;()\[\]{}'\"]+", " ".join(messages))}
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    return [f"node {layer.name}" for layer in layers if layer.metadata and layer.name in words]


def _describe(network: tensorrt.INetworkDefinition) -> dict[str, Any]:
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    return {
        "inputs": {each.name: [type_name(each.dtype), *each.shape] for each in inputs},
        "outputs": {each.name: [type_name(each.dtype), *each.shape] for each in outputs},
        "network_layers": network.num_layers,
    }


def _engine_layers(plan: Any, target: str, name: str, gpu: int) -> dict[str, Any]:
    """The layers of the engine. Reading them needs a GPU."""
    reason = targets.run_unavailable_reason(target, gpu)
    if reason is not None:
        return {"layers": [], "layers_note": f"the plan's layers can be read only where it can run: {reason}"}
    return {"layers": LoadedPlan(plan, target=target, name=name).layers()}


# ---------------------------------------------------------------------------------------------------------------------
# Plugins


def _load_plugins(module: tensorrt.Module, path: Path) -> None:
    """Load the plugins, once per process: the registry rejects a library that is already loaded."""
    path = path.resolve()
    if path in _LOADED:
        return
    if module.get_plugin_registry().load_library(str(path)) is None:
        raise BackendError(f"TensorRT cannot load the plugin library {path}; build it for this TensorRT")
    _LOADED.add(path)


def _require_plugins(module: tensorrt.Module, network: tensorrt.INetworkDefinition, model: bytes) -> None:
    """Raise an error if a plugin is missing: TensorRT would silently use the many layers of the function body."""
    import onnx

    custom = [node for node in onnx.load_model_from_string(model).graph.node if node.domain]
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    found = sum(layer.type == module.LayerType.PLUGIN_V3 for layer in layers)
    if found != len(custom):
        kinds = ", ".join(sorted({node.op_type for node in custom}))
        raise BackendError(
            f"{found} of {len(custom)} ops became plugins ({kinds}); expected all: is the plugin library complete?"
        )
