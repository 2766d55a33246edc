"""Builds of the plugin library with the CUDA forms compiled for the CPU, one for each version of TensorRT's headers."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
EMULATED = "-DTRTMATTE_CUDA=EMULATED"
HEADERS = "TensorRT_ROOT"  # as CMake spells it
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("TRTMATTE_", "TensorRT_"))},
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
}


def headers() -> list[Path]:
    """The folders with TensorRT's headers, the newest version last."""
    if named := os.environ.get(HEADERS):
        return [next((each for each in (Path(named, "include"), Path(named)) if each.is_dir()), Path(named))]
    fetched = (ROOT / "build").glob("tensorrt-*/include")
    return sorted(fetched, key=lambda path: [int(part) for part in path.parent.name[9:].split(".")])


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, env={**ENVIRONMENT, **environment}, cwd=ROOT)


def configure(build: Path, *settings: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import pybind11

    found = [f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]
    return run("cmake", "-S", ROOT, "-B", build, "-G", "Ninja", *found, *settings, **environment)


def library(include: Path) -> Path:
    """The plugin library with these headers, beside what tests it."""
    folder = ROOT / "build" / f"plugins-{include.parent.name.removeprefix('tensorrt-')}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest's workers build one after the other
        done = configure(folder, EMULATED, "-DTRTMATTE_PLUGINS=ON", f"-D{HEADERS}={include}")
        assert done.returncode == 0, done.stderr
        done = run("cmake", "--build", folder, "--target", "trtmatte_plugins", "plugin_test", "plugin_lives")
        assert done.returncode == 0, done.stdout
    return folder / "libtrtmatte_plugins.so"
