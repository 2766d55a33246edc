"""Sessions on a CUDA device that is not there: their logic, on a stand-in for `cuda.core` and the emulated core.

    tools/gpu_check.sh --rehearse out/emulated build sessions

It says that nothing is missing from the graphs and that events keep the order of the streams. Of a GPU it says nothing.
"""

from __future__ import annotations

import gc
from contextlib import nullcontext

import numpy as np
import pytest

from tests import reference
from tests.runtime.session import engines, fake_cuda
from trtmatte import _core
from trtmatte.backends import onnxruntime_cuda, registry
from trtmatte.errors import FrameError
from trtmatte.runtime.choice import Choice, choose

pytestmark = pytest.mark.skipif(
    _core.CUDA_ARCHITECTURES != "emulated", reason="needs the emulated core (make emulated)"
)


@pytest.fixture(params=range(24))
def seed(request):
    """Of the order in which the streams get their turns."""
    return request.param


@pytest.fixture
def machine(seed, monkeypatch):
    with fake_cuda.installed(monkeypatch, seed) as machine:
        monkeypatch.setattr(onnxruntime_cuda, "Network", fake_cuda.Network)
        monkeypatch.setattr(
            "trtmatte.runtime.session.session.choose",
            lambda backend, device, engine: (
                Choice(registry.on("cuda")["onnxruntime"], 0) if device == "cuda" else choose(backend, device, engine)
            ),
        )
        yield machine


def pair(engine=None, **options):
    """The same session on the CPU and on the device."""
    engine = engine or engines.memory()
    return engine.session(backend="onnxruntime", **options), engine.session(device="cuda", **options)


def assert_same(expected, actual):
    for name in expected.names:
        ours = actual[name] if isinstance(actual[name], np.ndarray) else actual[name].get()
        steps = np.abs(ours.astype(np.float32) - np.asarray(expected[name]).astype(np.float32))
        assert steps.max() <= (1 if ours.dtype == np.uint8 else 1e-4), name


OPTIONS = {
    "mattes": {},
    "small outputs": {"outputs": ("alpha", "pha", "ones")},
    "colour": {"outputs": ("composite", "rgba"), "background": "red"},
    "picture": {"outputs": ("composite",), "background": engines.noise(9)},
    "blur": {"outputs": ("composite",), "background": "blur", "color": "bgr"},
    "floats": {"dtype": "float32", "layout": "CHW"},
    "scene cuts": {"outputs": ("alpha",), "scene_cut": 0.2},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_frames_of_the_host(options, machine):
    on_cpu, on_cuda = pair(**OPTIONS[options])
    for seed in range(8):
        frame = engines.noise(seed) if seed != 5 else engines.grey(250)
        assert_same(on_cpu(frame), on_cuda(frame))


def test_frames_of_the_device_stay_there(machine):
    on_cpu, on_cuda = pair(outputs=("alpha", "pha", "composite"), background="green")
    frame = fake_cuda.OnDevice(engines.noise(0))
    for seed in range(9):
        frame.overwrite(engines.noise(seed))  # while the last one may still be being read
        expected, actual = on_cpu(engines.noise(seed)), on_cuda(frame)
        frame.overwrite(engines.noise(77))
        assert_same(expected, actual)
    stats = on_cuda.stats()
    assert (stats.bytes_in, stats.bytes_out) == (0, 0)


def test_out_on_the_device_is_written_in_place(machine):
    on_cpu, on_cuda = pair(outputs=("pha",))
    out = fake_cuda.OnDevice(np.zeros((24, 32, 1), np.uint8))
    for seed in range(6):
        expected = on_cpu(engines.noise(seed)).pha
        assert on_cuda(engines.noise(seed), out=out).pha is out
        assert np.abs(out.get().astype(int) - expected).max() <= 1


def test_a_chunk_goes_to_arrays_with_gaps(machine):
    """Which the device does not write by itself: whole when the call returns, down to the last frame but one."""
    on_cpu, on_cuda = pair(batch=2, outputs=("pha",))
    for first in range(0, 24, 8):
        chunk = np.stack([[engines.noise(first + 2 * time + stream) for time in range(4)] for stream in range(2)])
        out = np.zeros((2, 4, 24, 64, 1), np.uint8)
        assert_same(on_cpu(chunk), on_cuda(chunk, out=(out[:, :, :, ::2],)))
        assert not out[:, :, :, 1::2].any()


class OverDlpack:
    """As torch and JAX tell of their arrays: what is given waits for the taker's stream, and is theirs from there."""

    def __init__(self, array) -> None:
        self.on_device = fake_cuda.OnDevice(array)

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, *, stream, max_version):
        fake_cuda.Stream.from_handle(stream).wait(self.on_device.stream)
        return self.on_device.values.__dlpack__(max_version=max_version)


