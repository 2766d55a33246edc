"""Fetch and build everything that a GPU machine without a network lacks, into folders of limited size.

    python -m tools.gpu_day.prepare --python PYTHON --headers FOLDER [KIND…]

Run it with an environment that can build engines (`make demo`). PYTHON is a Python of the version that the GPU machine
has. FOLDER has TensorRT's headers, of the major version of the library. The folders lie in build/gpu-day, which git
ignores; README.md beside this script says in which order to bring them.

    kit           wheels, weights, pictures, the core and the plugins built for the GPU, TensorRT's headers
    onnxruntime   ONNX Runtime with CUDA, with one architecture's machine code
    tensorrt      TensorRT and its bindings: NVIDIA's, under NVIDIA's licence; never passed on
    video         the wheel that decodes videos
"""

from __future__ import annotations

import argparse
import operator
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import machine
from tools.gpu_day import slim
from tools.gpu_day.archive import Archive, pack, read_list, write_list
from tools.gpu_day.steps.core import HASH, sources_hash

ROOT: Final = Path(__file__).resolve().parents[2]
OUT: Final = ROOT / "build" / "gpu-day"
KINDS: Final = ("kit", "onnxruntime", "tensorrt", "video")
WHEELS: Final = ("cuda-core", "cuda-bindings", "cuda-pathfinder", "platformdirs")
TOOLS: Final = ("cmake", "ninja", "pybind11", "numpy")  # which build the core
MODELS: Final = ("rvm-mobilenetv3", "u2netp")
ONNXRUNTIME: Final = "onnxruntime-gpu==1.31.1"
TENSORRT: Final = "10.15"
UNUSED: Final = ("transformers", "quantization", "tools", "datasets", "capi/libonnxruntime_providers_tensorrt.so")
_MIB: Final = 1 << 20


class Target(NamedTuple):
    """What the GPU machine has, and how much it can be brought at once."""

    python: Path
    architecture: int
    piece: int  # bytes


def main() -> int:
    parser = argparse.ArgumentParser(description="Prepare a day on a GPU machine without a network.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"what to prepare: {', '.join(KINDS)} (all)")
    parser.add_argument("--python", type=Path, required=True, help="a Python of the GPU machine's version")
    parser.add_argument("--headers", type=Path, help="the folder of TensorRT's headers; left out, there are no plugins")
    parser.add_argument("--architecture", type=int, default=90, help="of the GPU, as in 90 for sm_90 (90)")
    parser.add_argument("--piece", type=int, default=46, metavar="MIB", help="the size of a piece at most (46)")
    arguments = parser.parse_args()
    if unknown := set(arguments.kinds) - set(KINDS):
        parser.error(f"cannot prepare {', '.join(sorted(unknown))}; expected {', '.join(KINDS)}")
    os.chdir(ROOT)
    OUT.mkdir(parents=True, exist_ok=True)
    target = Target(arguments.python.absolute(), arguments.architecture, arguments.piece * _MIB)
    kinds = arguments.kinds or KINDS
    archives = {each.name: each for each in read_list(OUT / "archives.json")}
    for name, prepare in (("onnxruntime", prepare_onnxruntime), ("tensorrt", prepare_tensorrt)):
        if name in kinds:
            archives[name] = prepare(target)
            write_list(list(archives.values()), OUT / "archives.json")
    if "video" in kinds:
        download(target, _new(OUT / "video") / "wheels", pinned("av", _version(target.python)))
    if "kit" in kinds:
        prepare_kit(target, arguments.headers)
    if (OUT / "kit").is_dir() and (OUT / "archives.json").is_file():  # the kit travels first
        shutil.copy(OUT / "archives.json", OUT / "kit")
    for folder in sorted(path for path in OUT.iterdir() if path.is_dir()):
        print(f"{folder.relative_to(ROOT)}  {size(folder) / _MIB:.1f} MiB")
    return 0


def prepare_kit(target: Target, headers: Path | None) -> None:
    kit = _new(OUT / "kit")
    (kit / "commit.txt").write_text(machine.commit() + "\n")
    version = _version(target.python)
    download(target, kit / "wheels", *(pinned(name, version) for name in WHEELS))
    fill_cache(kit / "cache")
    if headers is not None:
        include = headers / "include" if (headers / "include").is_dir() else headers
        shutil.copytree(include, kit / "headers" / "include")
    build_core(target, kit)


def fill_cache(cache: Path) -> None:
    """Weights and pictures, where trtmatte and its tests look for them."""
    script = (
        f"from tests import real_models as models; [models.model(name) for name in {MODELS}];"
        "models.clip_file(); models.photograph()"
    )
    environment = {**os.environ, "TRTMATTE_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


def build_core(target: Target, kit: Path) -> None:
    """The core and the plugins, built by tools/gpu_check.sh as on the GPU machine."""
    with tempfile.TemporaryDirectory() as scratch:
        tools = Path(scratch) / "tools"
        subprocess.run([target.python, "-m", "venv", tools], check=True)
        python = tools / "bin" / "python"
        install: list[Path | str] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *(pinned(name, _version(target.python)) for name in TOOLS)], check=True)
        major, minor = divmod(target.architecture, 10)
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(tools / "bin"), os.environ["PATH"]]),
            "PYTHON": str(python),
            "CAPABILITY": f"{major}.{minor}",
            **({"TensorRT_ROOT": str(kit / "headers")} if (kit / "headers").is_dir() else {}),
        }
        shutil.rmtree(ROOT / "build" / "gpu", ignore_errors=True)
        done = subprocess.run(["tools/gpu_check.sh", "out/gpu-day/prepare", "build"], env=environment, check=False)
    if done.returncode:
        raise SystemExit("the core could not be built: CUDACXX names nvcc, which tools/install_nvcc.py fetches")
    core = kit / "core"
    core.mkdir()
    (core / HASH).write_text(sources_hash(ROOT))
    for pattern in ("_core*.so", "libtrtmatte_plugins.so", "plugin_test"):
        for file in (ROOT / "build" / "gpu").glob(pattern):
            shutil.copy(file, core)


