"""Inputs that broke something once: tests/hostile/<target>/<what it is>."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from fuzz.target import HOSTILE, Target, hostile, names

FOUND = [(name, path) for name in names() for path in hostile(name)]


@functools.cache
def target(name: str) -> Target:
    return Target(name)


@pytest.mark.parametrize(("name", "path"), FOUND, ids=[f"{name}-{path.name}" for name, path in FOUND])
def test_it_is_accepted_or_refused(name: str, path: Path) -> None:
    assert target(name).attack(path.read_bytes()) in (True, False)


def test_every_folder_is_of_a_target() -> None:
    folders = {path.name for path in HOSTILE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= set(names())
