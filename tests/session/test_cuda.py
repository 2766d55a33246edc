"""Sessions on a real CUDA device, by ONNX Runtime's CUDA provider, and by TensorRT where it is installed."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from tests import reference
from tests.session import engines
from trtmatte.backends import onnxruntime_cuda

pytestmark = pytest.mark.gpu
FRAMES = 10_000
MIB = 1 << 20


@pytest.fixture
def open_session():
    reason = onnxruntime_cuda.why_not()
    if reason is not None and os.environ.get("TRTMATTE_REQUIRE_GPU") != "1":
        pytest.skip(reason)
    opened = []

    def open_one(engine=None, **options):
        opened.append((engine or engines.memory()).session(backend="onnxruntime", device="cuda", **options))
        return opened[-1]

    yield open_one
    for session in opened:
        session.close()


def free_memory():
    from cuda.bindings import runtime

    status, free, _ = runtime.cudaMemGetInfo()
    assert int(status) == 0
    return free


@pytest.mark.parametrize("name", [name for name in reference.vector_names("rvm") if "always" not in name])
def test_rvm(name, open_session):
    vector = reference.load(name)
    outputs = [output for output in ("fgr", "pha") if output in vector.outputs]
    if not outputs:
        pytest.skip("the vector has no matte")
    session = open_session(engines.of_vector(name), outputs=outputs, dtype="float32", layout="CHW")
    chunk = vector.settings.get("chunk")
    for time, src in enumerate([vector.arrays["src"]] if chunk else vector.arrays["src"]):
        matte = session(src)
        for output in outputs:
            expected = vector.arrays[output] if chunk else vector.arrays[output][time]
            assert reference.largest_difference(matte[output], expected) <= vector.tolerance(output), output


def test_ten_thousand_frames(open_session):
    """One launch each, nothing allocated, no state fetched, nothing leaked."""
    session = open_session()
    frames = [engines.noise(seed, 480, 270) for seed in range(4)]
    for index in range(20):
        session(frames[index % 4])
    free, before = free_memory(), session.stats()
    for index in range(FRAMES):
        matte = session(frames[index % 4])
    after = session.stats()
    assert after.note == ""
    assert after.launches - before.launches == FRAMES
    assert (after.captures, after.allocations) == (before.captures, before.allocations)
    assert after.bytes_out - before.bytes_out == FRAMES * sum(each.nbytes for each in matte)
    assert abs(free_memory() - free) < 2 * MIB


def test_frames_of_torch_stay_on_the_device(open_session):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    session, on_cpu = open_session(), engines.memory().session(backend="onnxruntime")
    for seed in range(8):
        matte = session(torch.from_numpy(engines.noise(seed)).cuda())
        assert matte.pha.is_cuda
        difference = matte.pha.cpu().numpy().astype(int) - on_cpu(engines.noise(seed)).pha
        assert np.abs(difference).max() <= 1
    assert (session.stats().bytes_in, session.stats().bytes_out) == (0, 0)


def test_four_sessions_on_four_threads(open_session):
    engine, frames = engines.memory(), [engines.noise(seed) for seed in range(50)]
    on_cpu = engine.session(backend="onnxruntime", outputs=("alpha",))
    expected = [on_cpu(frame).alpha.copy() for frame in frames]
    sessions = [open_session(engine, outputs=("alpha",)) for _ in range(4)]
    wrong = []

    def work(session):
        for frame, alpha in zip(frames, expected, strict=True):
            if not np.allclose(session(frame).alpha, alpha, atol=1e-4):
                wrong.append(session)

    threads = [threading.Thread(target=work, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_stream_gives_the_same(open_session):
    frames = [engines.noise(seed) for seed in range(40)]
    one, other = open_session(), open_session()
    expected = [one(frame).copy() for frame in frames]
    for ours, matte in zip(expected, other.stream(frames), strict=True):
        np.testing.assert_array_equal(ours.pha, matte.pha)
