"""Running plans: a loaded plan makes contexts, which put its work on a CUDA stream.

Nothing here allocates device memory or synchronises. The caller provides addresses, scratch memory and CUDA streams, so
that a whole frame can be captured into one CUDA graph.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from trtmatte.backends.tensorrt import bindings
from trtmatte.errors import BackendError

if TYPE_CHECKING:
    import tensorrt

_TYPES: Final = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
}
_ALIGNMENT: Final = 256


class Tensor(NamedTuple):
    """An input or output. Sizes that are not fixed are -1."""

    dtype: str
    shape: tuple[int, ...]
    is_input: bool


class LoadedPlan:
    """A plan loaded on the current device. Any thread may read it; each thread makes its own contexts."""

    def __init__(self, plan: Any, *, target: str, name: str = "network", runtime_cache: bytes = b"") -> None:
        """`plan` is any buffer. `runtime_cache` is an earlier result of `runtime_cache()`."""
        self._trt, self._log = bindings.load(target), bindings.log(target)
        self.target, self.name = target, name
        with self._log.recorded() as errors:
            self._runtime = bindings.runtime(target)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self.failure("load the plan of", errors, "build it again on this machine")
        self.tensors = {each: self._tensor(each) for each in self._names()}
        self._cache = self._new_cache(runtime_cache)

    @property
    def scratch_size(self) -> int:
        """The bytes of device memory that a context needs while it runs."""
        return int(self._engine.device_memory_size_v2)

    def context(self) -> Context:
        """A context, for one thread and one CUDA stream at a time."""
        with self._log.recorded() as errors:
            context = self._engine.create_execution_context(self._strategy())
        if context is None:
            raise self.failure("make a context of", errors, "is there enough free memory on the GPU?")
        return Context(self, context)

    def runtime_cache(self) -> bytes:
        """The kernels that TensorRT-RTX has compiled for this GPU so far, for a quicker start next time."""
        return b"" if self._cache is None else bytes(self._cache.serialize())

    def layers(self) -> list[Any]:
        """The layers as they run, as the library describes them."""
        inspector = self._engine.create_engine_inspector()
        report = inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)
        layers: list[Any] = json.loads(report)["Layers"]
        return layers

    def failure(self, action: str, errors: Sequence[str], remedy: str) -> BackendError:
        reasons = "; ".join(dict.fromkeys(errors)) or "it gives no reason"
        return BackendError(f"{bindings.title(self.target)} cannot {action} {self.name} ({reasons}): {remedy}")

    def _names(self) -> list[str]:
        return [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]

    def _tensor(self, name: str) -> Tensor:
        engine = self._engine
        if engine.get_tensor_location(name) != self._trt.TensorLocation.DEVICE:
            raise BackendError(
                f"{self.name} reads or writes {name} on the host; expected device memory: build it again"
            )
        is_input = engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT
        return Tensor(type_name(engine.get_tensor_dtype(name)), tuple(engine.get_tensor_shape(name)), is_input)

    def _new_cache(self, content: bytes) -> tensorrt.IRuntimeCache | None:
        """Make a runtime cache for TensorRT-RTX, which compiles kernels when it first needs them. Contexts share it."""
        if self.target != "tensorrt-rtx":
            return None
        cache = self._engine.create_runtime_config().create_runtime_cache()
        if content:
            cache.deserialize(content)  # of another GPU, driver or version it is refused, and filled afresh
        return cache

    def _strategy(self) -> tensorrt.ExecutionContextAllocationStrategy | tensorrt.IRuntimeConfig:
        """Let the caller provide scratch memory and capture CUDA graphs."""
        managed = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if self.target != "tensorrt-rtx":
            return managed
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(managed)
        config.cuda_graph_strategy = self._trt.CudaGraphStrategy.DISABLED
        # Kernels that are exchanged later would not be exchanged in a captured graph.
        config.dynamic_shapes_kernel_specialization_strategy = self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
        if self._cache is not None:
            config.set_runtime_cache(self._cache)
        return config


class Context:
    """Puts a plan's work on a CUDA stream. Made by `LoadedPlan.context`."""

    def __init__(self, plan: LoadedPlan, native: tensorrt.IExecutionContext) -> None:
        self._plan, self._native, self._log = plan, native, plan._log

    def bind(self, addresses: Mapping[str, int], shapes: Mapping[str, Sequence[int]] | None = None) -> None:
        """Set the device addresses of all inputs and outputs, and the shapes of inputs without a fixed shape.

        The first `enqueue` after it does deferred work and cannot be captured.
        """
        expected = self._plan.tensors.keys()
        if addresses.keys() != expected:
            raise BackendError(
                f"{self._plan.name} has the tensors {', '.join(sorted(expected))}; addresses are given of "
                f"{', '.join(sorted(addresses))}"
            )
        with self._log.recorded() as errors:
            bound = [self._native.set_input_shape(name, tuple(shape)) for name, shape in (shapes or {}).items()]
            bound += [self._native.set_tensor_address(name, int(address)) for name, address in addresses.items()]
            missing = self._native.infer_shapes() if all(bound) else []
        if missing or not all(bound):
            errors += [f"the shape of {name} is not given" for name in missing]
            raise self._plan.failure("bind the tensors of", errors, "give every input a shape within its bounds")

    def use_scratch(self, address: int, size: int) -> None:
        """Set the scratch memory on the device. Contexts that never run at the same time may share it."""
        if address % _ALIGNMENT or size < self._plan.scratch_size:
            raise BackendError(
                f"{self._plan.name} is given {size} bytes of scratch memory at {address:#x}; expected at least "
                f"{self._plan.scratch_size}, at a multiple of {_ALIGNMENT}"
            )
        self._native.set_device_memory(address, size)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor with the input shapes that are bound."""
        return tuple(self._native.get_tensor_shape(name))

    def can_capture(self, cuda_stream: int) -> bool:
        """Report if `enqueue` can be captured into a CUDA graph now. TensorRT does not report it; it fails instead."""
        return not hasattr(self._native, "is_stream_capturable") or bool(self._native.is_stream_capturable(cuda_stream))

    def enqueue(self, cuda_stream: int) -> None:
        """Put the work on a CUDA stream and return. The buffers are in use until that work is done."""
        with self._log.recorded() as errors:
            done = self._native.execute_async_v3(cuda_stream)
        if not done:
            raise self._plan.failure("run", errors, "see what nvidia-smi says of the GPU")


def type_name(kind: tensorrt.DataType) -> str:
    """A TensorRT data type by numpy's name."""
    return _TYPES.get(kind.name, kind.name.lower())
