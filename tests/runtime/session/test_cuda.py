"""Sessions on a real CUDA device, by whatever runs networks there.

ONNX Runtime's CUDA provider and both flavours of TensorRT where they are installed; where they are not, all but the
networks is shown with a kernel in the place of the tiny one.
"""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from tests import real_models as models
from tests import reference
from tests.runtime.session import engines
from tests.runtime.session.stepping import Streams
from trtmatte import _core
from trtmatte.backends import onnxruntime_cuda, registry, tensorrt

pytestmark = pytest.mark.gpu
FRAMES = 10_000
ON_CUDA = tuple(registry.on("cuda"))
MIB = 1 << 20

HALVING = """
    int first = 3 * plane * (i / plane) + i % plane;
    float mean = (sample[first] + sample[first + plane] + sample[first + 2 * plane]) / 3;
    next = memory / 2 + mean / 2;
    alpha = min(max(next, 0.0f), 1.0f);
    ones = 1;
"""


class Kernel:
    """The tiny network as one kernel of CuPy's, where nothing that runs networks is installed."""

    def __init__(self, model, index, stream, patches, *, tf32=False):
        cupy = pytest.importorskip("cupy")
        self._asarray, self._stream = cupy.asarray, cupy.cuda.ExternalStream(stream)
        inputs, outputs = "raw float32 sample, float32 memory, int32 plane", "float32 next, float32 alpha, float32 ones"
        self._kernel = cupy.ElementwiseKernel(inputs, outputs, HALVING, "trtmatte_halving")
        self.dtypes = dict.fromkeys(("frame_sm", "memory", "memory_next", "alpha", "ones"), "float32")

    def capture_obstacle(self):
        return ""

    def bind(self, inputs, outputs):
        sample, memory = (self._asarray(inputs[name]) for name in ("frame_sm", "memory"))
        results = [self._asarray(outputs[name]) for name in ("memory_next", "alpha", "ones")]
        plane = np.int32(memory.shape[-1] * memory.shape[-2])

        def run():
            with self._stream:
                self._kernel(sample, memory, plane, *results)

        return run


def require(backend):
    reason = registry.on("cuda")[backend].unavailable_reason(0)
    if reason is not None:
        pytest.skip(reason)
    return backend


@pytest.fixture(params=["kernel", *ON_CUDA])
def backend(request, monkeypatch, tmp_path):
    """What runs the tiny network."""
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path))  # plans are built, and not those of another day
    if request.param != "kernel":
        return require(request.param)
    monkeypatch.setattr(onnxruntime_cuda, "Network", Kernel)
    monkeypatch.setattr(onnxruntime_cuda, "unavailable_reason", lambda: None)
    return "onnxruntime"


@pytest.fixture(params=ON_CUDA)
def real(request):
    """What runs every network."""
    return require(request.param)


@pytest.fixture
def opened():
    sessions = []

    def opened_one(backend, engine=None, **options):
        sessions.append((engine or engines.memory()).session(backend=backend, device="cuda", **options))
        return sessions[-1]

    yield opened_one
    for session in sessions:
        session.close()


@pytest.fixture
def open_session(opened, backend):
    return lambda engine=None, **options: opened(backend, engine, **options)


def free_memory():
    from cuda.bindings import runtime

    status, free, _ = runtime.cudaMemGetInfo()
    assert int(status) == 0
    return free


def steps(one, other):
    """By how many of 255 steps two pictures differ at most."""
    return np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).max()


# ---------------------------------------------------------------------------------------------------------------------
# Real networks


@pytest.mark.parametrize("name", [name for name in reference.vector_names("rvm") if "always" not in name])
def test_rvm(name, opened, real):
    vector = reference.load(name)
    outputs = [output for output in ("fgr", "pha") if output in vector.outputs]
    if not outputs:
        pytest.skip("the vector has no matte")
    session = opened(real, engines.of_vector(name), outputs=outputs, dtype="float32", layout="CHW")
    narrow = 0.02 if real in tensorrt.TARGETS else 0.0  # plans compute in float16
    chunk = vector.settings.get("chunk")
    for time, src in enumerate([vector.arrays["src"]] if chunk else vector.arrays["src"]):
        matte = session(src)
        for output in outputs:
            expected = vector.arrays[output] if chunk else vector.arrays[output][time]
            assert reference.largest_difference(matte[output], expected) <= vector.tolerance(output) + narrow, output


def test_rvm_in_float16_by_onnxruntime(opened):
    """As it runs engines of the precision fp16. The other tests give it engines in float32."""
    vector = reference.load("rvm_mobilenetv3-odd-ratio0.375")
    engine = engines.with_half(engines.of_vector("rvm_mobilenetv3-odd-ratio0.375"))
    session = opened(require("onnxruntime"), engine, dtype="float32", layout="CHW")
    assert session._executor.groups[0]._sides[0]["A"].dtype == np.float16
    for time, src in enumerate(vector.arrays["src"]):
        matte = session(src)
        for output in ("fgr", "pha"):
            difference = reference.largest_difference(matte[output], vector.arrays[output][time])
            assert difference <= vector.tolerance(output) + 0.02, output