def test_dlpack(machine):
    on_cpu, on_cuda = pair(outputs=("pha",))
    taker = fake_cuda.Stream()
    for seed in range(6):
        expected, matte = on_cpu(engines.noise(seed)), on_cuda(OverDlpack(engines.noise(seed)))
        with pytest.raises(BufferError):
            matte.pha.__dlpack__(dl_device=(1, 0))
        capsule = matte.pha.__dlpack__(stream=taker.handle, max_version=(1, 0), dl_device=(2, 0))
        taker.sync()
        assert machine.current == "the caller's"
        taken = np.from_dlpack(fake_cuda._OnHost(capsule))
        assert np.abs(taken.astype(int) - expected.pha).max() <= 1


def test_nobody_waits_for_results_on_the_device(machine):
    """Frames of the host one after the other, each with a place of its own on the device for what comes of it."""
    on_cpu, on_cuda = pair(outputs=("pha",))
    outs = [fake_cuda.OnDevice(np.zeros((24, 32, 1), np.uint8)) for _ in range(8)]
    for seed, out in enumerate(outs):
        on_cuda(engines.noise(seed), out=out)
    for seed, out in enumerate(outs):
        assert np.abs(out.get().astype(int) - on_cpu(engines.noise(seed)).pha).max() <= 1


def test_a_frame_is_one_launch_and_allocates_nothing(machine):
    session = engines.memory().session(device="cuda", outputs=("pha", "alpha"))
    for seed in range(4):
        session(engines.noise(seed))
    allocations, launches, downloads = machine.allocations, machine.launches, len(machine.downloads)
    for seed in range(20):
        session(engines.noise(seed))
    assert machine.allocations == allocations
    assert machine.launches - launches == 20
    assert len(machine.downloads) - downloads == 40, "two outputs a frame, and no state"
    stats = session.stats()
    assert (stats.captures, stats.launches, stats.allocations, stats.note) == (2, 22, 0, "")
    assert stats.bytes_in == 24 * 24 * 32 * 3


@pytest.mark.parametrize("options", OPTIONS)
def test_networks_in_float16(options, machine):
    """As ONNX Runtime runs them; the small outputs are as wide as with networks in float32."""
    on_cpu, on_cuda = pair(engines.with_half(engines.memory()), **OPTIONS[options])
    types = {name: array.dtype for name, array in on_cuda._executor.groups[0]._sides[0].items()}
    assert (types["memory"], types["frame_sm"], types["alpha"]) == ("float16", "float16", "float32")
    for seed in range(8):
        frame = engines.noise(seed) if seed != 5 else engines.grey(250)
        expected, actual = on_cpu(frame), on_cuda(frame)
        for name in expected.names:
            ours, theirs = np.asarray(actual[name]), np.asarray(expected[name])
            assert ours.dtype == theirs.dtype
            steps = np.abs(ours.astype(np.float32) - theirs.astype(np.float32))
            assert steps.max() <= (1 if ours.dtype == np.uint8 else 2e-3), name


def test_captured_frames_are_as_frames_that_are_not(machine):
    captured, as_it_is = (engines.memory().session(device="cuda", outputs=("alpha", "pha")) for _ in range(2))
    as_it_is._executor.compute.never_captures = True
    for seed in range(8):
        for ours, expected in zip(captured(engines.noise(seed)), as_it_is(engines.noise(seed)), strict=True):
            np.testing.assert_array_equal(ours, expected)
    assert (captured.stats().launches, as_it_is.stats().launches) == (6, 0)


def test_what_cannot_be_captured_runs_as_it_is(machine, monkeypatch):
    monkeypatch.setattr(fake_cuda.GraphBuilder, "_can_capture", False)
    on_cpu, on_cuda = pair()
    for seed in range(6):
        assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed)))
    assert "invalidated" in on_cuda.stats().note
    assert on_cuda.stats().launches == 0


