"""Writes typings/tensorrt.pyi: the part of TensorRT's Python module that trtmatte calls, with the types of arguments.

    python tools/tensorrt_stub.py                     # from the installed TensorRT and TensorRT-RTX
    python tools/tensorrt_stub.py --check tensorrt    # compare the file with an installed module

The bindings name their types in docstrings alone. mypy compares our calls with the file, and `--check` compares the
file with a version of the bindings. A name that trtmatte begins to use has to be added to `USED` or `ENUMS`.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STUB = Path(__file__).resolve().parents[1] / "typings" / "tensorrt.pyi"

# A method with several forms is named with the arguments of the form that we call; `=` follows what we assign to.
USED = {
    "Builder": "__init__ build_serialized_network(network,config) create_builder_config create_network "
    "create_optimization_profile",
    "EngineInspector": "get_engine_information",
    "IBuilderConfig": "add_optimization_profile clear_flag create_timing_cache get_timing_cache "
    "num_compute_capabilities= profiling_verbosity= progress_monitor= set_compute_capability set_flag set_timing_cache",
    "ICudaEngine": "create_engine_inspector create_execution_context(strategy) "
    "create_execution_context(runtime_config) create_runtime_config device_memory_size_v2 get_tensor_dtype "
    "get_tensor_location get_tensor_mode get_tensor_name get_tensor_shape num_io_tensors",
    "IExecutionContext": "execute_async_v3 get_tensor_shape infer_shapes is_stream_capturable set_device_memory "
    "set_input_shape set_tensor_address",
    "IHostMemory": "nbytes",
    "ILayer": "metadata name type",
    "ILogger": "__init__ log",
    "INetworkDefinition": "get_input get_layer get_output num_inputs num_layers num_outputs",
    "IOptimizationProfile": "set_shape",
    "IPluginRegistry": "load_library",
    "IProgressMonitor": "__init__ phase_finish phase_start step_complete",
    "IRuntimeCache": "deserialize serialize",
    "IRuntimeConfig": "create_runtime_cache cuda_graph_strategy= dynamic_shapes_kernel_specialization_strategy= "
    "set_execution_context_allocation_strategy set_runtime_cache",
    "ITensor": "dtype name shape",
    "ITimingCache": "serialize",
    "OnnxParser": "__init__ get_error num_errors parse",
    "ParserError": "desc node node_name node_operator",
    "Runtime": "__init__ deserialize_cuda_engine(serialized_engine)",
}
ENUMS = {
    "BuilderFlag": "TF32",
    "ComputeCapability": "CURRENT SM86 SM89 SM120",
    "CudaGraphStrategy": "DISABLED",
    "DataType": "FLOAT HALF INT32",
    "DynamicShapesKernelSpecializationStrategy": "EAGER LAZY",
    "ExecutionContextAllocationStrategy": "STATIC USER_MANAGED",
    "LayerInformationFormat": "JSON",
    "LayerType": "CONVOLUTION PLUGIN_V3",
    "NetworkDefinitionCreationFlag": "STRONGLY_TYPED",
    "ProfilingVerbosity": "DETAILED",
    "TensorIOMode": "INPUT OUTPUT",
    "TensorLocation": "DEVICE HOST",
}
ONLY_RTX = {
    "ComputeCapability",
    "CudaGraphStrategy",
    "DynamicShapesKernelSpecializationStrategy",
    "IBuilderConfig.num_compute_capabilities=",
    "IBuilderConfig.set_compute_capability",
    "ICudaEngine.create_execution_context(runtime_config)",
    "ICudaEngine.create_runtime_config",
    "IExecutionContext.is_stream_capturable",
    "IRuntimeCache",
    "IRuntimeConfig",
}
SEVERITIES = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO")
HEAD = '''"""The part of TensorRT's and TensorRT-RTX's Python modules that trtmatte calls, for mypy.

