"""A stand-in for the bindings and the driver, where neither a GPU nor TensorRT can be had.

It has the names of the real bindings and no more: `test_tensorrt.py` holds them against `typings/tensorrt.pyi`, which
`make tensorrt` compares with the real ones. It computes nothing; it writes down what it is asked to do, and refuses
what it is told to refuse.
"""

from __future__ import annotations

import enum
import importlib.machinery
import json
import types
from collections.abc import Callable
from typing import Any


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT32 = 3


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class TensorLocation(enum.Enum):
    DEVICE = 0
    HOST = 1


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC = 0
    USER_MANAGED = 2


class LayerInformationFormat(enum.Enum):
    JSON = 1


class ProfilingVerbosity(enum.Enum):
    DETAILED = 1


class LayerType(enum.Enum):
    CONVOLUTION = 0
    PLUGIN_V3 = 46


class CudaGraphStrategy(enum.Enum):
    DISABLED = 0


class DynamicShapesKernelSpecializationStrategy(enum.Enum):
    LAZY = 0
    EAGER = 1


class ComputeCapability(enum.Enum):
    CURRENT = 1
    SM86 = 86
    SM89 = 89
    SM120 = 120


class Severity(enum.Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO = Severity


class IProgressMonitor:
    pass


class Layer:
    def __init__(self, name: str, kind: LayerType) -> None:
        self.name, self.type, self.metadata = name, kind, f"[ONNX Layer: {name}]"


class NetworkTensor:
    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.shape, self.dtype = name, shape, DataType.HALF


class INetworkDefinition:
    def __init__(self, world: World) -> None:
        self._world = world
        self.num_inputs = self.num_outputs = 1
        self.num_layers = len(world.layers)

    def get_input(self, index: int) -> NetworkTensor:
        return NetworkTensor("x", self._world.input_shape)

    def get_output(self, index: int) -> NetworkTensor:
        return NetworkTensor("y", self._world.input_shape)

    def get_layer(self, index: int) -> Layer:
        return self._world.layers[index]


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b" and more"


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, smallest: Any, usual: Any, largest: Any) -> None:
        self.shapes[name] = (smallest, usual, largest)


class IBuilderConfig:
    def __init__(self, world: World) -> None:
        self._world = world
        self.flags = {"TF32"}
        self.profiles: list[IOptimizationProfile] = []
        self.capabilities: dict[int, ComputeCapability] = {}
        self.progress_monitor: Any = None
        self.profiling_verbosity: Any = None
        self.num_compute_capabilities = 0
        self._cache: ITimingCache | None = None

    def set_flag(self, flag: enum.Enum) -> None:
        self.flags.add(flag.name)

    def clear_flag(self, flag: enum.Enum) -> None:
        self.flags.discard(flag.name)

    def set_compute_capability(self, capability: ComputeCapability, index: int) -> bool:
        self.capabilities[index] = capability
        return True

    def add_optimization_profile(self, profile: IOptimizationProfile) -> None:
        self.profiles.append(profile)

    def create_timing_cache(self, content: bytes) -> ITimingCache:
        return ITimingCache(content)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache.content not in self._world.timing_caches:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


class IBuilder:
    def __init__(self, world: World, logger: Any) -> None:
        self._world, self._logger = world, logger
        if world.start_error:
            logger.log(ILogger.ERROR, world.start_error)
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int) -> INetworkDefinition:
        self._world.said.append(("create_network", flags))
        return INetworkDefinition(self._world)

    def create_builder_config(self) -> IBuilderConfig:
        self._world.config = IBuilderConfig(self._world)
        return self._world.config

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        for message in self._world.build_errors:
            self._logger.log(ILogger.ERROR, message)
        return None if self._world.build_errors else b"a plan"


class IOnnxParser:
    num_errors = 0

    def parse(self, model: bytes) -> bool:
        return True


class IPluginRegistry:
    def __init__(self, world: World) -> None:
        self._world = world

    def load_library(self, path: str) -> object | None:
        self._world.said.append(("load_library", path))
        return object()


class EngineInspector:
    def get_engine_information(self, form: LayerInformationFormat) -> str:
        return json.dumps({"Layers": [{"Name": "Conv_8 + Relu_9"}], "Bindings": ["x", "y"]})


class IRuntimeCache:
    def __init__(self, world: World) -> None:
        self._world = world

    def deserialize(self, content: bytes) -> bool:
        self._world.said.append(("cache", content))
        return True

    def serialize(self) -> bytes:
        return b"kernels"


class IRuntimeConfig:
    def __init__(self, world: World) -> None:
        self._world = world
        self.cuda_graph_strategy: Any = None
        self.dynamic_shapes_kernel_specialization_strategy: Any = None
        self.strategy: Any = None
        self.cache: Any = None

    def set_execution_context_allocation_strategy(self, strategy: ExecutionContextAllocationStrategy) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache(self._world)

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        self.cache = cache
        return True


class ICudaEngine:
    num_io_tensors = 2
    device_memory_size_v2 = 1000

    def __init__(self, world: World) -> None:
        self._world = world

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "x" else TensorIOMode.OUTPUT

    def get_tensor_location(self, name: str) -> TensorLocation:
        return self._world.location

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.HALF

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._world.input_shape

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig(self._world)

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector()

    def create_execution_context(self, strategy: Any) -> IExecutionContext | None:
        self._world.strategy = strategy
        return None if self._world.no_memory else self._world.context(self._world)