def test_a_network_that_cannot_be_captured_says_why(machine, monkeypatch):
    """And what its attempt leaves behind is cleared away."""
    bind = fake_cuda.Network.bind

    def bound(network, inputs, outputs):
        run = bind(network, inputs, outputs)

        def waiting():
            network._stream.sync()
            run()

        return waiting

    monkeypatch.setattr(fake_cuda.Network, "bind", bound)
    on_cpu, on_cuda = pair()
    for seed in range(6):
        assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed)))
    assert on_cuda.stats().note == (
        "frames are not captured: the stage network-0 failed: "
        "waiting for a stream is not permitted while a stream is captured"
    )
    assert not machine.builders


def test_nothing_is_collected_while_frames_are_captured(machine, monkeypatch):
    """Device memory in cycles of the caller's, whose turn would come just then."""
    bind, left = fake_cuda.Network.bind, []

    def bound(network, inputs, outputs):
        run = bind(network, inputs, outputs)

        def littering():
            cycle = [fake_cuda.Buffer._allocate(64, machine.on_device)]
            cycle.append(cycle)
            del cycle
            left.append([[] for _ in range(5000)])  # so many that the collector comes by
            run()

        return littering

    monkeypatch.setattr(fake_cuda.Network, "bind", bound)
    _, on_cuda = pair()
    for seed in range(6):
        on_cuda(engines.noise(seed))
    assert (on_cuda.stats().note, on_cuda.stats().captures) == ("", 2)
    assert gc.isenabled()


def test_networks_are_asked_before_they_are_captured(machine, monkeypatch):
    monkeypatch.setattr(fake_cuda.Network, "obstacle", "it is too old")
    on_cpu, on_cuda = pair()
    for seed in range(6):
        assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed)))
    assert (on_cuda.stats().launches, on_cuda.stats().note) == (0, "frames are not captured: it is too old")
    monkeypatch.setattr(fake_cuda.Network, "obstacle", "")
    for seed in range(4):
        assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed)))
    assert (on_cuda.stats().launches, on_cuda.stats().note) == (4, "")


def test_the_callers_device_is_his_again(machine):
    """Whatever is called; within the session all work is done with its own device current."""
    session = engines.memory().session(device="cuda", outputs=("composite",), background=engines.noise(9))
    frame = fake_cuda.OnDevice(engines.noise(0))
    calls = {
        "frame": lambda: session(frame),
        "copy": lambda: session(frame).composite.copy(),
        "get": lambda: session(frame).composite.get(),
        "stream": lambda: list(session.stream([engines.noise(1)] * 3)),
        "state": lambda: setattr(session, "state", session.state),
        "reset": session.reset,
        "fork": lambda: session.fork()(frame),
        "bad frame": lambda: session(engines.noise(1)[..., :2]),
        "close": session.close,
    }
    for name, call in calls.items():
        with pytest.raises(FrameError) if name.startswith("bad") else nullcontext():
            call()
        assert machine.current == "the caller's", name


def test_a_stream_overlaps_and_keeps_its_results(machine):
    on_cpu, on_cuda = pair(outputs=("alpha", "pha"), ring=3)
    frames = [engines.noise(seed) for seed in range(12)]
    expected = [on_cpu(frame).copy() for frame in frames]
    kept = []
    for index, matte in enumerate(on_cuda.stream(iter(frames))):
        kept = [*kept, (index, matte)][-3:]
        for which, each in kept:
            assert_same(expected[which], each)
    assert index == 11


def test_sizes_chunks_batches_and_lanes(machine):
    on_cpu, on_cuda = pair(batch=2, outputs=("alpha", "pha", "composite"), background="blur")
    chunk = np.stack([[engines.noise(2 * time + stream) for time in range(5)] for stream in range(2)])
    assert_same(on_cpu(chunk), on_cuda(chunk))
    assert_same(on_cpu(chunk[:, 0]), on_cuda(chunk[:, 0]))
    larger = np.stack([engines.noise(8, 64, 48)] * 2)
    assert_same(on_cpu(larger), on_cuda(larger))
    assert_same(on_cpu(chunk[:, 1]), on_cuda(chunk[:, 1]))


