"""Steps carry their stage's name, which errors then tell."""

from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.session import engines
from trtmatte import ops
from trtmatte.backends.onnxruntime import Network
from trtmatte.errors import BackendError, EngineError, FrameError
from trtmatte.format.program import Program


def test_an_error_of_a_library_names_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    bind = Network.bind
    failing = []

    def bound(network, inputs, outputs):
        run = bind(network, inputs, outputs)

        def run_or_fail():
            if failing:
                raise RuntimeError("the runtime gave up")
            run()

        return run_or_fail

    monkeypatch.setattr(Network, "bind", bound)
    session = engines.memory().session(backend="onnxruntime")
    session(engines.grey(51))
    before = session.state["memory"]
    failing.append(True)
    with pytest.raises(BackendError, match="the stage network-0 failed: the runtime gave up"):
        session(engines.grey(102))
    np.testing.assert_array_equal(session.state["memory"], before)
    failing.clear()
    session(engines.grey(102))


@pytest.mark.parametrize(
    ("op", "stage"),
    [
        ("frame_sample", "FrameSample"),
        ("foreground_estimate", "ForegroundEstimate"),
        ("matte_upsample", "MatteUpsample"),
    ],
)
def test_an_error_of_an_op_names_the_stage(op: str, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arrays: object, **settings: object) -> None:
        raise ValueError("no such method")

    monkeypatch.setattr(ops, op, fail)
    with pytest.raises(BackendError, match=f"^the stage {stage} failed: no such method$") as caught:
        engines.memory(estimates=True).session(backend="onnxruntime")(engines.grey(51))
    assert isinstance(caught.value.__cause__, ValueError)


def test_errors_of_frames_stay_as_they_are() -> None:
    session = engines.memory().session(backend="onnxruntime")
    with pytest.raises(FrameError, match=r"^frame holds NaN"):
        session(np.full((24, 32, 3), np.nan, np.float32))


def test_an_op_of_a_newer_trtmatte() -> None:
    newer = engines.memory().program.to_json()
    newer["stages"][-1]["op"] = "MatteTomorrow"
    with pytest.raises(EngineError, match="the op MatteTomorrow, which this trtmatte does not know: update it"):
        Program.from_json(newer)
