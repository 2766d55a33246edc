"""The doctor: what is there, what is missing and how it is got, whatever else is broken."""

from __future__ import annotations

import ctypes
import importlib
import importlib.machinery
import json
import os
import re
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

import trtmatte
from tests.backends import fake_tensorrt
from trtmatte import _core, plugins
from trtmatte.backends import cuda, driver, onnxruntime
from trtmatte.errors import BackendError
from trtmatte.reports import doctor as diagnosis
from trtmatte.runtime.choice import choose_on_cpu

PACKAGES = ("tensorrt", "tensorrt_rtx", "onnxruntime", "openvino", "cuda", "cuda.core", "av", "cv2")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed, and there is no driver."""
    for name in PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(diagnosis, "version_of", lambda package: None)
    monkeypatch.setattr(driver, "_driver", no_driver)


@pytest.fixture
def gpu(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU, and a core for it, but nothing else."""
    monkeypatch.setattr(driver, "_driver", fake_tensorrt.Driver)
    monkeypatch.setattr(_core, "CUDA_BUILT", True)
    monkeypatch.setattr(_core, "CUDA_ARCHITECTURES", "75-real 80-real 120")
    monkeypatch.setattr(_core, "cuda_device_count", lambda: 1)


def no_driver() -> None:
    raise BackendError("there is no NVIDIA driver: install it")


def install(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Any) -> None:
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, name, module)


def install_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "version_of", lambda package: "1.2" if package != "onnxruntime-gpu" else None)
    world = fake_tensorrt.World()
    for name, version in (("tensorrt", "10.16.1"), ("tensorrt_rtx", "1.7.1")):
        monkeypatch.setitem(sys.modules, name, fake_tensorrt.bindings(world, name, version))
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    install(monkeypatch, "onnxruntime", __version__="1.31", __file__="", get_available_providers=lambda: providers)
    install(monkeypatch, "cuda", __path__=[])
    install(monkeypatch, "cuda.core", __version__="1.2")
    install(monkeypatch, "openvino", __version__="2026.4")


def break_package(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, how: str) -> None:
    (folder / f"{name}.py").write_text(how)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)


def found(subject: str) -> str:
    finding = {each.subject: each for each in diagnosis.doctor().findings}[subject]
    return "\n".join([finding.found, *finding.wrong])


def job(name: str) -> diagnosis.Job:
    return {each.name: each for each in diagnosis.doctor().jobs}[name]


# ---------------------------------------------------------------------------------------------------------------------


def test_this_machine() -> None:
    started = time.monotonic()
    report = trtmatte.doctor()
    assert time.monotonic() - started < 10  # a second or so where nothing else runs
    assert isinstance(report, diagnosis.Report)
    assert report.can_run
    for part in (trtmatte.__version__, sys.executable, _core.instruction_set(), "onnxruntime", "Used on this machine"):
        assert part in str(report)
    assert json.loads(json.dumps(report.to_json()))["can_run"] is True


def test_nothing_slow_is_imported() -> None:
    code = "import sys, trtmatte; trtmatte.doctor(); print([n for n in ('torch', 'onnx') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_bare_machine_cannot_run_anything(bare: None) -> None:
    report = diagnosis.doctor()
    assert not report.can_run
    for remedy in (
        "pip install --upgrade tensorrt",
        "pip install --upgrade tensorrt-rtx",
        "pip install onnxruntime",
        "pip install openvino",
        "pip install 'trtmatte[cuda]'",
        "pip install onnx",
        "pip install 'trtmatte[torch]'",
        "pip install 'trtmatte[video]'",
        "pip install 'trtmatte[live]'",
    ):
        assert re.search(rf"{re.escape(remedy)}$", str(report), re.MULTILINE), remedy
    assert "there is no NVIDIA driver: install it" in str(report)
    assert [each.by for each in report.jobs] == [""] * len(report.jobs)
    assert all(each.reasons for each in report.jobs)


def test_extras_that_are_named_exist() -> None:
    named = set(re.findall(r"trtmatte\[(\w+)\]", Path(diagnosis.__file__).read_text()))
    pyproject = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    extras = set(re.findall(r"^(\w+) = \[", pyproject.partition("[project.optional-dependencies]")[2], re.MULTILINE))
    assert {"cuda", "live", "torch", "video"} <= named <= extras


