"""The floors of `python/trtmatte` (`docs/architecture.md`, "Rooms and floors"), read from all import statements.

Imports at the top of a file, inside functions and under `TYPE_CHECKING` count alike, and so do the names in
`importlib.import_module("trtmatte…")`.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

import trtmatte
from tests.circles import find_circle

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python/trtmatte"
FACE: Final = "trtmatte"

FLOORS: Final = (  # the lowest first; a room may import rooms on lower floors, and no other room on its own
    {"errors", "version", "_core"},
    {"support", "plugins"},
    {"models", "format"},
    {"backends", "ops", "media"},
    {"compiler", "runtime"},
    {"reports"},
    {"api", "families"},
    {"apps"},
    {"serve"},
    {"cli"},
    {FACE, "__main__"},
)
INNER_FLOORS: Final = {  # the same within a room; its other files are on top
    "compiler": ({"graph", "weights"}, {"families"}),
    "runtime": ({"choice"}, {"networks"}, {"session"}),
    "format": (
        {"archive", "outputs", "stages", "values"},
        {"manifest", "onnx_file", "op_forms"},
        {"validate"},
        {"program"},
        {"file"},
    ),
}
HIDDEN: Final = {  # rooms, and the rooms that they must not reach, not even through others
    "runtime": {"compiler", "models", "reports", "api"},
    "backends": {"compiler", "models", "runtime", "reports", "api"},
    "compiler": {"runtime", "media", "reports", "api"},
    "format": {"backends", "ops", "compiler", "runtime"},
}
SHARED_BY_FAMILIES: Final = {"shared"}

Sources = Mapping[str, str]
"""The text of each module by its name, such as `trtmatte.format.file`."""


def read_sources() -> dict[str, str]:
    paths = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")]
    names = {path: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths}
    return {name.removesuffix(".__init__"): path.read_text("utf-8") for path, name in names.items()}


def imports(name: str, sources: Sources) -> Iterator[str]:
    """The modules of the package that a module imports. A name that is no module stands for what holds it."""
    for node in ast.walk(ast.parse(sources[name])):
        found = []
        if isinstance(node, ast.Import):
            found = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import in line {node.lineno}; write the whole name"
            found = [f"{node.module}.{each.name}" for each in node.names]
        elif isinstance(node, ast.Call) and node.args and "import_module" in ast.unparse(node.func):
            argument = node.args[0]
            found = [argument.value] if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else []
        for each in found:
            if each.split(".")[0] == FACE:
                yield each if each in sources else each.rpartition(".")[0] or each


def edges(sources: Sources) -> dict[str, set[str]]:
    return {name: set(imports(name, sources)) - {name} for name in sources}


def room_of(name: str, depth: int = 1) -> str:
    """`format` of `trtmatte.format.file` at depth 1, `file` at depth 2; empty for what is not that deep."""
    parts = name.split(".")
    if depth == 1 and len(parts) == 1:
        return FACE
    return parts[depth] if len(parts) > depth else ""


def floor_of(room: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"the room {room} is on no floor; add it to FLOORS and to docs/architecture.md")


def inner_floor_of(name: str) -> int:
    """The floor of a file in its room. Files that no inner floor names are on top."""
    floors = INNER_FLOORS[room_of(name)]
    numbers = [number for number, rooms in enumerate(floors) if room_of(name, 2) in rooms]
    return numbers[0] if numbers else len(floors)


def violations(sources: Sources) -> list[str]:
    """Imports that the floors forbid, as `from -> to: why`."""
    found = []
    for source, targets in edges(sources).items():
        room = room_of(source)
        for target in targets:
            other = room_of(target)
            if target not in sources:
                found.append(f"{source} -> {target}: no such module")
            elif other != room and floor_of(other) >= floor_of(room):
                found.append(f"{source} -> {target}: {other} is not below {room}")
            elif other == room and room in INNER_FLOORS and inner_floor_of(target) > inner_floor_of(source):
                found.append(f"{source} -> {target}: {room_of(target, 2)} is above {room_of(source, 2)}")
            elif family_of(target) not in {"", family_of(source), *SHARED_BY_FAMILIES}:
                found.append(f"{source} -> {target}: only the registry knows a family")
    return sorted(found)


def family_of(name: str) -> str:
    """The folder of a family that a file is in; empty for other files."""
    in_families = name.startswith(f"{FACE}.compiler.families.")
    folder = room_of(name, 3)
    is_folder = in_families and (PACKAGE / "compiler/families" / folder).is_dir()
    return folder if is_folder else ""


def reached_from(room: str, graph: Mapping[str, set[str]]) -> set[str]:
    """The rooms that the files of a room import, directly or through others."""
    seen: set[str] = set()
    waiting = [name for name in graph if room_of(name) == room]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph.get(name, ())
    return {room_of(name) for name in seen}


# ---------------------------------------------------------------------------------------------------------------------
# The package


def test_no_import_runs_up():
    assert violations(read_sources()) == []


def test_no_circle():
    assert find_circle(edges(read_sources())) == []


@pytest.mark.parametrize("room", HIDDEN)
def test_rooms_that_must_not_be_reached(room):
    assert not reached_from(room, edges(read_sources())) & HIDDEN[room]


def test_floors_are_those_of_the_package():
    rooms = {room_of(name) for name in read_sources()}
    assert {room for floor in FLOORS for room in floor} == rooms


def test_floors_are_those_of_the_document():
    """The drawing in docs/architecture.md has the floors with their numbers."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    drawing = text.split("## Rooms and floors")[1].split("```")[1]
    parts = re.split(r"^ ?(\d+)  ", drawing, flags=re.MULTILINE)[1:]
    drawn = dict(zip(map(int, parts[::2]), parts[1::2], strict=True))
    assert sorted(drawn) == list(range(1, len(FLOORS)))
    for number, rooms in enumerate(FLOORS[:-1], 1):
        for room in rooms:
            assert re.search(rf"(?<![\w/]){room}(?:/|\.py|\b)", drawn[number]), f"{room} is not on floor {number}"


