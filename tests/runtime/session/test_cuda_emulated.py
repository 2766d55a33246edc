"""Sessions on a CUDA device that is not there: the real `cuda.core` on the fake driver, and the emulated core.

    tools/gpu_check.sh --rehearse out/emulated build sessions

It says that nothing is missing from the graphs, that events keep the order of the streams, that nothing is used after
it was freed, and that no rule of the driver is broken. Of a GPU it says nothing.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import types
import warnings
from contextlib import nullcontext

import numpy as np
import pytest

from tests import reference
from tests.runtime.session import engines, fake_driver
from tests.runtime.session.fake_driver import OnDevice, OverDlpack, StreamByProtocol, WithoutStream
from tests.runtime.session.stepping import Streams
from trtmatte import _core
from trtmatte.apps.stream_pool import StreamPool
from trtmatte.backends import onnxruntime_cuda
from trtmatte.errors import FrameError
from trtmatte.runtime.session.cuda.from_device import from_device

pytestmark = pytest.mark.skipif(bool(fake_driver.MISSING), reason=fake_driver.MISSING)


@pytest.fixture(params=range(12))
def seed(request):
    """Of the order in which the streams get their turns."""
    return request.param


@pytest.fixture
def driver(seed, monkeypatch):
    """No rule of the driver is broken in a test, and nothing is lost where memory is freed."""
    from cuda.bindings import driver

    monkeypatch.setattr(onnxruntime_cuda, "Network", fake_driver.Network)
    monkeypatch.setattr(onnxruntime_cuda, "unavailable_reason", lambda: None)
    driver.cuCtxSetCurrent(0)
    gc.collect()
    fake_driver.begin(seed)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        yield driver
        gc.collect()
    assert fake_driver.broken_rules() == []
    assert not [str(each.message) for each in seen if issubclass(each.category, ResourceWarning)]


def pair(engine=None, **options):
    """The same session on the CPU and on the device."""
    engine = engine or engines.memory()
    return engine.session(backend="onnxruntime", **options), on_device(engine, **options)


def on_device(engine=None, **options):
    return (engine or engines.memory()).session(backend="onnxruntime", device="cuda", **options)


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
def test_frames_of_the_host(options, driver):
    on_cpu, on_cuda = pair(**OPTIONS[options])
    for seed in range(8):
        frame = engines.noise(seed) if seed != 5 else engines.grey(250)
        assert_same(on_cpu(frame), on_cuda(frame))


@pytest.mark.parametrize("options", OPTIONS)
def test_pictures_of_several_sizes_together(options, driver):
    """Fewer and as many as the streams, in lanes of two, between frames of the streams."""
    on_cpu, on_cuda = pair(engines.memory(2), batch=4, **OPTIONS[options])
    sizes = [(32, 24), (57, 33), (8, 120), (64, 48)]
    for count in (3, 1, 4):
        pictures = [engines.noise(count + seed, *size) for seed, size in enumerate(sizes[:count])]
        for expected, actual in zip(on_cpu.each(pictures), on_cuda.each(pictures), strict=True):
            assert_same(expected, actual)
        for seed in range(4):
            frames = np.stack([engines.noise(4 * seed + stream) for stream in range(4)])
            assert_same(on_cpu(frames), on_cuda(frames))


def test_pictures_of_the_device_together(driver):
    """Their mattes stay there, and those of a picture of the host beside them come back."""
    on_cpu, on_cuda = pair(engines.memory(3), outputs=("alpha", "pha"))
    frames = [OnDevice(engines.noise(0)), OnDevice(engines.noise(1, 64, 48))]
    for seed in range(4):
        pictures = [engines.noise(seed), engines.noise(seed + 1, 64, 48), engines.noise(seed + 2, 8, 120)]
        for frame, picture in zip(frames, pictures, strict=False):
            frame.overwrite(picture)
        mattes = on_cuda.each([*frames, pictures[2]])
        for frame in frames:
            frame.overwrite(np.full_like(frame.get(), 77))
        for expected, actual in zip(on_cpu.each(pictures), mattes, strict=True):
            assert_same(expected, actual)
        assert isinstance(mattes[2].pha, np.ndarray)
    assert on_cuda.stats().bytes_in == 4 * pictures[2].nbytes


@pytest.mark.parametrize("options", OPTIONS)
def test_frames_in_some_of_the_streams(options, seed, driver):
    session = on_device(engines.memory((1, 2, 4)[seed % 3]), batch=4, **OPTIONS[options])
    alone = [engines.memory().session(backend="onnxruntime", **OPTIONS[options]) for _ in range(4)]
    Streams(session, alone, assert_same, seed).run(12)


def test_frames_in_some_of_the_streams_are_one_launch(driver):
    """For each combination of streams, on each side, once it has come twice. Nothing is allocated."""
    session = on_device(engines.memory(4), outputs=("pha", "alpha"))
    alone = [engines.memory().session(backend="onnxruntime", outputs=("pha", "alpha")) for _ in range(4)]
    combinations = [[0, 1, 2, 3], [0], [3, 1], [1, 2, 3], [2]]
    for turn in range(8):
        for slots in combinations:
            frames = {slot: engines.noise(turn + slot) for slot in slots}
            before, allocated = session.stats(), session._memory.buffers
            for slot, matte in session.step(frames).items():
                assert_same(alone[slot](frames[slot]), matte)
            if turn > 4:
                assert session.stats().launches == before.launches + 1
                assert session._memory.buffers == allocated
    assert session.stats().note == ""


def test_frames_of_the_device_in_some_of_the_streams(driver):
    """Nobody waits for their mattes, which stay there, before the next frames come."""
    session = on_device(engines.memory(3), outputs=("alpha", "pha"))
    alone = [engines.memory().session(backend="onnxruntime", outputs=("alpha", "pha")) for _ in range(3)]
    sizes = [(32, 24), (64, 48), (8, 40)]
    frames = [OnDevice(engines.noise(0, *size)) for size in sizes]
    found = []
    for seed, slots in enumerate([[0, 1], [2], [1, 0, 2], [1], [2, 0], [1], [1], [0, 1]] * 2):
        pictures = {slot: engines.noise(seed + slot, *sizes[slot]) for slot in slots}
        for slot in slots:
            frames[slot].overwrite(pictures[slot])
        mattes = session.step({slot: frames[slot] for slot in slots})
        for slot in slots:
            frames[slot].overwrite(np.full_like(pictures[slot], 77))
            found.append((alone[slot](pictures[slot]).copy(), mattes[slot]))
    for expected, matte in found:
        assert_same(expected, matte)
    assert (session.stats().bytes_in, session.stats().bytes_out) == (0, 0)


def test_steps_while_a_frame_is_on_its_way_out(driver):
    """A frame of `stream`, which is one ahead, has small outputs for the host; the steps' frames stay on the device."""
    on_cpu, on_cuda = pair(batch=2, outputs=("alpha", "ones", "pha"))
    frames = [np.stack([engines.noise(2 * seed + stream) for stream in range(2)]) for seed in range(8)]
    there = [OnDevice(engines.noise(seed)) for seed in range(4)]
    expected = [on_cpu(frames[0]).copy()]
    mattes = on_cuda.stream(frames)
    for number in range(1, 8):
        expected.append(on_cpu(frames[number]).copy())
        assert_same(expected[number - 1], next(mattes))
        for seed in range(number % 4):
            slot = seed % 2
            assert_same(on_cpu.step({slot: engines.noise(seed)})[slot], on_cuda.step({slot: there[seed]})[slot])


