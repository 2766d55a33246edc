"""The versions of TensorRT that `make tensorrt` fetches. Each is used in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugin_library import ROOT, headers, library
from trtmatte import plugins

LIBRARIES = ("10.15", "11.2")  # of which the library itself can be had
BINDINGS = ("10.3", "10.15", "10.16", "11.2", "11.4")
FETCHED = ROOT / "build" / "tensorrt"


def environment(version: str) -> dict[str, str]:
    """An environment in which `import tensorrt` finds this version."""
    folder = FETCHED / version
    if not folder.is_dir():
        missing(f"TensorRT {version} is not here: `make tensorrt` fetches it")

    def first(name: str, path: Path) -> str:
        return os.pathsep.join([str(path), *filter(None, [os.environ.get(name)])])

    paths = {"LD_LIBRARY_PATH": first("LD_LIBRARY_PATH", folder / "lib")}
    return {**os.environ, **paths, "PYTHONPATH": first("PYTHONPATH", folder / "python")}


def run(version: str, *command: object, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python with this version of TensorRT."""
    words = [sys.executable, *map(str, command)]
    env = {**environment(version), **more}
    return subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, check=False)


def alone(version: str, function: Callable[..., None], *arguments: object) -> None:
    """Call a function of `inside` in a process with this version of TensorRT, whose registry nothing else has used."""
    code = f"import sys; from {function.__module__} import {function.__name__} as f; f(*sys.argv[1:])"
    done = run(version, "-c", code, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def builds(version: str) -> list[Path]:
    """The plugin libraries for this version: with all headers of its major version that are here."""
    return [each for each in _built() if _major(each) == version.partition(".")[0]]


def other_builds(version: str) -> list[Path]:
    """The plugin libraries for another major version."""
    return [each for each in _built() if _major(each) != version.partition(".")[0]]


def missing(reason: str) -> None:
    if os.environ.get("TRTMATTE_REQUIRE_TENSORRT") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _built() -> list[Path]:
    return [library(each) for each in headers()]


def _major(path: Path) -> str:
    return str(plugins.tensorrt_version(path)[0])
