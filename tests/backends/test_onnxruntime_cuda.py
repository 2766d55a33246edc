"""ONNX Runtime's CUDA provider: finding its libraries, and which versions can be captured."""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import subprocess
import sys
import types

import pytest

from tests.runtime.session import engines
from trtmatte.api import Engine
from trtmatte.backends import onnxruntime_cuda, registry
from trtmatte.errors import BackendError
from trtmatte.format.file import CUDA_PLAN
from trtmatte.runtime.choice import Choice
from trtmatte.runtime.networks import load_networks
from trtmatte.support.packages import version_of


class Session:
    """A session of ONNX Runtime with one input and no output, on the providers that it was asked for."""

    def __init__(self, model, options, *, providers, **more):
        self.model, self.providers, self.more = model, providers, more

    def get_providers(self):
        return [name for name, _ in self.providers]

    def get_inputs(self):
        return [types.SimpleNamespace(name="x", type="tensor(float)")]

    def get_outputs(self):
        return []


@pytest.fixture
def runtime(monkeypatch, tmp_path):
    """A stand-in for onnxruntime-gpu, whose provider needs no other library. It preloads loudly."""
    module = types.ModuleType("onnxruntime")
    module.__spec__ = importlib.machinery.ModuleSpec("onnxruntime", None)
    module.__file__ = str(tmp_path / "__init__.py")
    options = types.SimpleNamespace(
        add_run_config_entry=lambda *entry: None,
        add_session_config_entry=lambda *entry: None,
        add_free_dimension_override_by_name=lambda *given: None,
    )
    vars(module).update(
        __version__="1.31.1",
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        preloaded=0,
        preload_dlls=lambda: print("Failed to load libcublas.so") or setattr(module, "preloaded", module.preloaded + 1),
        InferenceSession=Session,
        SessionOptions=lambda: options,
        RunOptions=lambda: options,
    )
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").touch()
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    return module