def test_states_are_read_set_reset_and_forked(machine):
    on_cpu, on_cuda = pair(outputs=("alpha",))
    for seed in range(3):
        assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed)))
    np.testing.assert_allclose(on_cuda.state["memory"], on_cpu.state["memory"], atol=1e-5)
    twin = on_cuda.fork()
    expected = on_cpu(engines.noise(4)).copy()
    assert_same(expected, on_cuda(engines.noise(4)))
    assert_same(expected, twin(engines.noise(4)))
    for session in (on_cpu, on_cuda):
        session.reset()
    assert_same(on_cpu(engines.noise(5)), on_cuda(engines.noise(5)))
    state = on_cpu.state
    twin.state = {"memory": fake_cuda.OnDevice(state["memory"])}
    assert_same(on_cpu(engines.noise(6)), twin(engines.noise(6)))


def test_bad_frames_leave_no_trace(machine):
    on_cpu, on_cuda = pair(outputs=("alpha",))
    assert_same(on_cpu(engines.noise(0)), on_cuda(engines.noise(0)))
    for frame in (np.full((24, 32, 3), np.nan, np.float32), engines.noise(1)[..., :2]):
        with pytest.raises(FrameError):
            on_cuda(frame)
    assert_same(on_cpu(engines.noise(1)), on_cuda(engines.noise(1)))


def test_a_frame_that_fails_leaves_the_graphs_their_buffers(machine):
    """A blur has buffers for one size: those of another go, though that frame does not count."""
    on_cpu, on_cuda = pair(outputs=("composite",), background="blur")
    for seed in range(4):
        assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed)))
    used = {array.address for pair in on_cuda._background.buffers for array in pair}
    with pytest.raises(FrameError):
        on_cuda(np.full((48, 64, 3), np.nan, np.float32))
    launches = machine.launches
    assert_same(on_cpu(engines.noise(5)), on_cuda(engines.noise(5)))
    assert machine.launches > launches
    assert used <= machine.on_device.keys()


def test_memory_is_given_back(machine):
    for _ in range(2):
        session = engines.memory().session(device="cuda")
        session(engines.noise(0))
        session.close()
        del session
        gc.collect()
    assert not machine.on_device
    assert not machine.pinned


@pytest.mark.parametrize("seed", [3])
@pytest.mark.parametrize("narrow", [0, 0.02], ids=["float32", "float16"])
@pytest.mark.parametrize("name", ["rvm_mobilenetv3-odd-ratio0.375"])
def test_rvm(name, narrow, seed, machine):
    vector, engine = reference.load(name), engines.of_vector(name)
    engine = engines.with_half(engine) if narrow else engine
    session = engine.session(device="cuda", dtype="float32", layout="CHW")
    for time, src in enumerate(vector.arrays["src"]):
        matte = session(src)
        for output in ("fgr", "pha"):
            difference = reference.largest_difference(matte[output], vector.arrays[output][time])
            assert difference <= vector.tolerance(output) + narrow, output


@pytest.mark.parametrize("seed", [3])
@pytest.mark.parametrize("kind", ["oversampling-prevented", "thresholding-scale"])
def test_bgmv2(kind, seed, machine):
    name = next(each for each in reference.vector_names("bgmv2") if "_refine_" in each and kind in each)
    vector, engine = reference.load(name), engines.of_vector(name)
    session = engine.session(device="cuda", dtype="float32", layout="CHW", outputs=("pha", "fgr", "ref_sm"))
    for _ in range(5):
        matte = session(vector.arrays["src"], vector.arrays["bgr"])
        for output in matte.names:
            difference = reference.largest_difference(matte[output], vector.arrays[output])
            assert difference <= vector.tolerance(output), output
    assert (session.stats().launches > 0) == (kind != "thresholding-scale")


@pytest.mark.parametrize("seed", [3])
def test_bgmv2_in_float16(seed, machine):
    """Other patches may be selected, since the errors that select them are rounded."""
    name = next(each for each in reference.vector_names("bgmv2") if "_refine_" in each and "oversampling-prev" in each)
    vector, engine = reference.load(name), engines.with_half(engines.of_vector(name))
    session = engine.session(device="cuda", dtype="float32", layout="CHW", outputs=("pha", "fgr_sm"))
    matte = session(vector.arrays["src"], vector.arrays["bgr"])
    assert 0 < np.abs(matte.pha - vector.arrays["pha"]).mean() < 5e-3
    assert matte.fgr_sm.dtype == np.float32