def test_live_streams_of_a_pool(driver):
    """Their frames are run on a thread of the pool's own."""
    before = fake_driver.alive()
    alone = [engines.memory().session(backend="onnxruntime", outputs=("pha",)) for _ in range(3)]
    with StreamPool(engines.memory(2), 3, backend="onnxruntime", device="cuda", outputs=("pha",)) as pool:
        streams = [pool.join() for _ in range(3)]
        for seed in range(6):
            frames = [engines.noise(3 * seed + number, 32 + 8 * number, 24) for number in range(3)]
            futures = [stream.submit(frame) for stream, frame in zip(streams, frames, strict=True)]
            for session, frame, future in zip(alone, frames, futures, strict=True):
                assert_same(session(frame), future.result(30))
    del pool, streams, futures, future
    gc.collect()
    assert fake_driver.alive() == before


def test_frames_of_the_device_stay_there(driver):
    on_cpu, on_cuda = pair(outputs=("alpha", "pha", "composite"), background="green")
    frame = OnDevice(engines.noise(0))
    for seed in range(9):
        frame.overwrite(engines.noise(seed))  # while the last one may still be being read
        expected, actual = on_cpu(engines.noise(seed)), on_cuda(frame)
        frame.overwrite(engines.noise(77))
        assert_same(expected, actual)
    stats = on_cuda.stats()
    assert (stats.bytes_in, stats.bytes_out) == (0, 0)


