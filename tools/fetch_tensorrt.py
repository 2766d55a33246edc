"""Fetches the TensorRT library and its Python bindings, for a machine that need not have a GPU.

    python tools/fetch_tensorrt.py 10.15 FOLDER
    export LD_LIBRARY_PATH=… PYTHONPATH=…         # the last line that it prints

FOLDER gets `lib`, the libraries that building and running a plan need, and `python`, the bindings with the package
`tensorrt`. The library comes from Maven Central, the bindings from the package index. The downloads stay in trtmatte's
cache folder. `--python` names the Python version that will import the bindings. Maven Central has the library of 10.15
and 11.2; for the other versions `lib` gets libraries that do nothing, over which the bindings can be imported.
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

    bindings: str  # the wheel
    bindings_hashes: dict[str, str]  # by Python version
    library: str = ""  # the version of the Maven artifact org.bytedeco:tensorrt, if it has this one
    library_hash: str = ""


RELEASES = {
    "10.3": Release(
        "tensorrt-cu12-bindings==10.3.0",
        {
            "3.10": "1d6e4cf08ef1f54f6fd44a33cf6b253050af2fc6e9a1d92e40e1436a1d858eb0",
            "3.11": "59ace22d7f2ca1e9dcde2cb0cb5916912cb3cd5a9d72dd7852be0160d9b3a0ee",
            "3.12": "f5c2582aeaa7f5628d2c4d4148a701ebe97be78f7ff3b46a617f0ee0cb5460f2",
        },
    ),
    "10.15": Release(
        "tensorrt-cu13-bindings==10.15.1.29",
        {
            "3.10": "af6a18dfe937d801474dbcf4a511771dc83991be9b2b1ef1cf519b8b631def46",
            "3.11": "54ce62c2489e1022d79113d2af0df516f4fac9b4e511be766b45bcfe2ee2acbb",
            "3.12": "7c17a2d83de68bb13531989d5f2edf4c2a7e710e41e8b5652f0d170d2893b1bc",
            "3.13": "4a065bbdc7d4ebd6c7e0fe635b9a9ed2b6b6431ba4cba5aa7f00c2d3eceb1ab8",
        },
        "10.15-1.5.13",
        "8543a6bda95c5d42141d409e1b74024b444e96334a3815d53997cc4ec3cfce83",
    ),
    "10.16": Release(
        "tensorrt-cu13-bindings==10.16.1.11",
        {
            "3.10": "c8e171511a01a2678cb3e00ca4792bc1d7ea6c48da9781ab127970f6ad1edc4a",
            "3.11": "f986d47980d042cc126506a9b84586e55ad13737a7a46826fe45457c04d66294",
            "3.12": "2fb87ac24a5e5f42e43f283c16d1b661dc72ef18568fd847ce2080b7db9ca232",
            "3.13": "da17c222ba99f46e77e1dab568cd17c4652b0432d4fae074e4c79285356aa0ac",
        },
    ),
    "11.2": Release(
        "tensorrt-cu13-bindings==11.2.1.2",
        {
            "3.10": "88de2cec5c6ba41259ff039deff23e2de2254ac64abe99dc1b93fa8f5fcac6ca",
            "3.11": "98d10a4374ecd5e37858f8d9a1769c2719b4302e6c0bcd24c8a47fa16921bf5e",
            "3.12": "b3ba3b47a13b8c37c6f55e72502ddc2b369adc7f4c3e49eb9398836a204669ae",
            "3.13": "4c4370517a6d7cdcb21c0463bf12fd8190a629a05276e82ca0eccc76f4e1c176",
            "3.14": "837d512ee78f79c309bd654928146837c2a4dc5e2c81e6b2f9af7d0b04f7d4aa",
        },
        "11.2-1.5.14",
        "909dea6c768a0db60ab53d76d9f089c78cada1b55ad5d3d78b308b140f669f6d",
    ),
    "11.4": Release(
        "tensorrt-cu13-bindings==11.4.0.106",
        {
            "3.10": "1d17853da33a186c4d4d39995c1186bb59f643689aabac9c3e33ae5f0ba402f5",
            "3.11": "d072ac2a095e2be749fefc847adfb25d5ebe70303401df62ede8fe67a59f27fc",
            "3.12": "5fc7a6c412881f7212030893bd5531b1a0ff415c72c7678dfe4ead7a7765b38d",
            "3.13": "bac9a362c9189b5f5dd0444213913846e4b46003237834958e890eff57d86ed5",
            "3.14": "233f5f02af7940b7cf15a5b526fc16b203d93181473a58588937bf401ca1d293",
        },
    ),
}
LIBRARIES = ("libnvinfer.so", "libnvinfer_plugin.so", "libnvonnxparser.so", "libnvinfer_builder_resource_ptx.so")
CLASSIFIER = "linux-x86_64-redist"
PACKAGE = "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n"
# What the bindings link to.
SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
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
    wheel = _wheel(release, cache, python)
    library = _library(release, cache) if release.library else None
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        part = Path(scratch) / "part"
        (part / "lib").mkdir(parents=True)
        if library is None:
            _compile_stand_ins(version, part / "lib")
        else:
            _unpack_library(library, part / "lib")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(part / "python")
        (part / "python" / "tensorrt").mkdir()
        (part / "python" / "tensorrt" / "__init__.py").write_text(PACKAGE)
        part.rename(folder)


def _wheel(release: Release, cache: Path, python: str) -> Path:
    name, _, version = release.bindings.partition("==")
    tag = f"cp{python.replace('.', '')}"
    pattern = f"{name.replace('-', '_')}-{version}-{tag}-*.whl"
    if not list(cache.glob(pattern)):
        options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "--dest", str(cache)]
        target = ["--python-version", python, "--implementation", "cp"]
        for glibc in ("2_17", "2_28"):
            target += ["--platform", f"manylinux_{glibc}_x86_64"]
        _run(sys.executable, "-I", "-m", "pip", "download", *options, *target, release.bindings)
    return _checked(next(cache.glob(pattern)), release.bindings_hashes[python])


def _library(release: Release, cache: Path) -> Path:
    name = f"org.bytedeco:tensorrt:{release.library}"
    place = cache / "maven" / "org" / "bytedeco" / "tensorrt" / release.library
    path = place / f"tensorrt-{release.library}-{CLASSIFIER}.jar"
    if not path.is_file():
        maven = shutil.which("mvn")
        if maven is None:
            raise DownloadError(f"mvn is not installed; {name} comes from Maven Central: install Maven")
        options = [
            "--batch-mode",
            "--quiet",
            "-Dstyle.color=never",
            f"-Dmaven.repo.local={cache / 'maven'}",
            "-Dtransitive=false",
        ]
        _run(maven, "dependency:get", *options, f"-Dartifact={name}:jar:{CLASSIFIER}")
    return _checked(path, release.library_hash)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line.lower()] or [
            "it did not say why"
        ]
        raise DownloadError(f"{' '.join(command)} failed: {lines[0]}")


def _checked(path: Path, expected: str) -> Path:
    """The downloaded file. A file of another content is removed."""
    found = sha256(path)
    if found != expected:
        path.unlink()
        raise DownloadError(f"{path.name} has the SHA256 {found}; expected {expected}. The file was removed: try again")
    return path


def _unpack_library(jar: Path, folder: Path) -> None:
    with zipfile.ZipFile(jar) as archive:
        for name in LIBRARIES:
            members = [each for each in archive.namelist() if f"/{name}." in each]
            if len(members) != 1:
                raise DownloadError(f"{jar.name} has {len(members)} files {name}.*; expected 1")
            with archive.open(members[0]) as source, (folder / Path(members[0]).name).open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def _compile_stand_ins(version: str, folder: Path) -> None:
    """Libraries of functions that do nothing, over which the bindings can be imported."""
    source = folder / "stand_in.c"
    source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in SYMBOLS))
    for name in LIBRARIES[:3]:
        library = folder / f"{name}.{version.partition('.')[0]}"
        _run("cc", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", str(library), str(source))
    source.unlink()


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
