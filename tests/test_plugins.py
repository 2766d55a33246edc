"""The TensorRT plugins: how their build chooses, and, where TensorRT's headers are, the plugins themselves.

The headers are NVIDIA's and no package of Python carries them: `TensorRT_ROOT` names them, `make plugins` fetches them.
The library is built with the CUDA forms compiled for the CPU, so that everything runs without a GPU;
`tests/native/plugins` has the test of the plugins, which drives them as TensorRT does.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from tests.plugin_library import EMULATED, ENVIRONMENT, HEADERS, ROOT, configure, headers, library, run
from trtmatte import _core, plugins
from trtmatte.errors import BackendError

FETCH = ROOT / "cmake" / "fetch_tensorrt_headers.cmake"


def newest_headers() -> Path:
    if found := headers():
        return found[-1]
    reason = "TensorRT's headers are not here: TensorRT_ROOT names them, `make plugins` fetches them"
    if os.environ.get("TRTMATTE_REQUIRE_PLUGINS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def said(by: subprocess.CompletedProcess[str]) -> str:
    """CMake's messages, which it wraps, as one line."""
    return " ".join(by.stderr.split())


# ---------------------------------------------------------------------------------------------------------------------
# The plugins


@pytest.fixture(scope="module")
def built() -> Path:
    root = newest_headers()
    if shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    return library(root)


def test_each_plugin_lives_and_computes_what_its_op_does(built: Path) -> None:
    done = run(built.with_name("plugin_test"), built)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "values compared with the CPU forms" in done.stdout


def test_a_plugin_s_fields_are_the_attributes_of_its_node(built: Path) -> None:
    from trtmatte.compiler.graph.functions import OPS, Required

    listed = run(built.with_name("plugin_test"), built, "--fields").stdout.splitlines()
    found = {name: set(fields) for name, *fields in (line.split() for line in listed)}
    expected = {}
    for op, spec in OPS.items():
        fields = set()
        for name, value in spec.attributes.items():
            kind = "float" if "float" in type(value[0] if isinstance(value, list) else value).__name__ else "int"
            count = 2 if value is Required.INTS else len(value) if isinstance(value, list) else 1
            fields.add(f"{name}:{kind}:{count}")
        if "matte_type" in spec.attributes:
            fields.add(f"matte_wanted:int:{len(_core.OUTPUTS)}")
        expected[f"TrtMatte{op}"] = fields
    assert found == expected


def test_the_library_shows_three_names_and_needs_nothing_of_tensorrt(built: Path) -> None:
    if shutil.which("nm") is None or shutil.which("readelf") is None:
        pytest.skip("needs nm and readelf")
    shown = {line.split()[-1] for line in run("nm", "-D", "--defined-only", built).stdout.splitlines()}
    assert shown == {"getCreators", "setLoggerFinder", "trtmatteTensorRTVersion"}
    needed = [line for line in run("readelf", "-d", built).stdout.splitlines() if "NEEDED" in line]
    assert needed
    assert not [line for line in needed if "nvinfer" in line or "cudart" in line]


def test_another_tensorrt_is_refused_that_python_loaded(built: Path, tmp_path: Path) -> None:
    """Python keeps the symbols of a library to itself: the plugins have to ask the library that calls them."""
    from trtmatte.compiler.graph.functions import OPS

    major, _ = plugins.tensorrt_version(built)
    for version, creators in ((major, len(OPS)), (21 - major, 0)):
        source = tmp_path / f"tensorrt_{version}.c"
        source.write_text(
            f"int getInferLibVersion(void) {{ return {10000 * version}; }}\n"
            "int creators(void *(*get)(int *)) { int count = -1; get(&count); return count; }\n"
        )
        caller = source.with_suffix(".so")
        assert run("cc", "-shared", "-fPIC", source, "-o", caller).returncode == 0
        get = ctypes.cast(ctypes.CDLL(str(built)).getCreators, ctypes.c_void_p)
        assert ctypes.CDLL(str(caller)).creators(get) == creators