@pytest.mark.parametrize("seed", [0])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": np.zeros(3)}, "has a mask"),
        ({"shape": (2**62, 2**62, 3)}, "more elements than any memory"),
        ({"shape": (24, -32, 3)}, "negative size"),
        ({"strides": (2**62, 3, 1)}, "beyond any memory"),
        ({"strides": (96, 3)}, "as many of each"),
        ({"data": (2**64 - 1, False)}, "addresses that no memory has|belongs to no CUDA device"),
        ({"data": None}, "does not follow its array protocol"),
        ({"typestr": "strange"}, "does not follow its array protocol"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_interfaces_that_lie(changes, message, driver):
    session, frame = on_device(), OnDevice(engines.noise(0))
    told = {**frame.__cuda_array_interface__, **changes}
    with pytest.raises(FrameError, match=f"frame .*({message})"):
        session(type("Lying", (), {"__cuda_array_interface__": told})())
    out = {"fgr": OnDevice(np.zeros((24, 32, 3), np.uint8)), "pha": OnDevice(np.zeros((24, 32, 1), np.uint8))}
    over = {**out["fgr"].__cuda_array_interface__, "strides": (95, 3, 1)}
    with pytest.raises(FrameError, match="share memory"):
        session(frame, out={**out, "fgr": type("Over", (), {"__cuda_array_interface__": over})()})
    assert session.stats().frames == 0


def test_out_on_the_device_is_written_in_place(driver):
    on_cpu, on_cuda = pair(outputs=("pha",))
    out = OnDevice(np.zeros((24, 32, 1), np.uint8))
    for seed in range(6):
        expected = on_cpu(engines.noise(seed)).pha
        assert on_cuda(engines.noise(seed), out=out).pha is out
        assert np.abs(out.get().astype(int) - expected).max() <= 1


def test_a_chunk_goes_to_arrays_with_gaps(driver):
    """Which the device does not write by itself: whole when the call returns, down to the last frame but one."""
    on_cpu, on_cuda = pair(batch=2, outputs=("pha",))
    for first in range(0, 24, 8):
        chunk = np.stack([[engines.noise(first + 2 * time + stream) for time in range(4)] for stream in range(2)])
        out = np.zeros((2, 4, 24, 64, 1), np.uint8)
        assert_same(on_cpu(chunk), on_cuda(chunk, out=(out[:, :, :, ::2],)))
        assert not out[:, :, :, 1::2].any()


def on_a_stream_of_his(array):
    from cuda.core import Device

    Device(0).set_current()
    return WithoutStream(array, Device(0).create_stream())


SHAPE = (engines.HEIGHT, engines.WIDTH, 3)
DESCRIBED = {
    "an array without a stream": (WithoutStream, lambda frame: frame),
    "a pointer": (OnDevice, lambda frame: from_device(frame.seen.address, SHAPE, cuda_stream=frame.stream)),
    "an array on a stream that it does not name": (
        on_a_stream_of_his,
        lambda frame: from_device(frame, cuda_stream=StreamByProtocol(frame.stream)),
    ),
}


@pytest.mark.parametrize("kind", DESCRIBED)
def test_frames_and_outs_that_their_owner_does_not_describe(kind, driver):
    """In place, after what the owner has put on his stream and before what he puts there next."""
    make, described = DESCRIBED[kind]
    on_cpu, on_cuda = pair(outputs=("composite",), background="green")
    frame, out = make(engines.noise(0)), make(np.zeros(SHAPE, np.uint8))
    for seed in range(9):
        frame.overwrite(engines.noise(seed))
        expected = on_cpu(engines.noise(seed)).composite
        on_cuda(described(frame), out=described(out))
        frame.overwrite(engines.noise(77))
        assert np.abs(out.get().astype(int) - expected).max() <= 1
    stats = on_cuda.stats()
    assert (stats.bytes_in, stats.bytes_out) == (0, 0)


def test_results_have_an_address(driver):
    """For libraries that take no protocol."""
    on_cpu, on_cuda = pair(outputs=("pha",))
    frame = WithoutStream(engines.noise(0))
    pha = on_cuda(frame).pha
    taken = WithoutStream(np.zeros(pha.shape, pha.dtype))
    driver.cuMemcpyAsync(taken.seen.address, pha.ptr, pha.nbytes, frame.stream.handle)
    assert np.abs(taken.get().astype(int) - on_cpu(engines.noise(0)).pha).max() <= 1


def test_memory_of_another_context_is_refused(driver, monkeypatch):
    """PyCUDA makes one of its own unless it is asked not to."""
    session, frame = on_device(), WithoutStream(engines.noise(0))
    contexts, primary = {frame.seen.address: 0xC0DE}, driver.cuDevicePrimaryCtxRetain(0)[1]
    monkeypatch.setattr(driver, "cuPointerGetAttribute", lambda attribute, address: (0, contexts[address]))
    session(frame)
    monkeypatch.setitem(sys.modules, "pycuda", types.ModuleType("pycuda"))
    with pytest.raises(FrameError, match=r"frame lies in a CUDA context of PyCUDA's own; .*pycuda.autoprimaryctx"):
        session(frame)
    for shared in (int(primary), 0):  # the device's primary one; memory of pools has none
        contexts[frame.seen.address] = shared
        session(frame)


class Capsule:
    """What somebody was given by DLPack."""

    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, **options):
        return self.capsule


