"""Which backend a session gets, and why not a better one."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from tests.session import engines
from trtmatte.backends import cuda
from trtmatte.backends.cuda import Choice
from trtmatte.errors import BackendError, SettingError

ENGINE = engines.memory()


@pytest.fixture
def gpu(monkeypatch):
    """A GPU, and a core and `cuda.core` that go with it."""
    monkeypatch.setattr(cuda.tensorrt.device, "why_no_gpu", lambda index=0: None)
    monkeypatch.setattr(cuda, "_why_no_cuda", lambda device: None)


def has_plan(monkeypatch, target):
    def fitting(engine, backend, device):
        return (None, "a1") if backend == target else (f"no plan for {backend}", "")

    monkeypatch.setattr(cuda, "_fitting_plan", fitting)


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-rtx"])
def test_auto_takes_the_plan_that_fits(target, gpu, monkeypatch):
    has_plan(monkeypatch, target)
    assert cuda.choose("auto", None, ENGINE) == Choice(target, 0, "a1")
    assert cuda.choose(target, "cuda:2", ENGINE) == Choice(target, 2, "a1")


def test_auto_takes_onnxruntime_where_no_plan_fits(gpu, monkeypatch):
    has_plan(monkeypatch, None)
    monkeypatch.setattr(cuda.onnxruntime_cuda, "why_not", lambda: None)
    assert cuda.choose("auto", None, ENGINE) == Choice("onnxruntime", 0)
    assert cuda.choose("onnxruntime", "cuda", ENGINE) == Choice("onnxruntime", 0)


def test_a_gpu_that_cannot_be_used_is_worth_a_line(gpu, monkeypatch, caplog):
    has_plan(monkeypatch, None)
    monkeypatch.setattr(cuda.onnxruntime_cuda, "why_not", lambda: "it lacks CUDA")
    with caplog.at_level(logging.WARNING, "trtmatte"):
        assert cuda.choose("auto", None, ENGINE).device is None
    assert [record.getMessage() for record in caplog.records] == [
        "running on the CPU although there is a GPU: no plan for tensorrt; no plan for tensorrt-rtx; it lacks CUDA"
    ]
    with pytest.raises(BackendError, match=r"cannot run on cuda:0: .*it lacks CUDA"):
        cuda.choose("auto", "cuda", ENGINE)


def test_without_a_gpu_nothing_is_said(monkeypatch, caplog):
    monkeypatch.setattr(cuda.tensorrt.device, "why_no_gpu", lambda index=0: "there is no driver")
    assert cuda.choose("auto", None, ENGINE).device is None
    assert not caplog.records


@pytest.mark.parametrize("options", [{"backend": "tensorrt"}, {"device": "cuda"}, {"backend": "tensorrt-rtx"}])
def test_what_is_impossible_is_refused_with_the_reason(options, monkeypatch):
    monkeypatch.setattr(cuda.tensorrt.device, "why_no_gpu", lambda index=0: "there is no driver: install it")
    with pytest.raises(BackendError, match="there is no driver: install it"):
        ENGINE.session(**options)


@pytest.mark.parametrize(
    ("backend", "place", "error"),
    [("tensorrt", "cpu", BackendError), ("openvino", "cuda", BackendError), ("abacus", "cuda", SettingError)],
)
def test_what_does_not_go_together_is_refused(backend, place, error):
    with pytest.raises(error):
        cuda.choose(backend, place, ENGINE)


def test_a_session_on_the_cpu_imports_nothing_of_cuda():
    code = (
        "import sys; from tests.session import engines; s = engines.memory().session(device='cpu');"
        "s(engines.grey(9)); print([n for n in ('cuda', 'cuda.core', 'tensorrt', 'tensorrt_rtx', 'torch')"
        " if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