def test_it_says_for_which_tensorrt_it_was_built(built: Path) -> None:
    version = (newest_headers() / "NvInferVersion.h").read_text()
    major, minor = plugins.tensorrt_version(built)
    assert major >= 10
    assert any(f"_MAJOR{suffix} {major}" in version for suffix in ("", "_ENTERPRISE"))
    assert any(f"_MINOR{suffix} {minor}" in version for suffix in ("", "_ENTERPRISE"))


def test_plugins_and_example_compile_without_warnings() -> None:
    newest_headers()
    sources = [
        *(ROOT / "csrc/plugins").glob("*.cpp"),
        *(ROOT / "csrc/ops").glob("*/*_plugin.cpp"),
        ROOT / "examples/cpp/matte.cpp",
    ]
    flags = ["-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-Icsrc"]
    stand_in = f"-I{ROOT}/tests/native/cuda_on_cpu"
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            (include, source, pool.submit(run, "c++", *flags, stand_in, "-isystem", include, source))
            for include in headers()
            for source in sources
        ]
        for include, source, job in jobs:
            assert job.result().returncode == 0, f"{include}, {source.name}:\n{job.result().stderr}"


# ---------------------------------------------------------------------------------------------------------------------
# Their place


def test_a_library_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "__file__", str(tmp_path / "plugins.py"))
    assert plugins.library_path() is None
    assert not plugins.is_built()
    with pytest.raises(BackendError, match="TRTMATTE_PLUGINS=ON"):
        plugins.tensorrt_version()
    library = tmp_path / "libtrtmatte_plugins.so"
    library.write_bytes(b"not a library")
    assert plugins.library_path() == library
    assert plugins.is_built()
    with pytest.raises(BackendError, match="is not trtmatte's plugin library"):
        plugins.tensorrt_version()


# ---------------------------------------------------------------------------------------------------------------------
# What the build chooses


@cache
def can_configure() -> bool:
    return all(shutil.which(each, path=ENVIRONMENT["PATH"]) for each in ("cmake", "ninja", "c++"))


needs_cmake = pytest.mark.skipif(not can_configure(), reason="needs cmake, ninja and a C++ compiler")


def with_version(folder: Path, text: str) -> Path:
    """What a configuration looks at, and nothing that could be compiled."""
    (folder / "include").mkdir(parents=True)
    (folder / "include" / "NvInferRuntime.h").touch()
    (folder / "include" / "NvInferVersion.h").write_text(text)
    return folder


def plain(major: int, minor: int) -> str:
    return f"#define NV_TENSORRT_MAJOR {major} //!< major\n#define NV_TENSORRT_MINOR {minor}\n"


RTX = "#define TRT_MAJOR_RTX 1\n#define TRT_MINOR_RTX 7\n"
INDIRECT = (
    "#define TRT_MAJOR_ENTERPRISE 11\n#define TRT_MINOR_ENTERPRISE 1\n"
    "#define NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE\n#define NV_TENSORRT_MINOR TRT_MINOR_ENTERPRISE\n"
)


@needs_cmake
@pytest.mark.parametrize(
    ("version", "settings", "choice"),
    [
        (None, ("-DTRTMATTE_PLUGINS=OFF", EMULATED), "plugins not built (TRTMATTE_PLUGINS=OFF)"),
        (None, ("-DTRTMATTE_CUDA=OFF",), "plugins not built (they need the CUDA forms"),
        (plain(10, 3), (EMULATED,), "plugins with the headers of TensorRT 10.3 in"),
        (INDIRECT, (EMULATED,), "plugins with the headers of TensorRT 11.1 in"),
        (plain(10, 2), (EMULATED,), "is of TensorRT 10.2; expected 10.3 or later"),
        (RTX, (EMULATED,), "is TensorRT-RTX's, which has no plugins"),
    ],
)
def test_the_build_says_what_it_chose(
    tmp_path: Path, version: str | None, settings: tuple[str, ...], choice: str
) -> None:
    root = {} if version is None else {HEADERS: str(with_version(tmp_path / "tensorrt", version))}
    done = configure(tmp_path / "build", *settings, **root)
    assert done.returncode == 0, done.stderr
    assert choice in done.stdout