def test_a_machine_that_has_everything(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    install_everything(monkeypatch)
    monkeypatch.setattr(_core, "CUDA_ARCHITECTURES", "80-real")
    assert found("TensorRT") == "10.16.1, builds plans, runs plans"
    assert found("TensorRT-RTX") == "1.7.1, builds plans, runs plans"
    assert found("GPUs") == "cuda:0 A card, compute capability 8.6, 12 GiB"
    assert "for CUDA up to 13.1" in found("NVIDIA driver")
    assert job("sessions") == diagnosis.Job("sessions", "tensorrt on cuda:0")
    assert job("trtmatte-build") == diagnosis.Job("trtmatte-build", "onnxruntime, tensorrt, tensorrt-rtx")


def test_why_not_the_better_one(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    install_everything(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    taken = job("sessions")
    assert taken.by == "tensorrt-rtx on cuda:0"
    assert taken.reasons == ("tensorrt on a GPU: TensorRT is not installed: pip install --upgrade tensorrt",)
    monkeypatch.setattr(driver, "_driver", lambda: fake_tensorrt.Driver((9, 0), "H200"))
    taken = job("sessions")
    assert taken.by == "onnxruntime on cuda:0"
    assert "H200 has the compute capability 9.0; TensorRT-RTX runs on 8.6" in taken.reasons[1]
    monkeypatch.setattr(_core, "CUDA_BUILT", False)
    taken = job("sessions")
    assert taken.by == "openvino on the CPU"
    assert taken.reasons == (
        "tensorrt on a GPU, tensorrt-rtx on a GPU, onnxruntime on a GPU: "
        "trtmatte was built without CUDA: install it where nvcc is found",
    )


@pytest.mark.parametrize(
    "how",
    [
        "raise ImportError('libx.so.1: cannot open shared object file')",
        "raise RuntimeError('of another ABI')",
        "import sys; sys.exit(3)",
        "raise AttributeError('half of it is missing')",
    ],
)
@pytest.mark.parametrize("package", ["tensorrt", "onnxruntime", "openvino", "av", "cv2"])
def test_packages_that_cannot_be_imported(
    package: str, how: str, bare: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    break_package(monkeypatch, tmp_path, package, how)
    subject = {"tensorrt": "TensorRT", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "av": "PyAV"}
    told = found(subject.get(package, "OpenCV"))
    assert "cannot be loaded" in told
    assert "pip install" in told
    assert not job("sessions").by


def test_a_package_that_lacks_another(bare: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    break_package(monkeypatch, tmp_path, "cv2", "import a_package_that_nobody_has")
    assert found("OpenCV").strip() == (
        "installed, but it lacks a_package_that_nobody_has: pip install a_package_that_nobody_has"
    )


def test_a_package_that_is_an_empty_shell(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an uninstallation leaves it that went half through."""
    for name in ("onnxruntime", "openvino", "av", "cv2", "tensorrt"):
        install(monkeypatch, name)
        assert name in str(diagnosis.doctor()), name


def test_auto_goes_past_what_is_broken(bare: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    break_package(monkeypatch, tmp_path, "openvino", "raise ImportError('libtbb.so.12')")
    install(monkeypatch, "onnxruntime", __version__="1.31", get_available_providers=lambda: ["CPUExecutionProvider"])
    taken = job("sessions")
    assert taken.by == "onnxruntime on the CPU"
    assert "openvino on the CPU: OpenVINO is installed but cannot be loaded (libtbb.so.12)" in taken.reasons[-1]
    assert choose_on_cpu("auto").name == "onnxruntime"


def test_both_packages_of_onnxruntime(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "onnxruntime", __version__="1.31", get_available_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "version_of", lambda package: "1.31" if "onnxruntime" in package else None)
    assert "overwrite each other: pip uninstall both" in found("ONNX Runtime")


@pytest.mark.parametrize("function", ["cuInit", "cuDeviceGetCount", "cuDriverGetVersion", "cuDeviceTotalMem_v2"])
def test_a_driver_that_fails(function: str, gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(fake_tensorrt.Driver):
        def cuInit(self, flags: int) -> int:  # noqa: N802
            return 0

    setattr(Failing, function, lambda *_: 999)
    monkeypatch.undo()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Failing())
    assert re.search(r"\(CUDA error 999\): see what nvidia-smi says|none, see the driver", str(diagnosis.doctor()))


def test_hidden_gpus(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "none, and CUDA_VISIBLE_DEVICES is '': unset it" in found("GPUs")


def test_an_old_driver(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_tensorrt.Driver, "cuDriverGetVersion", lambda _, version: set_to(version, 12040))
    assert "for CUDA up to 12.4" in found("NVIDIA driver")
    assert "take those that end in -cu12" in found("NVIDIA driver")
    monkeypatch.setattr(_core, "cuda_device_count", lambda: 0)
    assert "the driver is older than the CUDA that trtmatte was built with" in str(cuda.unavailable_reason(0))


@pytest.mark.parametrize(("version", "fits"), [("1.1.1", False), ("0.9", False), ("1.2.0", True), ("1.10", True)])
def test_an_old_cuda_core_is_refused_in_one_line(version: str, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "version_of", lambda package: version)
    reason = cuda.core_unavailable_reason()
    assert (reason is None) == fits
    if reason is not None:
        assert f"cuda-core {version} is installed, which leaks pinned memory; expected 1.2 or later: pip" in reason
        assert "\n" not in reason


def set_to(value: Any, number: int) -> int:
    value._obj.value = number
    return 0


@pytest.mark.parametrize(
    ("architectures", "capability", "serves"),
    [
        ("75-real 80-real 120", "8.6", True),
        ("75-real 80-real 120", "7.0", False),
        ("75-real 80-real 120", "9.0", False),
        ("75-real 80-real 120", "12.1", True),
        ("75-real 80-real 90", "10.0", True),
        ("90a-real", "9.0", True),
        ("80-virtual", "8.9", True),
    ],
)
def test_which_gpus_a_core_serves(architectures: str, capability: str, serves: bool) -> None:
    assert diagnosis._serves(architectures, capability) == serves


def test_the_plugins(gpu: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plugins, "library_path", lambda: None)
    assert "install trtmatte with TRTMATTE_PLUGINS=ON" in found("plugins")
    monkeypatch.setattr(plugins, "library_path", lambda: tmp_path / "libtrtmatte_plugins.so")
    assert "is not trtmatte's plugin library" in found("plugins")
    monkeypatch.setattr(plugins, "tensorrt_version", lambda library: (10, 3))
    assert found("plugins") == f"for TensorRT 10.3, {tmp_path}/libtrtmatte_plugins.so"
    install_everything(monkeypatch)
    assert "refuses" not in found("plugins")
    monkeypatch.setattr(plugins, "tensorrt_version", lambda library: (11, 0))
    assert "TensorRT 10.16.1 refuses them: build trtmatte for its headers" in found("plugins")


def test_a_gpu_without_code(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "CUDA_ARCHITECTURES", "90-real")
    assert "the core has no code for A card: build it with CUDAARCHS=86" in found("GPUs")


def test_the_cache(own_cache: Path) -> None:
    assert found("cache") == f"{own_cache}, no folder yet"
    own_cache.mkdir(0o700)
    (own_cache / "a").write_bytes(bytes(3_000_000))
    assert f"{own_cache} (0700), 1 files of 3 MB" in found("cache")


def test_a_cache_that_cannot_be_used(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_cache.mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert f"{own_cache} cannot be written: set TRTMATTE_CACHE to a folder of your own" in found("cache")
    monkeypatch.setattr(os, "getuid", lambda: own_cache.stat().st_uid + 1)
    assert f"{own_cache} belongs to another user" in found("cache")
    own_cache.rmdir()
    own_cache.touch()
    assert f"{own_cache} cannot be written" in found("cache")


def test_notebooks_show_the_report_as_tables() -> None:
    finding = diagnosis.Finding("GPUs", "<b>none</b>", ("see & install",))
    report = diagnosis.Report((finding,), (diagnosis.Job("sessions", "", ("here: no",)),))
    html = report._repr_html_()
    assert "<th>GPUs</th><td>&lt;b&gt;none&lt;/b&gt;<br>see &amp; install</td>" in html
    assert "<caption>Used on this machine</caption>" in html
    assert "<th>sessions</th><td>nothing can<br>not here: no</td>" in html