@pytest.mark.parametrize("kind", ["oversampling-prevented", "thresholding-scale"])
def test_bgmv2(kind, opened, real):
    name = next(each for each in reference.vector_names("bgmv2") if "_refine_" in each and kind in each)
    vector = reference.load(name)
    session = opened(real, engines.of_vector(name), outputs=("pha",), dtype="float32", layout="CHW")
    for _ in range(5):
        pha = session(vector.arrays["src"], vector.arrays["bgr"]).pha
        assert np.abs(pha - vector.arrays["pha"]).mean() < (5e-3 if real in tensorrt.TARGETS else 1e-4)
    assert (session.stats().launches > 0) == (kind != "thresholding-scale")


def test_the_real_rvm_on_the_clip(opened, real):
    engine = engines.rvm(1920, 1080, 0.25)
    on_cuda, on_cpu = opened(real, engine), engine.session(backend="onnxruntime")
    for frame in itertools.islice(models.clip(1920, 1080), 12):
        matte, expected = on_cuda(frame), on_cpu(frame)
        assert np.abs(matte.pha.astype(int) - expected.pha).mean() < 0.5
    assert np.ptp(matte.pha) > 200


def test_captured_frames_are_as_frames_that_are_not(opened, real):
    """Over networks that join and split: ONNX Runtime copies their arguments from memory that a graph may outlive."""
    engine = engines.of_vector("rvm_mobilenetv3-odd-ratio0.375")
    frames = reference.load("rvm_mobilenetv3-odd-ratio0.375").arrays["src"]
    options = {"dtype": "float32", "layout": "CHW"}
    captured, as_it_is = (opened(real, engine, **options) for _ in range(2))
    as_it_is._executor.compute.obstacle = "a test"
    for frame in itertools.islice(itertools.cycle(frames), 40):
        for ours, expected in zip(captured(frame), as_it_is(frame), strict=True):
            np.testing.assert_allclose(ours, expected, atol=2e-3)
    assert as_it_is.stats().launches == 0
    if captured.stats().launches == 0:
        pytest.skip(captured.stats().note)


# ---------------------------------------------------------------------------------------------------------------------
# All around them


def test_frames_of_the_host(open_session):
    options = {"outputs": ("composite", "pha", "alpha"), "background": "blur"}
    on_cuda, on_cpu = open_session(**options), engines.memory().session(backend="onnxruntime", **options)
    for seed in range(12):
        matte, expected = on_cuda(engines.noise(seed)), on_cpu(engines.noise(seed))
        assert steps(matte.pha, expected.pha) <= 1
        assert steps(matte.composite, expected.composite) <= 2
        np.testing.assert_allclose(matte.alpha, expected.alpha, atol=2e-3)


def test_pictures_of_several_sizes_together(open_session):
    engine = engines.memory(4)
    on_cuda, on_cpu = open_session(engine=engine), engine.session(backend="onnxruntime", device="cpu")
    for seed in range(6):
        pictures = [engines.noise(seed + each, *size) for each, size in enumerate([(32, 24), (57, 33), (1920, 1080)])]
        for expected, actual in zip(on_cpu.each(pictures), on_cuda.each(pictures), strict=True):
            assert steps(actual.pha, expected.pha) <= 1
            assert steps(actual.fgr, expected.fgr) <= 1


def test_frames_in_some_of_the_streams(open_session):
    def same(expected, actual):
        assert steps(actual["pha"], expected["pha"]) <= 1
        assert steps(actual["fgr"], expected["fgr"]) <= 1

    alone = [engines.memory().session(backend="onnxruntime", device="cpu") for _ in range(4)]
    Streams(open_session(engine=engines.memory(4)), alone, same).run(60)


def test_ten_thousand_frames(open_session):
    """One launch each, nothing allocated, no state fetched, nothing leaked."""
    session = open_session()
    frames = [engines.noise(seed, 480, 270) for seed in range(4)]
    for index in range(20):
        session(frames[index % 4])
    free, before, core = free_memory(), session.stats(), _core.allocations()
    for index in range(FRAMES):
        matte = session(frames[index % 4])
    after = session.stats()
    assert after.note == ""
    assert after.launches - before.launches == FRAMES
    assert (after.captures, after.allocations) == (before.captures, before.allocations)
    assert after.bytes_in - before.bytes_in == FRAMES * frames[0].nbytes
    assert after.bytes_out - before.bytes_out == FRAMES * sum(each.nbytes for each in matte)
    assert _core.allocations() == core
    assert abs(free_memory() - free) < 2 * MIB


def test_sessions_that_come_and_go_leak_nothing(opened, backend):
    def one():
        session = opened(backend, outputs=("pha",))
        for seed in range(4):
            session(engines.noise(seed, 480, 270))
        session.close()

    for _ in range(5):
        one()
    free = free_memory()
    for _ in range(20):
        one()
    assert free - free_memory() < 16 * MIB


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    return torch