@pytest.fixture
def loader(monkeypatch):
    """The libraries that the loader was asked for; `loader.missing` is one that it does not find."""
    asked = types.SimpleNamespace(names=[], missing=None)

    def load(name):
        asked.names.append(name.rpartition("/")[2])
        if asked.missing is not None and asked.missing[0] in name:
            raise OSError(f"{asked.missing[1]}: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(ctypes, "CDLL", load)
    return asked


def test_libraries_of_pip_are_loaded_first_and_quietly(runtime, loader, capsys):
    assert onnxruntime_cuda.unavailable_reason() is None
    assert (runtime.preloaded, loader.names) == (1, ["libonnxruntime_providers_cuda.so", "libcudnn.so.9"])
    onnxruntime_cuda.Network(b"", 0, 7, 0)
    assert runtime.preloaded == 2
    assert capsys.readouterr() == ("", "")


def test_a_runtime_that_cannot_preload(runtime, loader):
    del runtime.preload_dlls
    assert onnxruntime_cuda.unavailable_reason() is None
    onnxruntime_cuda.Network(b"", 0, 7, 0)


@pytest.mark.parametrize(
    ("of", "missing"),
    [("providers_cuda", "libcublasLt.so.13"), ("libcudnn", "libcudnn.so.9")],
    ids=["the provider's library", "cuDNN"],
)
def test_a_missing_library_is_named_with_the_remedy(of, missing, runtime, loader):
    loader.missing = of, missing
    assert onnxruntime_cuda.unavailable_reason() == (
        f"ONNX Runtime's CUDA provider cannot be loaded ({missing}: cannot open shared object file: No such file or "
        "directory): pip install 'onnxruntime-gpu[cuda,cudnn]'"
    )


def test_a_damaged_provider_is_named(runtime):
    """By the loader itself, for a file that is no library."""
    reason = str(onnxruntime_cuda.unavailable_reason())
    assert reason.endswith(
        "libonnxruntime_providers_cuda.so: file too short): pip install 'onnxruntime-gpu[cuda,cudnn]'"
    )


def test_a_runtime_for_the_cpu_loads_nothing(runtime, loader):
    runtime.get_available_providers = lambda: ["CPUExecutionProvider"]
    assert "runs on the CPU alone" in str(onnxruntime_cuda.unavailable_reason())
    assert (runtime.preloaded, loader.names) == (0, [])


def test_a_session_does_not_fall_back_by_itself(runtime, monkeypatch):
    """Its own fallback prints, and hides the reason."""
    network = onnxruntime_cuda.Network(b"", 0, 7, 0)
    assert network._session.more == {"enable_fallback": False}
    monkeypatch.setattr(Session, "get_providers", lambda session: ["CPUExecutionProvider"])
    with pytest.raises(BackendError, match=r"fell back to the CPU: .* pip install 'onnxruntime-gpu\[cuda,cudnn\]'"):
        onnxruntime_cuda.Network(b"", 0, 7, 0)


@pytest.mark.parametrize("version", ["1.20.1", "1.29.0", "1.29.2.dev3"])
def test_versions_that_change_what_a_graph_reads_are_not_captured(version, runtime):
    runtime.__version__ = version
    assert onnxruntime_cuda.Network(b"", 0, 7, 0).capture_obstacle() == (
        f"ONNX Runtime is {version}; expected 1.30 or later: pip install --upgrade onnxruntime-gpu"
    )


@pytest.mark.parametrize("version", ["1.30.0", "1.31.1", "2.0.0"])
def test_later_versions_are_captured(version, runtime):
    runtime.__version__ = version
    assert onnxruntime_cuda.Network(b"", 0, 7, 0).capture_obstacle() == ""


# ---------------------------------------------------------------------------------------------------------------------
# Precision


def loaded(engine, device):
    """The network as a session on this kind of device loads it."""
    choice = Choice(registry.on(device)["onnxruntime"], 0 if device == "cuda" else None)
    memory = types.SimpleNamespace(index=0, cuda_stream=7)
    (network,) = load_networks(engine, choice, 0, memory if device == "cuda" else None).values()
    return network


def test_a_gpu_gets_the_networks_in_float16(runtime):
    plain = engines.memory()
    engine = engines.with_half(plain)
    half = engine.plan(*CUDA_PLAN, "network-0")
    assert loaded(engine, "cuda")._session.model == half != plain.network("network-0")
    assert loaded(plain, "cuda")._session.model == plain.network("network-0"), "an engine of the precision fp32"


@pytest.mark.parametrize(("precision", "expected"), [("fp16", "0"), ("fp32", "0"), ("tf32", "1"), (None, "0")])
def test_tf32_only_where_the_engine_was_built_for_it(precision, expected, runtime):
    settings = {"precision": precision} if precision else {}
    plain = engines.memory()
    engine = Engine.of(plain.program, {"network-0": bytes(plain.network("network-0"))}, settings=settings)
    ((_, options),) = loaded(engine, "cuda")._session.providers
    assert options == {"device_id": "0", "user_compute_stream": "7", "use_tf32": expected}


# ---------------------------------------------------------------------------------------------------------------------
# The real one

SCRIPT = """
import onnxruntime
from trtmatte.backends import onnxruntime_cuda
{before}
print(onnxruntime_cuda.unavailable_reason())
"""


def reason(before=""):
    """The reason in a process of its own, since a library stays loaded in this one. Nothing else is printed."""
    command = [sys.executable, "-c", SCRIPT.format(before=before)]
    (line,) = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return line


@pytest.mark.skipif(version_of("onnxruntime-gpu") is None, reason="onnxruntime-gpu is not installed")
@pytest.mark.skipif(importlib.util.find_spec("nvidia") is None, reason="NVIDIA's packages are not installed")
def test_the_real_provider_finds_the_libraries_of_pip():
    """All but the driver's, on a machine without one."""
    without = reason("del onnxruntime.preload_dlls")
    if without == "None":
        pytest.skip("CUDA is where the loader looks, so that nothing needs to be preloaded")
    assert "libcublas" in without
    assert reason() == "None" or "libcuda.so.1: cannot open shared object file" in reason()