def test_dlpack(driver):
    from cuda.core import Device
    from cuda.core.utils import StridedMemoryView

    on_cpu, on_cuda = pair(outputs=("pha",))
    Device(0).set_current()
    taker = Device(0).create_stream()
    for seed in range(6):
        expected, matte = on_cpu(engines.noise(seed)), on_cuda(OverDlpack(engines.noise(seed)))
        with pytest.raises(BufferError):
            matte.pha.__dlpack__(dl_device=(1, 0))
        capsule = matte.pha.__dlpack__(stream=int(taker.handle), max_version=(1, 0), dl_device=(2, 0))
        taken = StridedMemoryView.from_dlpack(Capsule(capsule), -1)
        taker.sync()
        memory = (ctypes.c_uint8 * expected.pha.nbytes).from_address(taken.ptr)
        assert np.abs(np.frombuffer(memory, np.uint8).astype(int) - expected.pha.ravel()).max() <= 1


def test_results_go_to_the_default_streams(driver):
    on_cpu, on_cuda = pair(outputs=("pha",))
    matte = on_cuda(OnDevice(engines.noise(1)))
    for cuda_stream in (None, 1, 2):
        matte.pha.__dlpack__(stream=cuda_stream, max_version=(1, 0))
    assert_same(on_cpu(engines.noise(1)), matte)


def test_nobody_waits_for_results_on_the_device(driver):
    """Frames of the host one after the other, each with a place of its own on the device for what comes of it."""
    on_cpu, on_cuda = pair(outputs=("pha",))
    outs = [OnDevice(np.zeros((24, 32, 1), np.uint8)) for _ in range(8)]
    for seed, out in enumerate(outs):
        on_cuda(engines.noise(seed), out=out)
    for seed, out in enumerate(outs):
        assert np.abs(out.get().astype(int) - on_cpu(engines.noise(seed)).pha).max() <= 1


def test_a_frame_is_one_copy_in_one_launch_and_one_copy_out(driver):
    session = on_device(outputs=("pha", "alpha"))
    for seed in range(4):
        session(engines.noise(seed))
    fake_driver.begin(0)
    for seed in range(20):
        session(engines.noise(seed))
    counts = fake_driver.counts()
    assert (counts["launches"], counts["copies in"], counts["copies out"]) == (20, 20, 40), "two outputs, and no state"
    assert not {name for name in counts if name.startswith(("allocations", "pageable", "cuMemAlloc", "cuMemHostAlloc"))}
    stats = session.stats()
    assert (stats.captures, stats.launches, stats.allocations, stats.note) == (2, 22, 0, "")
    assert stats.bytes_in == 24 * 24 * 32 * 3


@pytest.mark.parametrize("options", OPTIONS)
def test_networks_in_float16(options, driver):
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


def test_captured_frames_are_as_frames_that_are_not(driver):
    captured, as_it_is = (on_device(outputs=("alpha", "pha")) for _ in range(2))
    as_it_is._executor.compute.obstacle = "a test"
    for seed in range(8):
        for ours, expected in zip(captured(engines.noise(seed)), as_it_is(engines.noise(seed)), strict=True):
            np.testing.assert_array_equal(ours, expected)
    assert (captured.stats().launches, as_it_is.stats().launches) == (6, 0)


@pytest.mark.parametrize("buffers", [8, 9, 100])
def test_frames_at_many_addresses_are_launched(buffers, driver):
    """Where addresses repeat too seldom, frames are copied to the session's own."""
    on_cpu, on_cuda = pair(outputs=("pha", "composite"), background="red")
    frames = [OnDevice(engines.noise(seed)) for seed in range(buffers)]
    for index in range(100):
        assert_same(on_cpu(engines.noise(index % buffers)), on_cuda(frames[index % buffers]))
    stats = on_cuda.stats()
    assert stats.launches == (92 if buffers == 8 else 63)
    assert ("ever new addresses" in stats.note) == (buffers > 8)
    assert (stats.bytes_in, stats.bytes_out) == (0, 0)


def test_results_at_many_addresses_are_launched(driver):
    on_cpu, on_cuda = pair(outputs=("pha",), ring=40)
    frame = OnDevice(engines.noise(0))
    for seed in range(200):
        frame.overwrite(engines.noise(seed))
        assert_same(on_cpu(engines.noise(seed)), on_cuda(frame))
    assert "results go to ever new addresses" in on_cuda.stats().note
    assert on_cuda.stats().launches > 100


@pytest.mark.parametrize("place", ["host", "device"])
def test_a_list_of_results_holds_the_right_pictures(place, driver):
    """More of them than there are graphs: results on the device are copied there in the end."""
    on_cpu, on_cuda = pair(outputs=("pha", "alpha"))
    expected = [on_cpu(engines.noise(seed)).copy() for seed in range(80)]
    frame = OnDevice(engines.noise(0))
    mattes = []
    for seed in range(80):
        frame.overwrite(engines.noise(seed))
        mattes.append(on_cuda(engines.noise(seed) if place == "host" else frame))
    for ours, theirs in zip(mattes, expected, strict=True):
        assert_same(theirs, ours)
    assert ("results go to ever new addresses" in on_cuda.stats().note) == (place == "device")
    assert on_cuda.stats().launches == (78 if place == "host" else 12)