@pytest.mark.parametrize("own_stream", [False, True], ids=["default stream", "stream of his own"])
def test_frames_of_torch_stay_on_the_device(own_stream, open_session, torch):
    """They are read after what the caller has begun on his stream, and the mattes are there for what he begins next."""
    session, on_cpu = open_session(), engines.memory().session(backend="onnxruntime")
    stream = torch.cuda.Stream() if own_stream else torch.cuda.default_stream()
    frame = torch.zeros((24, 32, 3), dtype=torch.uint8, device="cuda")
    large = torch.ones((4096, 4096), device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        for seed in range(8):
            large @ large  # keeps the stream busy
            frame.copy_(torch.from_numpy(engines.noise(seed)))
            matte = session(frame)
            kept = matte.pha.clone()
            frame.zero_()
            assert matte.pha.is_cuda
            assert steps(kept.cpu(), on_cpu(engines.noise(seed)).pha) <= 1
    assert (session.stats().bytes_in, session.stats().bytes_out) == (0, 0)


@pytest.mark.parametrize("buffers", [8, 9, 100])
def test_frames_at_many_addresses_are_launched(buffers, open_session, torch):
    session, on_cpu = open_session(outputs=("pha",)), engines.memory().session(backend="onnxruntime", outputs=("pha",))
    frames = [torch.from_numpy(engines.noise(seed)).cuda() for seed in range(buffers)]
    for index in range(200):
        pha, expected = session(frames[index % buffers]).pha, on_cpu(engines.noise(index % buffers)).pha
        assert steps(pha.cpu(), expected) <= 1
    assert session.stats().launches > 150
    assert ("ever new addresses" in session.stats().note) == (buffers > 8)


class Waiting(Kernel):
    """What no capture permits."""

    def bind(self, inputs, outputs):
        run = super().bind(inputs, outputs)

        def waiting():
            run()
            self._stream.synchronize()

        return waiting


def test_what_cannot_be_captured_runs_as_it_is(opened, monkeypatch):
    pytest.importorskip("cupy")
    monkeypatch.setattr(onnxruntime_cuda, "Network", Waiting)
    monkeypatch.setattr(onnxruntime_cuda, "unavailable_reason", lambda: None)
    session, on_cpu = opened("onnxruntime"), engines.memory().session(backend="onnxruntime")
    for seed in range(8):
        assert steps(session(engines.noise(seed)).pha, on_cpu(engines.noise(seed)).pha) <= 1
    assert "frames are not captured" in session.stats().note
    assert session.stats().launches == 0


def test_a_chunk_goes_to_arrays_with_gaps(open_session):
    session, on_cpu = open_session(outputs=("pha",)), engines.memory().session(backend="onnxruntime", outputs=("pha",))
    chunk, out = np.stack([[engines.noise(seed) for seed in range(6)]]), np.zeros((1, 6, 24, 64, 1), np.uint8)
    session(chunk, out=(out[:, :, :, ::2],))
    assert steps(out[:, :, :, ::2], on_cpu(chunk).pha) <= 1
    assert not out[:, :, :, 1::2].any()


def test_results_go_to_others_by_both_protocols(open_session):
    """CuPy waits on its own stream for what is still being computed."""
    cupy = pytest.importorskip("cupy")
    session, on_cpu = open_session(outputs=("pha",)), engines.memory().session(backend="onnxruntime", outputs=("pha",))
    for seed in range(8):
        with cupy.cuda.Stream(non_blocking=True) if seed % 2 else cupy.cuda.Stream.null:
            pha = session(cupy.asarray(engines.noise(seed))).pha
            expected = on_cpu(engines.noise(seed)).pha
            for taken in (cupy.asarray(pha), cupy.from_dlpack(pha)):
                assert steps(taken.get(), expected) <= 1


def test_the_callers_device_is_his_again(open_session):
    from cuda.bindings import driver

    _, before = driver.cuCtxGetCurrent()
    driver.cuCtxSetCurrent(0)
    try:
        session = open_session(outputs=("pha",))
        session(engines.noise(0))
        session.reset()
        assert int(driver.cuCtxGetCurrent()[1]) == 0
    finally:
        driver.cuCtxSetCurrent(before)


def test_four_sessions_on_four_threads(open_session):
    engine, frames = engines.memory(), [engines.noise(seed) for seed in range(50)]
    on_cpu = engine.session(backend="onnxruntime", outputs=("alpha",))
    expected = [on_cpu(frame).alpha.copy() for frame in frames]
    sessions = [open_session(engine, outputs=("alpha",)) for _ in range(4)]
    right = []

    def work(session):
        right.append(
            all(
                np.allclose(session(frame).alpha, alpha, atol=2e-3)
                for frame, alpha in zip(frames, expected, strict=True)
            )
        )

    threads = [threading.Thread(target=work, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 4


def test_a_stream_gives_the_same(open_session):
    frames = [engines.noise(seed) for seed in range(40)]
    one, other = open_session(), open_session()
    expected = [one(frame).copy() for frame in frames]
    for ours, matte in zip(expected, other.stream(frames), strict=True):
        np.testing.assert_array_equal(ours.pha, matte.pha)