@needs_cmake
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("-DTRTMATTE_PLUGINS=PERHAPS", EMULATED), "expected ON, OFF or AUTO"),
        (("-DTRTMATTE_PLUGINS=ON", "-DTRTMATTE_CUDA=OFF"), "TRTMATTE_PLUGINS=ON, but they need the CUDA forms"),
        ((EMULATED, "-DTensorRT_ROOT=/nowhere"), "NvInferRuntime.h is neither there nor in include"),
    ],
)
def test_a_build_that_cannot_be_ends(tmp_path: Path, settings: tuple[str, ...], reason: str) -> None:
    done = configure(tmp_path, *settings)
    assert done.returncode != 0
    assert reason in said(done)


@needs_cmake
@pytest.mark.parametrize(("setting", "errors"), [("ON", True), ("OFF", False)])
def test_warnings_are_errors_where_that_is_asked_for(tmp_path: Path, setting: str, errors: bool) -> None:
    """With a compiler that knows more warnings, the environment variable lets the build pass."""
    done = configure(tmp_path, EMULATED, "-DTRTMATTE_PLUGINS=OFF", TRTMATTE_WERROR=setting)
    assert done.returncode == 0, done.stderr
    assert ("-Werror" in (tmp_path / "build.ninja").read_text()) is errors


# ---------------------------------------------------------------------------------------------------------------------
# Headers that are fetched


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A place like NVIDIA's, with a version 12.0 of one header, and the script that knows its hash."""
    content = b"#pragma once\n"
    place = tmp_path / "published" / "abc123" / "include"
    place.mkdir(parents=True)
    (place / "NvInferVersion.h").write_bytes(content)
    table = f"# a table\nversion 12.0 abc123\n{hashlib.sha256(content).hexdigest()} NvInferVersion.h\n"
    (tmp_path / "tensorrt_headers.txt").write_text(table)
    shutil.copy(FETCH, tmp_path)
    return place / "NvInferVersion.h"


def fetch(folder: Path, version: str = "12.0") -> subprocess.CompletedProcess[str]:
    url = f"-DTRTMATTE_TENSORRT_URL=file://{folder}/published"
    return run("cmake", url, f"-DVERSION={version}", f"-DFOLDER={folder}/got", "-P", folder / FETCH.name)


@needs_cmake
def test_headers_are_fetched_once(tmp_path: Path, published: Path) -> None:
    assert fetch(tmp_path).returncode == 0
    got = tmp_path / "got" / "include" / published.name
    assert got.read_bytes() == published.read_bytes()
    published.unlink()
    assert fetch(tmp_path).returncode == 0
    got.write_text("#error damaged\n")
    assert "could not be fetched" in said(fetch(tmp_path))


@needs_cmake
def test_headers_of_another_content_are_not_kept(tmp_path: Path, published: Path) -> None:
    published.write_text("#error surprise\n")
    done = fetch(tmp_path)
    assert done.returncode != 0
    assert "The file was discarded" in said(done)
    assert not [path for path in (tmp_path / "got").rglob("*") if path.is_file()]


@needs_cmake
def test_headers_of_an_unknown_version(tmp_path: Path, published: Path) -> None:
    assert "expected one of 12.0" in said(fetch(tmp_path, "9.0"))


def test_the_table_of_headers_is_whole() -> None:
    lines = [
        line.split() for line in FETCH.with_name("tensorrt_headers.txt").read_text().splitlines() if line[0] != "#"
    ]
    assert [words[1] for words in lines if words[0] == "version"] == ["10.3", "10.16", "11.1"]
    assert all(len(words[2]) == 40 for words in lines if words[0] == "version")
    assert all(len(words[0]) == 64 for words in lines if words[0] != "version")