@pytest.mark.parametrize("place", ["host", "device"])
def test_who_drops_results_needs_few_graphs_and_no_memory(place, driver):
    on_cpu, on_cuda = pair(outputs=("pha", "alpha"))
    frame = OnDevice(engines.noise(0))
    for seed in range(40):
        frame.overwrite(engines.noise(seed))
        assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed) if place == "host" else frame))
    stats = on_cuda.stats()
    graphs = 2 if place == "host" else 4
    assert (stats.captures, stats.launches, stats.allocations, stats.note) == (graphs, 40 - graphs, 0, "")


@pytest.mark.parametrize("keeper", ["matte", "array", "view", "copy"])
def test_whatever_reads_a_result_on_the_device_keeps_it(keeper, driver):
    from cuda.core.utils import StridedMemoryView

    on_cpu, on_cuda = pair(outputs=("pha",))
    keep = {
        "matte": lambda matte: matte.pha,
        "array": lambda matte: matte.pha.as_callers(),
        "view": lambda matte: StridedMemoryView.from_dlpack(matte.pha, stream_ptr=-1),
        "copy": lambda matte: matte.pha.copy(),
    }[keeper]
    kept = [keep(on_cuda(OnDevice(engines.noise(seed)))) for seed in range(12)]
    gc.collect()
    for seed, each in enumerate(kept):
        expected = on_cpu(engines.noise(seed)).pha
        if keeper in ("matte", "copy"):
            found = each.get()
        else:
            address = each.ptr if keeper == "view" else each.address
            found = pha_at(address, on_cuda)
        assert np.abs(found.astype(int) - expected).max() <= 1


def pha_at(address, session):
    """The alpha that lies at an address."""
    from trtmatte.runtime.session.cuda.arrays import DeviceArray

    with session._memory.entered():
        return session._memory.fetch(DeviceArray.at(address, (24, 32, 1), "uint8", 0, None))


@pytest.mark.parametrize("place", ["host", "device"])
def test_what_a_burst_leaves_is_given_back(place, driver):
    _, on_cuda = pair(outputs=("pha",))
    frame = OnDevice(engines.noise(0))
    kind = "live pinned buffers" if place == "host" else "live device buffers"
    for seed in range(6):
        on_cuda(engines.noise(seed) if place == "host" else frame)
    before = fake_driver.alive()[kind]
    burst = [on_cuda(engines.noise(seed) if place == "host" else frame) for seed in range(24)]
    assert fake_driver.alive()[kind] >= before + 20
    burst.clear()
    gc.collect()
    assert fake_driver.alive()[kind] <= before + 4, "those that are kept ready, and two that the device may still read"


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_pictures_of_any_strides_are_moved(layout, driver):
    """Turned, flipped and with gaps: into own buffers the pictures, and the results into the caller's."""
    on_cpu, on_cuda = pair(outputs=("pha",), layout=layout)
    shape = (24, 32, 1) if layout == "HWC" else (1, 24, 32)
    for seed in range(60):
        wide = np.zeros((24, 40, 3), np.uint8)
        wide[:, 4:36] = engines.noise(seed)
        frame, out = OnDevice(wide), OnDevice(np.zeros(shape, np.uint8))
        frame.cut(np.s_[:, 4:36])
        expected = on_cpu(engines.noise(seed)).pha
        on_cuda(frame, out=out)
        assert np.abs(out.get().astype(int) - expected).max() <= 1
    assert on_cuda.stats().launches > 20


def fail_in_captures(monkeypatch, failure, times=1000):
    """The network does what no capture permits, some times. Returns what was left of it."""
    bind, left = fake_driver.Network.bind, [times]

    def bound(network, inputs, outputs):
        run = bind(network, inputs, outputs)

        def failing():
            from cuda.bindings import driver

            capturing = driver.cuStreamIsCapturing(network.cuda_stream)[1]
            if int(capturing) and left[0]:
                left[0] -= 1
                failure(network)
            run()

        return failing

    monkeypatch.setattr(fake_driver.Network, "bind", bound)
    return left


def wait_for_the_stream(network):
    from cuda.core import Stream

    Stream.from_handle(network.cuda_stream).sync()


def test_what_cannot_be_captured_runs_as_it_is(driver, monkeypatch):
    """And what its attempts leave behind is cleared away. They come ever more seldom."""
    left = fail_in_captures(monkeypatch, wait_for_the_stream)
    on_cpu, on_cuda = pair()
    for seed in range(40):
        assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed)))
    assert on_cuda.stats().note.startswith("frames are not captured: the stage network-0 failed: ")
    assert on_cuda.stats().launches == 0
    assert 1000 - left[0] == 5, "after 2, 4, 8 and 16 frames"
    assert set(fake_driver.broken_rules()) == {"the host waits for a stream during its capture"}
    fake_driver.begin(0)


