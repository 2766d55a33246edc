"""The layers of csrc/: which folders and files may include which, read from the #include lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.circles import find_circle

CSRC = Path(__file__).parents[2] / "csrc"
SUFFIXES = {".h", ".cpp", ".cu", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)

# Each layer and the layers that it may include, besides itself.
LAYERS = {
    "base": set(),
    "runtime": {"base"},
    "ops/list.h": set(),
    "ops/math": {"base"},
    "ops/cpu": {"ops/math", "ops/list.h", "base"},
    "ops/cuda": {"ops/math", "base"},
    "op": {"ops/math", "base"},
    "op, CPU form": {"op", "ops/cpu", "ops/math", "base"},
    "op, CUDA form": {"op", "ops/cuda", "ops/math", "base"},
    "bindings": {"ops/list.h", "ops/math", "ops/cpu", "runtime", "base"},
    "op, binding": {"op", "bindings", "ops/math", "runtime", "base"},
    "plugins": {"ops/list.h", "ops/math", "base"},
    "op, plugin": {"op", "plugins", "ops/math", "base"},
}
FORMS = {"_cpu.cpp": "CPU form", "_cuda.cu": "CUDA form", "_binding.cpp": "binding", "_plugin.cpp": "plugin"}
OP_FILES = {*FORMS, ".h", "_math.h"}

# Headers of other libraries, and the layers that may include them.
LIBRARIES = {
    r"pybind11/|Python\.h": {"bindings", "op, binding"},
    r"NvInfer": {"plugins", "op, plugin"},
    r"immintrin\.h": {"ops/cpu"},
    r"cuda": {"base", "runtime", "ops/math", "ops/cuda", "op, CUDA form"},
}


def layer_of(path: str) -> str:
    folder, _, name = path.rpartition("/")
    op = folder.removeprefix("ops/")
    if path in LAYERS or folder in LAYERS:
        return path if path in LAYERS else folder
    if not folder.startswith("ops/") or "/" in op:
        raise ValueError(f"csrc/{path} belongs to no layer")
    ending = name.removeprefix(op)
    if not name.startswith(op) or ending not in OP_FILES:
        raise ValueError(f"csrc/{path} is not a file of the op {op}; expected {op} with one of {sorted(OP_FILES)}")
    return f"op, {FORMS[ending]}" if ending in FORMS else "op"


def read_sources() -> dict[str, str]:
    paths = [path for path in CSRC.rglob("*") if path.suffix in SUFFIXES]
    return {path.relative_to(CSRC).as_posix(): path.read_text() for path in paths}


def violations(sources: dict[str, str]) -> list[str]:
    """Includes that the layers forbid, as `from -> to: why`."""
    found = []
    for source, text in sources.items():
        layer = layer_of(source)
        for own, foreign in INCLUDE.findall(text):
            if foreign:
                for pattern, allowed in LIBRARIES.items():
                    if re.match(pattern, foreign) and layer not in allowed:
                        found.append(f"{source} -> {foreign}: only for {', '.join(sorted(allowed))}")
            elif own not in sources:
                found.append(f"{source} -> {own}: not a path below csrc/")
            elif layer_of(own) not in {layer, *LAYERS[layer]}:
                found.append(f"{source} -> {own}: {layer} may not include {layer_of(own)}")
            elif layer.startswith("op") and layer_of(own) == "op" and Path(own).parent != Path(source).parent:
                found.append(f"{source} -> {own}: an op may not include another op")
    return found


def edges(sources: dict[str, str]) -> dict[str, set[str]]:
    """The files that each file includes."""
    return {source: {own for own, _ in INCLUDE.findall(text)} & sources.keys() for source, text in sources.items()}


def listed_ops() -> list[str]:
    return re.findall(r"^ +X\((\w+),", (CSRC / "ops/list.h").read_text(), re.MULTILINE)


def test_no_include_runs_up() -> None:
    assert violations(read_sources()) == []


def test_no_circle() -> None:
    assert find_circle(edges(read_sources())) == []


def test_layers_name_only_layers() -> None:
    assert {name for allowed in LAYERS.values() for name in allowed} <= LAYERS.keys()
    assert {name for allowed in LIBRARIES.values() for name in allowed} <= LAYERS.keys()


def test_an_op_is_one_line_and_one_folder() -> None:
    shared = {"math", "cpu", "cuda"}
    folders = {path.name for path in (CSRC / "ops").iterdir() if path.is_dir()} - shared
    assert folders == set(listed_ops())
    for op in listed_ops():
        files = {path.name for path in (CSRC / "ops" / op).iterdir()}
        assert files >= {f"{op}{ending}" for ending in (".h", *FORMS)}


@pytest.mark.parametrize("op", listed_ops())
def test_only_its_folder_and_the_list_name_an_op(op: str) -> None:
    named = {source for source, text in read_sources().items() if re.search(rf"\b{op}\b", text)}
    assert {source for source in named if not source.startswith(f"ops/{op}/")} == {"ops/list.h"}


@pytest.mark.parametrize(
    ("source", "include", "reason"),
    [
        ("base/view.h", '"ops/math/axis.h"', "base may not include ops/math"),
        ("ops/math/axis.h", '"ops/cpu/simd.h"', "ops/math may not include ops/cpu"),
        ("ops/cpu/lines.h", '"ops/cuda/matte.cuh"', "ops/cpu may not include ops/cuda"),
        ("ops/cpu/dispatch.cpp", '"ops/patch_crop/patch_crop.h"', "ops/cpu may not include op"),
        ("ops/patch_crop/patch_crop.h", '"ops/cpu/lines.h"', "op may not include ops/cpu"),
        ("ops/patch_crop/patch_crop_cpu.cpp", '"runtime/thread_pool.h"', "op, CPU form may not include runtime"),
        ("ops/patch_crop/patch_crop_cuda.cu", '"bindings/call.h"', "op, CUDA form may not include bindings"),
        ("ops/patch_crop/patch_crop_cpu.cpp", '"ops/patch_scatter/patch_scatter_math.h"', "may not include another op"),
        ("ops/patch_crop/patch_crop_plugin.cpp", '"bindings/call.h"', "op, plugin may not include bindings"),
        ("plugins/tensors.h", '"runtime/thread_pool.h"', "plugins may not include runtime"),
        ("runtime/thread_pool.h", '"ops/math/axis.h"', "runtime may not include ops/math"),
        ("plugins/tensors.h", "<pybind11/pybind11.h>", "only for bindings"),
        ("ops/math/axis.h", "<NvInferRuntime.h>", "only for op, plugin, plugins"),
        ("ops/cpu/matte.h", "<cuda_runtime.h>", "only for base"),
        ("bindings/array.h", '"array.h"', "not a path below csrc/"),
    ],
)
def test_an_include_that_runs_up_is_found(source: str, include: str, reason: str) -> None:
    sources = read_sources()
    sources[source] += f"#include {include}\n"
    (violation,) = violations(sources)
    assert violation.startswith(f"{source} -> ")
    assert reason in violation


def test_a_circle_is_found() -> None:
    sources = read_sources()
    sources["base/host_device.h"] += '#include "ops/math/axis.h"\n'
    circle = find_circle(edges(sources))
    assert circle[0] == circle[-1]
    assert "base/host_device.h" in circle


def test_files_outside_of_all_layers_are_found() -> None:
    with pytest.raises(ValueError, match="belongs to no layer"):
        layer_of("extra/file.h")
    with pytest.raises(ValueError, match="is not a file of the op"):
        layer_of("ops/patch_crop/helpers.h")


@pytest.mark.parametrize("path", [path for path in sorted(CSRC.rglob("*")) if path.suffix in {".cu", ".cuh"}], ids=str)
def test_what_nvcc_compiles_has_no_exceptions_and_no_strings(path: Path) -> None:
    """In wheels its host compiler has another C++ library than the one that compiles the rest (`tools/wheels.py`)."""
    code = re.sub(r"//.*", "", path.read_text())
    assert not re.search(r"\b(throw|try|catch)\b|std::(string|vector|map|function)\b", code), path