tools/tensorrt_stub.py writes this file.
"""

import sys
from collections.abc import Sequence
from typing import Any, Protocol, overload

import tensorrt
from typing_extensions import Buffer

__version__: str
Dims = Sequence[int]  # what the bindings take for it

class _Enum:
    __members__: dict[str, Any]
    name: str
    def __int__(self) -> int: ...

class _Memory(Buffer):
    if sys.version_info >= (3, 12):
        def __buffer__(self, flags: int, /) -> memoryview: ...

def get_plugin_registry() -> IPluginRegistry: ...
'''
# The names of the bindings' types: with the module, as C++ spells them, or as other versions of pybind11 or Python do.
SPELLINGS = {
    r"(\w+\.)*(tensorrt|tensorrt_rtx)\.|nvinfer1::|nvonnxparser::": "",
    r"\b(typing_extensions|typing|collections\.abc|types)\.": "",
    r"\bbuffer\b": "Buffer",
    r"\bSupportsInt( \| SupportsIndex)?\b": "int",
    r"\b(capsule|CapsuleType)\b": "object",
    r"\bList\b": "list",
    r"\btuple\b": "tuple[int, ...]",
    r"\bIParserError\b": "ParserError",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the stub of TensorRT's module, or check it.")
    parser.add_argument("--check", choices=("tensorrt", "tensorrt_rtx"), help="compare the stub with this module")
    name = parser.parse_args().check
    if name is None:
        STUB.parent.mkdir(exist_ok=True)
        STUB.write_text(stub(importlib.import_module("tensorrt"), importlib.import_module("tensorrt_rtx")))
        return 0
    module = importlib.import_module(name)
    wrong = list(differences(module, rtx=name == "tensorrt_rtx"))
    print("\n".join(wrong) or f"typings/tensorrt.pyi describes {name} {module.__version__}")
    return 1 if wrong else 0


def stub(tensorrt: Any, rtx: Any) -> str:
    """The stub's text: what TensorRT has as it has it, the rest as TensorRT-RTX has it."""
    parts = [HEAD]
    modules = ["class Module(Protocol):  # a module as an object, which Python has no type for", "    __version__: str"]
    for kind, names in sorted({**USED, **ENUMS}.items()):
        base = "(_Enum)" if kind in ENUMS else "(_Memory)" if kind == "IHostMemory" else ""
        lines = [f"class {kind}{base}:"]
        if kind == "ILogger":
            lines += ["    class Severity(_Enum): ...", *(f"    {each}: ILogger.Severity" for each in SEVERITIES)]
        for name in names.split():
            module = rtx if {kind, f"{kind}.{name}"} & ONLY_RTX else tensorrt
            form = f"{name}: {kind}" if kind in ENUMS else _chosen(module, kind, name)
            lines += ["    @overload"] * (names.count(name.partition("(")[0] + "(") > 1)
            lines += [f"    {line}" for line in form.splitlines()]
        parts.append("\n".join(lines) + "\n")
        modules.append(f"    {kind}: type[tensorrt.{kind}]")
    modules += ["    def __hash__(self) -> int: ..."]
    modules += ["    def get_plugin_registry(self) -> tensorrt.IPluginRegistry: ..."]
    return "\n".join([*parts, *modules]) + "\n"


def differences(module: Any, rtx: bool) -> Iterator[str]:
    """Each name of the stub that the module lacks or has with other types."""
    text = STUB.read_text()
    for kind, names in {**USED, **ENUMS}.items():
        for name in names.split():
            if {kind, f"{kind}.{name}"} & ONLY_RTX and not rtx:
                continue
            if not hasattr(getattr(module, kind, None), re.split("[(=]", name)[0]):
                yield f"{kind}.{name} is missing"
            elif kind in USED and f"\n{(found := _chosen(module, kind, name))}\n" not in _declared(text, kind):
                yield f"{kind}.{name} is {found!r}"
    yield from (f"ILogger.{each} is missing" for each in SEVERITIES if not hasattr(module.ILogger, each))


def _chosen(module: Any, kind: str, name: str) -> str:
    """The form of a method or property that we call, as Python declares it; empty if there is none."""
    assigned = name.endswith("=")
    name, _, arguments = name.rstrip("=)").partition("(")
    forms = [
        form for form in _forms(module, kind, name, assigned) if not arguments or f"self,{arguments}" == _names(form)
    ]
    return forms[0] if forms else ""


def _forms(module: Any, kind: str, name: str, assigned: bool) -> Iterator[str]:
    """All forms of a method or property, from its docstring."""
    attribute = getattr(getattr(module, kind), name)
    is_property = isinstance(attribute, property)
    for line in ((attribute.fget if is_property else attribute).__doc__ or "").splitlines():
        found = re.match(r"(?:\d+\. )?(\w*)\((.*)\) -> (.*)", _spelled(line))
        if found is None or found[1] not in (name, ""):
            continue
        if is_property:
            if not assigned:
                yield f"@property\ndef {name}(self) -> {found[3]}: ..."
            elif attribute.fset:
                yield f"{name}: {found[3]}"
        else:
            arguments = re.sub(r"^(self): [\w.]+", r"\1", found[2])
            arguments = re.sub(r" = (<.*?>|[\w']+)", " = ...", arguments)
            yield f"def {name}({arguments}) -> {found[3]}: ..."


def _names(form: str) -> str:
    """The arguments of a form by their names: `self,network,config`."""
    function = ast.parse(form).body[0]
    return ",".join(each.arg for each in function.args.args) if isinstance(function, ast.FunctionDef) else ""


def _declared(text: str, kind: str) -> str:
    """A class of the stub, without its indentation."""
    body = re.split(rf"\nclass {kind}\b.*:\n", text)[1].partition("\n\n")[0]
    return f"\n{textwrap.dedent(body)}\n"


def _spelled(line: str) -> str:
    for pattern, replacement in SPELLINGS.items():
        line = re.sub(pattern, replacement, line)
    return line


if __name__ == "__main__":
    raise SystemExit(main())