def test_a_capture_that_fails_is_tried_again(driver, monkeypatch):
    fail_in_captures(monkeypatch, wait_for_the_stream, times=1)
    on_cpu, on_cuda = pair()
    for seed in range(12):
        assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed)))
    assert (on_cuda.stats().note, on_cuda.stats().captures) == ("", 2)
    assert on_cuda.stats().launches >= 6
    fake_driver.begin(0)


def test_nothing_is_collected_while_frames_are_captured(driver, monkeypatch):
    """Device memory in cycles of the caller's, whose turn would come just then."""
    from cuda.core import Device, Stream

    bind, left = fake_driver.Network.bind, []
    litter = []

    def bound(network, inputs, outputs):
        run, stream = bind(network, inputs, outputs), Stream.from_handle(network.cuda_stream)
        litter.extend(Device(0).allocate(64, stream=stream) for _ in range(4))

        def littering():
            cycle = [litter.pop()] if litter else []
            cycle.append(cycle)
            del cycle
            left.append([[] for _ in range(5000)])  # so many that the collector comes by
            run()

        return littering

    monkeypatch.setattr(fake_driver.Network, "bind", bound)
    _, on_cuda = pair()
    for seed in range(6):
        on_cuda(engines.noise(seed))
    assert (on_cuda.stats().note, on_cuda.stats().captures) == ("", 2)
    assert gc.isenabled()


def test_a_copy_that_another_thread_drops_spoils_no_capture(driver, monkeypatch):
    """It is freed on a stream that nothing captures."""
    kept = []

    def dropped(network):
        thread = threading.Thread(target=kept.clear)
        thread.start()
        thread.join()

    fail_in_captures(monkeypatch, dropped)
    on_cpu, on_cuda = pair(outputs=("pha",))
    frame = OnDevice(engines.noise(0))
    for seed in range(12):
        frame.overwrite(engines.noise(seed))
        matte = on_cuda(frame)
        assert_same(on_cpu(engines.noise(seed)), matte)
        kept.append(matte.copy())
    assert (on_cuda.stats().note, on_cuda.stats().captures) == ("", 4)


def test_networks_are_asked_before_they_are_captured(driver, monkeypatch):
    monkeypatch.setattr(fake_driver.Network, "obstacle", "not yet")
    on_cpu, on_cuda = pair()
    for seed in range(6):
        assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed)))
    assert (on_cuda.stats().launches, on_cuda.stats().note) == (0, "frames are not captured: not yet")
    monkeypatch.setattr(fake_driver.Network, "obstacle", "")
    for seed in range(4):
        assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed)))
    assert (on_cuda.stats().launches, on_cuda.stats().note) == (4, "")


def test_sessions_say_what_is_never_captured(driver):
    on_cpu, on_cuda = pair(scene_cut=0.5)
    for seed in range(3):
        assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed)))
    assert on_cuda.stats().note == "frames are not captured: scene cuts are looked for on the host"


def test_the_callers_device_is_his_again(driver):
    """Whatever is called; within the session all work is done with its own device current."""
    session = on_device(outputs=("composite",), background=engines.noise(9))
    frame = OnDevice(engines.noise(0))
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
    driver.cuCtxSetCurrent(0)
    for name, call in calls.items():
        with pytest.raises(FrameError) if name.startswith("bad") else nullcontext():
            call()
        assert int(driver.cuCtxGetCurrent()[1]) == 0, name


def test_a_stream_overlaps_and_keeps_its_results(driver):
    on_cpu, on_cuda = pair(outputs=("alpha", "pha"), ring=3)
    frames = [engines.noise(seed) for seed in range(12)]
    expected = [on_cpu(frame).copy() for frame in frames]
    kept = []
    for index, matte in enumerate(on_cuda.stream(iter(frames))):
        kept = [*kept, (index, matte)][-3:]
        for which, each in kept:
            assert_same(expected[which], each)
    assert index == 11


def test_sizes_chunks_batches_and_lanes(driver):
    on_cpu, on_cuda = pair(batch=2, outputs=("alpha", "pha", "composite"), background="blur")
    chunk = np.stack([[engines.noise(2 * time + stream) for time in range(5)] for stream in range(2)])
    assert_same(on_cpu(chunk), on_cuda(chunk))
    assert_same(on_cpu(chunk[:, 0]), on_cuda(chunk[:, 0]))
    larger = np.stack([engines.noise(8, 64, 48)] * 2)
    assert_same(on_cpu(larger), on_cuda(larger))
    assert_same(on_cpu(chunk[:, 1]), on_cuda(chunk[:, 1]))


