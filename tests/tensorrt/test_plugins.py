"""The plugins in the real registry of TensorRT, which needs no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tensorrt import inside
from tests.tensorrt.libraries import LIBRARIES, alone, builds, environment, missing, other_builds

pytestmark = pytest.mark.parametrize("version", LIBRARIES)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with every node of our ops that the compiler writes."""
    from tests.tensorrt import nodes

    folder = tmp_path_factory.mktemp("nodes")
    lines = {nodes.line(node) for node in (*nodes.of_families(), *nodes.of_recipes(folder))}
    assert len({line.split()[0] for line in lines}) == 6
    path = folder / "nodes.txt"
    path.write_text("\n".join(sorted(lines)) + "\n")
    return path


@pytest.fixture
def libraries(version: str) -> list[Path]:
    """The plugin libraries that this version of TensorRT accepts."""
    environment(version)
    found = builds(version)
    if not found:
        missing(f"the headers of TensorRT {version.partition('.')[0]} are not here: `make tensorrt` fetches them")
    return found


@pytest.mark.slow  # all families and recipes are exported
def test_every_node_of_the_compiler_becomes_a_plugin(version: str, libraries: list[Path], nodes: Path) -> None:
    for library in libraries:
        alone(version, inside.every_node_lives, library, nodes)


@pytest.mark.slow
def test_every_wrong_field_is_refused(version: str, libraries: list[Path], nodes: Path) -> None:
    for library in libraries:
        alone(version, inside.wrong_fields_are_refused, library, nodes)


def test_loaded_twice_and_unloaded(version: str, libraries: list[Path]) -> None:
    for library in libraries:
        alone(version, inside.loaded_twice_and_unloaded, library)


@pytest.mark.parametrize("order", ["first", "last"])
def test_beside_the_plugins_of_nvidia(version: str, libraries: list[Path], order: str) -> None:
    for library in libraries:
        alone(version, inside.beside_the_plugins_of_nvidia, library, order)


def test_another_major_version_is_refused(version: str) -> None:
    environment(version)
    found = other_builds(version)
    if not found:
        missing("the headers of another major version of TensorRT are not here: `make tensorrt` fetches them")
    for library in found:
        alone(version, inside.another_major_version_is_refused, library)