class IExecutionContext:
    def __init__(self, world: World) -> None:
        self._world = world
        self._shape: tuple[int, ...] | None = None if -1 in world.input_shape else world.input_shape

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        fits = shape[0] <= self._world.largest
        if fits:
            self._shape = shape
        else:
            self._world.logger.log(ILogger.ERROR, f"dimension 0 of {name} is {shape[0]}, above {self._world.largest}")
        return fits

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._world.said.append(("address", name, address))
        return True

    def infer_shapes(self) -> list[str]:
        return ["x"] if self._shape is None else []

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        assert self._shape is not None
        return self._shape

    def set_device_memory(self, address: int, size: int) -> None:
        self._world.said.append(("memory", address, size))

    def execute_async_v3(self, stream: int) -> bool:
        self._world.said.append(("run", stream))
        if self._world.run_fails:
            self._world.logger.log(ILogger.ERROR, "an illegal address")
        return not self._world.run_fails


class RtxExecutionContext(IExecutionContext):
    def is_stream_capturable(self, stream: int) -> bool:
        return stream != 0


class IRuntime:
    def __init__(self, world: World, logger: Any) -> None:
        self._world, world.logger = world, logger
        world.while_starting()
        if world.start_error:
            logger.log(ILogger.ERROR, world.start_error)

    def __del__(self) -> None:
        self._world.deleted = True

    def deserialize_cuda_engine(self, plan: Any) -> ICudaEngine | None:
        if bytes(plan) == b"a plan":
            return ICudaEngine(self._world)
        self._world.logger.log(ILogger.ERROR, "the plan is of another version")
        return None


class World:
    """What the stand-in is told to be, and what it was asked to do."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.layers = [Layer("Conv_8", LayerType.CONVOLUTION), Layer("Crop", LayerType.PLUGIN_V3)]
        self.input_shape: tuple[int, ...] = (1, 3, 8, 8)
        self.largest = 16
        self.timing_caches = {b""}
        self.build_errors: list[str] = []
        self.start_error = ""
        self.while_starting: Callable[[], object] = lambda: None
        self.deleted = False  # a runtime
        self.location = TensorLocation.DEVICE
        self.no_memory = self.run_fails = False
        self.config: Any = None
        self.strategy: Any = None
        self.logger: Any = None
        self.context: type[IExecutionContext] = IExecutionContext


def bindings(world: World, name: str, version: str) -> types.ModuleType:
    """The module `tensorrt` or `tensorrt_rtx`. Numbers of flags are those of its version."""
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    rtx, old = name == "tensorrt_rtx", version.startswith("10.")
    flags = {"TF32": 7 if old else 6, **({"REQUIRE_USER_ALLOCATION": 28} if rtx else {})}
    parts: dict[str, Any] = {
        "__version__": version,
        "NetworkDefinitionCreationFlag": enum.IntEnum("Flag", {"STRONGLY_TYPED": 1 if old else 0}),
        "BuilderFlag": enum.Enum("BuilderFlag", flags),
        "Builder": lambda logger: IBuilder(world, logger),
        "OnnxParser": lambda network, logger: IOnnxParser(),
        "Runtime": lambda logger: IRuntime(world, logger),
        "get_plugin_registry": lambda: IPluginRegistry(world),
    }
    shared = [ILogger, IProgressMonitor, DataType, TensorIOMode, TensorLocation, ExecutionContextAllocationStrategy]
    shared += [LayerInformationFormat, ProfilingVerbosity, LayerType]
    if rtx:
        world.context = RtxExecutionContext
        shared += [CudaGraphStrategy, DynamicShapesKernelSpecializationStrategy, ComputeCapability]
    vars(module).update(parts, **{each.__name__: each for each in shared})
    return module


class Driver:
    """The driver's interface for one GPU, as ctypes calls it."""

    def __init__(self, capability: tuple[int, int] = (8, 6), name: str = "A card") -> None:
        self._name = name.encode()
        self.current: int | None = None  # context
        self._attributes = {16: 28, 32: 0, 75: capability[0], 76: capability[1]}

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = 1
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 13010
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:  # noqa: N802
        device._obj.value = index
        return 0 if index == 0 else 101

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:  # noqa: N802
        name.value = self._name
        return 0

    def cuDeviceTotalMem_v2(self, memory: Any, device: Any) -> int:  # noqa: N802
        memory._obj.value = 12 << 30
        return 0

    def cuDeviceGetAttribute(self, value: Any, number: int, device: Any) -> int:  # noqa: N802
        value._obj.value = self._attributes[number]
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> int:  # noqa: N802
        context._obj.value = 0xC0DE
        return 0

    def cuCtxGetCurrent(self, context: Any) -> int:  # noqa: N802
        context._obj.value = self.current
        return 0

    def cuCtxSetCurrent(self, context: Any) -> int:  # noqa: N802
        self.current = context.value
        return 0

    def cuDevicePrimaryCtxRelease_v2(self, device: Any) -> int:  # noqa: N802
        return 0