def test_states_are_read_set_reset_and_forked(driver):
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
    twin.state = {"memory": OnDevice(state["memory"])}
    assert_same(on_cpu(engines.noise(6)), twin(engines.noise(6)))


def test_bad_frames_leave_no_trace(driver):
    on_cpu, on_cuda = pair(outputs=("alpha",))
    assert_same(on_cpu(engines.noise(0)), on_cuda(engines.noise(0)))
    for frame in (np.full((24, 32, 3), np.nan, np.float32), engines.noise(1)[..., :2]):
        with pytest.raises(FrameError):
            on_cuda(frame)
    assert_same(on_cpu(engines.noise(1)), on_cuda(engines.noise(1)))


def test_a_frame_that_fails_leaves_the_graphs_their_buffers(driver):
    """A blur has buffers for one size: those of another go, though that frame does not count."""
    on_cpu, on_cuda = pair(outputs=("composite",), background="blur")
    for seed in range(4):
        assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed)))
    used = {array.address for pair in on_cuda._background.buffers for array in pair}
    with pytest.raises(FrameError):
        on_cuda(np.full((48, 64, 3), np.nan, np.float32))
    launches = on_cuda.stats().launches
    assert_same(on_cpu(engines.noise(5)), on_cuda(engines.noise(5)))
    assert on_cuda.stats().launches > launches
    memory_type = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_MEMORY_TYPE
    types = {int(driver.cuPointerGetAttribute(memory_type, address)[1]) for address in used}
    assert types == {int(driver.CUmemorytype.CU_MEMORYTYPE_DEVICE)}, "freed, and the graphs use them"


def test_a_capture_of_the_callers_is_left_alone(driver):
    on_cpu, on_cuda = pair(outputs=("pha",))
    frame = OnDevice(engines.noise(0))
    assert_same(on_cpu(engines.noise(0)), on_cuda(frame))
    builder = frame.stream.create_graph_builder().begin_building()
    with pytest.raises(FrameError, match="call the session outside of the capture"):
        on_cuda(frame)
    builder.end_building().complete().close()
    builder.close()
    assert_same(on_cpu(engines.noise(0)), on_cuda(frame))


def test_pinned_memory_is_filled_by_the_threads_of_the_core(driver, monkeypatch):
    copied, copy = [], _core.copy
    monkeypatch.setattr(_core, "copy", lambda to, source: (copied.append(source.shape), copy(to, source)))
    on_cpu, on_cuda = pair(outputs=("pha",))
    out = np.zeros((24, 64, 1), np.uint8)
    on_cuda(engines.noise(0), out=out[:, ::2])
    assert copied == [(24, 32, 3), (24, 32, 1)], "the frame, and the result that the device cannot write itself"
    assert np.abs(out[:, ::2].astype(int) - on_cpu(engines.noise(0)).pha).max() <= 1


@pytest.mark.parametrize("closes", [True, False])
def test_memory_is_given_back(closes, driver):
    """Whether the session is closed or forgotten, though the caller has no context current, and last the result."""
    before = fake_driver.alive()
    session = on_device(outputs=("pha",))
    for seed in range(4):
        matte = session(engines.noise(seed))
    if closes:
        session.close()
    del session
    gc.collect()
    assert matte.pha.shape == (24, 32, 1)
    del matte
    gc.collect()
    assert fake_driver.alive() == before


def test_another_thread_forgets_the_session(driver):
    before = fake_driver.alive()
    sessions = [on_device(outputs=("pha",))]
    for seed in range(4):
        sessions[0](engines.noise(seed))
    thread = threading.Thread(target=lambda: (sessions.clear(), gc.collect()))
    thread.start()
    thread.join()
    gc.collect()
    assert fake_driver.alive() == before


def test_a_session_that_is_forgotten_waits_for_its_networks(driver):
    """Nobody has waited for the frame, whose result is on the device."""
    session = on_device(outputs=("pha",))
    expected = engines.memory().session(backend="onnxruntime", outputs=("pha",))(engines.noise(0)).pha
    pha = session(OnDevice(engines.noise(0))).pha
    del session
    assert np.abs(pha.get().astype(int) - expected).max() <= 1


def test_frames_come_from_the_host_and_the_device_in_turns(driver):
    """The ring is made anew each time."""
    on_cpu, on_cuda = pair(outputs=("pha",))
    for seed in range(8):
        frame = engines.noise(seed)
        assert_same(on_cpu(frame), on_cuda(frame if seed % 2 else OnDevice(frame)))


# ---------------------------------------------------------------------------------------------------------------------
# Faults that are planted, to be found