def prepare_onnxruntime(target: Target) -> Archive:
    """Leave out the machine code of other GPUs, and what is not needed to run a model."""
    with tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch) / "site"
        download(target, Path(scratch), ONNXRUNTIME)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as contents:
            contents.extractall(site)
        package = site / "onnxruntime"
        for name in UNUSED:
            shutil.rmtree(package / name, ignore_errors=True)
            (package / name).unlink(missing_ok=True)
        library = package / "capi" / "libonnxruntime_providers_cuda.so"
        slimmed, found = slim.slim(library.read_bytes(), target.architecture)
        print(f"onnxruntime: {found}")
        library.write_bytes(slimmed)
        return pack(site, "onnxruntime", OUT, target.piece)


def prepare_tensorrt(target: Target) -> Archive:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "tensorrt"
        script = [sys.executable, "tools/fetch_tensorrt.py", TENSORRT, str(folder), "--python", _version(target.python)]
        subprocess.run(script, check=True)
        return pack(folder, "tensorrt", OUT, target.piece, "-2")  # a higher level takes much longer, and saves little


def download(target: Target, folder: Path, *requirements: str) -> None:
    """Wheels for the GPU machine's Python, without those that they depend on."""
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    subprocess.run([target.python, "-m", "pip", "download", *options, *requirements], check=True)


def pinned(name: str, python: str) -> str:
    """The requirement of a package as `requirements/` pins it for this Python; its name alone if it is not there."""
    for path in (ROOT / "requirements" / f"{each}.txt" for each in ("build", "run", "test")):
        for line in path.read_text().splitlines():
            requirement, _, condition = line.partition(";")
            if requirement.startswith(f"{name}==") and _holds(condition, python):
                return requirement.strip()
    return name


def _holds(condition: str, python: str) -> bool:
    compare = {">=": operator.ge, "<": operator.lt, "==": operator.eq}
    limits = re.findall(r'python_version (>=|<|==) "([\d.]+)"', condition)
    return all(compare[sign](_numbers(python), _numbers(limit)) for sign, limit in limits)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _version(python: Path) -> str:
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def _new(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