# ---------------------------------------------------------------------------------------------------------------------
# The rules themselves


UPWARDS: Final = [
    "from trtmatte.compiler import plans",
    "import trtmatte.compiler.plans",
    "def f():\n    from trtmatte.compiler.plans import make",
    "if TYPE_CHECKING:\n    from trtmatte.compiler.plans import make",
    'importlib.import_module("trtmatte.compiler.plans")',
    'import_module("trtmatte.compiler.plans")',
]


@pytest.mark.parametrize("statement", UPWARDS)
def test_an_import_that_runs_up_is_found(statement):
    sources = {"trtmatte.backends.cuda": statement, "trtmatte.compiler.plans": "", "trtmatte.compiler": ""}
    assert violations(sources) == ["trtmatte.backends.cuda -> trtmatte.compiler.plans: compiler is not below backends"]


def test_imports_that_other_rules_forbid_are_found():
    sources = {
        "trtmatte": "",
        "trtmatte.compiler.plans": "import trtmatte.runtime.choice",
        "trtmatte.compiler.graph.cut": "from trtmatte.compiler.plans import make",
        "trtmatte.compiler.families.rvm.spec": "from trtmatte.compiler.families.modnet.spec import NAME",
        "trtmatte.compiler.families.modnet.spec": "from trtmatte import build",
        "trtmatte.runtime.choice": "import trtmatte.nowhere",
    }
    assert [text.split(": ")[1] for text in violations(sources)] == [
        "trtmatte is not below compiler",
        "only the registry knows a family",
        "plans is above graph",
        "runtime is not below compiler",
        "trtmatte is not below runtime",
    ]


def test_a_circle_is_found():
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_a_room_is_reached_through_others():
    graph = {"trtmatte.runtime.a": {"trtmatte.format.b"}, "trtmatte.format.b": {"trtmatte.api"}, "trtmatte.api": set()}
    assert reached_from("runtime", graph) == {"runtime", "format", "api"}


# ---------------------------------------------------------------------------------------------------------------------
# Importing


def run_python(code: str) -> str:
    """The output of a fresh interpreter. The package is the one under test."""
    environment = {**os.environ, "PYTHONPATH": str(Path(trtmatte.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_the_lowest_floor_alone():
    """Beyond what numpy loads, `import trtmatte` loads modules of the standard library and these."""
    code = "import numpy, sys; before = set(sys.modules); import trtmatte; print(*sorted(set(sys.modules) - before))"
    loaded = run_python(code).split()
    ours = {name for name in loaded if name.split(".")[0] == FACE}
    assert ours == {"trtmatte", "trtmatte._core", "trtmatte.errors", "trtmatte.version"}
    others = {name.split(".")[0] for name in loaded} - {FACE}
    assert others <= sys.stdlib_module_names | {"pybind11_builtins"}


RUNS_WITHOUT_COMPILER: Final = """
import sys
import trtmatte.runtime.session, trtmatte.runtime.session.cuda.executor
from trtmatte.backends import registry
registry.all_backends()
print(*(name for name in sys.modules if name.startswith(("trtmatte.compiler", "onnx.", "torch."))))
"""


def test_the_runtime_loads_no_compiler():
    """Not even when every backend is looked up."""
    assert run_python(RUNS_WITHOUT_COMPILER).split() == []