def test_memory_that_is_allocated_in_a_capture_is_noticed(driver, monkeypatch):
    fail_in_captures(monkeypatch, lambda network: driver.cuMemAlloc(64))
    on_cpu, on_cuda = pair()
    for seed in range(6):
        assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed)))
    assert "frames are not captured" in on_cuda.stats().note
    assert set(fake_driver.broken_rules()) == {"cuMemAlloc_v2 during a capture"}
    fake_driver.begin(0)


def all_seeds(work):
    """Report for each order of turns if the work saw what it expected. Rules are broken on purpose."""
    right = []
    for seed in range(12):
        fake_driver.begin(seed)
        try:
            work()
        except AssertionError:
            right.append(False)
        else:
            right.append(True)
    return right


SHAPES = (((24, 32, 1), "uint8"), ((1, 1, 12, 16), "float32"))  # of pha and alpha


@pytest.mark.parametrize("seed", [0])
@pytest.mark.parametrize("missing", ["upload", "compute", "download"])
def test_a_stream_that_does_not_wait_is_noticed(missing, seed, driver):
    """One of the three streams begins at once, and not after the others."""

    def frames():
        on_cpu, on_cuda = pair(outputs=("pha", "alpha"))
        fake_driver.never_wait(getattr(on_cuda._memory, missing))
        frames = [engines.noise(seed) for seed in range(12)]
        expected = [on_cpu(frame).copy() for frame in frames]
        for matte, other in zip(on_cuda.stream(frames), expected, strict=True):
            assert_same(other, matte)
        outs = [[OnDevice(np.zeros(shape, dtype)) for shape, dtype in SHAPES] for _ in range(8)]
        for seed, out in enumerate(outs):  # nobody waits for them
            on_cuda(engines.noise(seed), out=out)
        for seed, (pha, _) in enumerate(outs):
            assert np.abs(pha.get().astype(int) - on_cpu(engines.noise(seed)).pha).max() <= 1

    assert not all(all_seeds(frames))


@pytest.mark.parametrize("seed", [0])
def test_a_buffer_that_is_freed_too_early_is_noticed(seed, driver):
    """The graphs go on to write to it, and the results are read from it."""

    def frames():
        on_cpu, on_cuda = pair(outputs=("pha",))
        for seed in range(8):
            assert_same(on_cpu(engines.noise(seed)), on_cuda(engines.noise(seed)))
            if seed == 4:
                for side in on_cuda._executor.buffers.sides:
                    for array in side.departures.values():
                        array.owner.close()
                on_cuda._memory.compute.sync()

    all_seeds(frames)
    assert "the source of a copy is memory that was freed" in fake_driver.broken_rules()
    fake_driver.begin(0)


# ---------------------------------------------------------------------------------------------------------------------
# Real networks


@pytest.mark.parametrize("seed", [3])
@pytest.mark.parametrize("narrow", [0, 0.02], ids=["float32", "float16"])
@pytest.mark.parametrize("name", ["rvm_mobilenetv3-odd-ratio0.375"])
def test_rvm(name, narrow, seed, driver):
    vector, engine = reference.load(name), engines.of_vector(name)
    engine = engines.with_half(engine) if narrow else engine
    session = on_device(engine, dtype="float32", layout="CHW")
    for time, src in enumerate(vector.arrays["src"]):
        matte = session(src)
        for output in ("fgr", "pha"):
            difference = reference.largest_difference(matte[output], vector.arrays[output][time])
            assert difference <= vector.tolerance(output) + narrow, output


@pytest.mark.parametrize("seed", [3])
@pytest.mark.parametrize("kind", ["oversampling-prevented", "thresholding-scale"])
def test_bgmv2(kind, seed, driver):
    name = next(each for each in reference.vector_names("bgmv2") if "_refine_" in each and kind in each)
    vector, engine = reference.load(name), engines.of_vector(name)
    session = on_device(engine, dtype="float32", layout="CHW", outputs=("pha", "fgr", "ref_sm"))
    for _ in range(5):
        matte = session(vector.arrays["src"], vector.arrays["bgr"])
        for output in matte.names:
            difference = reference.largest_difference(matte[output], vector.arrays[output])
            assert difference <= vector.tolerance(output), output
    assert (session.stats().launches > 0) == (kind != "thresholding-scale")


@pytest.mark.parametrize("seed", [3])
def test_bgmv2_in_float16(seed, driver):
    """Other patches may be selected, since the errors that select them are rounded."""
    name = next(each for each in reference.vector_names("bgmv2") if "_refine_" in each and "oversampling-prev" in each)
    vector, engine = reference.load(name), engines.with_half(engines.of_vector(name))
    session = on_device(engine, dtype="float32", layout="CHW", outputs=("pha", "fgr_sm"))
    matte = session(vector.arrays["src"], vector.arrays["bgr"])
    assert 0 < np.abs(matte.pha - vector.arrays["pha"]).mean() < 5e-3
    assert matte.fgr_sm.dtype == np.float32
