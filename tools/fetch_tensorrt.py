"""Fetches the TensorRT library and its Python bindings, for a machine that need not have a GPU.

    python tools/fetch_tensorrt.py 10.15 FOLDER
    export LD_LIBRARY_PATH=… PYTHONPATH=…         # the last line that it prints

FOLDER gets `lib`, the libraries that building and running a plan need, and `python`, the bindings with the package
`tensorrt`. The library comes from Maven Central, the bindings from the package index. The downloads stay in trtmatte's
cache folder. `--python` names the Python version that will import the bindings.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from trtmatte.errors import DownloadError, SettingError, TrtmatteError
from trtmatte.models.download import sha256
from trtmatte.support.cache_folder import private_folder


class Release(NamedTuple):
    """One version of TensorRT, with the SHA256 of each download."""

    library: str  # the version of the Maven artifact org.bytedeco:tensorrt
    library_hash: str
    bindings: str  # the version of the wheel tensorrt-cu13-bindings
    bindings_hashes: dict[str, str]  # by Python version


RELEASES = {
    "10.15": Release(
        "10.15-1.5.13",
        "8543a6bda95c5d42141d409e1b74024b444e96334a3815d53997cc4ec3cfce83",
        "10.15.1.29",
        {
            "3.10": "af6a18dfe937d801474dbcf4a511771dc83991be9b2b1ef1cf519b8b631def46",
            "3.11": "54ce62c2489e1022d79113d2af0df516f4fac9b4e511be766b45bcfe2ee2acbb",
            "3.12": "7c17a2d83de68bb13531989d5f2edf4c2a7e710e41e8b5652f0d170d2893b1bc",
            "3.13": "4a065bbdc7d4ebd6c7e0fe635b9a9ed2b6b6431ba4cba5aa7f00c2d3eceb1ab8",
        },
    ),
    "11.2": Release(
        "11.2-1.5.14",
        "909dea6c768a0db60ab53d76d9f089c78cada1b55ad5d3d78b308b140f669f6d",
        "11.2.1.2",
        {
            "3.10": "88de2cec5c6ba41259ff039deff23e2de2254ac64abe99dc1b93fa8f5fcac6ca",
            "3.11": "98d10a4374ecd5e37858f8d9a1769c2719b4302e6c0bcd24c8a47fa16921bf5e",
            "3.12": "b3ba3b47a13b8c37c6f55e72502ddc2b369adc7f4c3e49eb9398836a204669ae",
            "3.13": "4c4370517a6d7cdcb21c0463bf12fd8190a629a05276e82ca0eccc76f4e1c176",
            "3.14": "837d512ee78f79c309bd654928146837c2a4dc5e2c81e6b2f9af7d0b04f7d4aa",
        },
    ),
}
LIBRARIES = ("libnvinfer.so", "libnvinfer_plugin.so", "libnvonnxparser.so", "libnvinfer_builder_resource_ptx.so")
PACKAGE = "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n"
LICENCE = "TensorRT comes from NVIDIA under NVIDIA's licence; trtmatte redistributes nothing of it."


def fetch(version: str, folder: Path, python: str) -> None:
    """Put a version of TensorRT into a new folder, for one version of Python: all of it or nothing."""
    release = RELEASES[version]
    if python not in release.bindings_hashes:
        known = ", ".join(release.bindings_hashes)
        raise SettingError(f"TensorRT {version} has no bindings for Python {python}; expected one of {known}")
    if folder.exists():
        raise SettingError(f"{folder} exists; expected a new folder: remove it, or name another")
    cache = private_folder("tensorrt")
    library = _library(release, cache)
    wheel = _wheel(release, cache, python)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        part = Path(scratch) / "part"
        _unpack_library(library, part / "lib")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(part / "python")
        package = part / "python" / "tensorrt"
        package.mkdir()
        (package / "__init__.py").write_text(PACKAGE)
        part.rename(folder)


def _library(release: Release, cache: Path) -> Path:
    name, classifier = f"org.bytedeco:tensorrt:{release.library}", "linux-x86_64-redist"
    place = cache / "maven" / "org" / "bytedeco" / "tensorrt" / release.library
    path = place / f"tensorrt-{release.library}-{classifier}.jar"
    if not path.is_file():
        maven = shutil.which("mvn")
        if maven is None:
            raise DownloadError(f"mvn is not installed; {name} comes from Maven Central: install Maven")
        options = ["--batch-mode", "--quiet", f"-Dmaven.repo.local={cache / 'maven'}", "-Dtransitive=false"]
        _run(maven, "dependency:get", *options, f"-Dartifact={name}:jar:{classifier}")
    return _checked(path, release.library_hash)


def _wheel(release: Release, cache: Path, python: str) -> Path:
    tag = f"cp{python.replace('.', '')}"
    path = cache / f"tensorrt_cu13_bindings-{release.bindings}-{tag}-none-manylinux_2_28_x86_64.whl"
    if not path.is_file():
        options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "--dest", str(cache)]
        target = ["--python-version", python, "--implementation", "cp", "--platform", "manylinux_2_28_x86_64"]
        requirement = f"tensorrt-cu13-bindings=={release.bindings}"
        _run(sys.executable, "-m", "pip", "download", *options, *target, requirement)
    return _checked(path, release.bindings_hashes[python])


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line] or ["it did not say why"]
        raise DownloadError(f"{Path(command[0]).name} could not fetch {command[-1]}: {lines[0]}")


def _checked(path: Path, expected: str) -> Path:
    """The downloaded file. A file of another content is removed."""
    if not path.is_file():
        raise DownloadError(f"{path} is not there after the download; remove {path.parent} and try again")
    found = sha256(path)
    if found != expected:
        path.unlink()
        raise DownloadError(f"{path.name} has the SHA256 {found}; expected {expected}. The file was removed: try again")
    return path


def _unpack_library(jar: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    with zipfile.ZipFile(jar) as archive:
        for name in LIBRARIES:
            members = [each for each in archive.namelist() if f"/{name}." in each]
            if len(members) != 1:
                raise DownloadError(f"{jar.name} has {len(members)} files {name}.*; expected 1")
            with archive.open(members[0]) as source, (folder / Path(members[0]).name).open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch the TensorRT library and its Python bindings.")
    parser.add_argument("version", choices=RELEASES, help="the version of TensorRT")
    parser.add_argument("folder", type=Path, help="where to put it: a folder that does not exist yet")
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser.add_argument("--python", default=own, metavar="VERSION", help=f"for which Python, as in 3.12 (this: {own})")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    print(LICENCE)
    try:
        fetch(arguments.version, folder, arguments.python)
    except TrtmatteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"export LD_LIBRARY_PATH={folder / 'lib'} PYTHONPATH={folder / 'python'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
