"""The core around the ops: threads, memory, processes, what an import costs."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import trtmatte
from tests.conftest import AVAILABLE_SETS, INSTRUCTION_SETS
from tests.ops.specification import maps, picture
from trtmatte import BackendError, SettingError, _core, ops

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parent.parent
PACKAGE = Path(trtmatte.__file__).parent.parent


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts the number of threads back."""
    before = trtmatte.get_num_threads()
    yield
    trtmatte.set_num_threads(before)


def run_python(code: str, *options: str) -> str:
    """What a fresh interpreter prints. The package is the one under test."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE), str(ROOT)])}
    command = [sys.executable, *options, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Work:
    """One call of each op, into the same arrays each time."""

    def __init__(self, height: int = 120, width: int = 200, seed: int = 0) -> None:
        self.frame = picture(height, width, seed=seed)
        self.small = maps(4, height // 4, width // 4, seed=seed + 1)
        self.err = self.small[:, :1]
        self.grid = height // 4, width // 4
        self.out: dict[str, np.ndarray] = {
            "sample": np.zeros((1, 3, height // 3, width // 3), np.float32),
            "fgr": np.zeros((height, width, 3), np.uint8),
            "pha": np.zeros((height, width, 1), np.uint8),
            "composite": np.zeros((height, width, 3), np.uint8),
            "rgba": np.zeros((height, width, 4), np.uint8),
            "indices": np.zeros((40, 3), np.int32),
            "count": np.zeros(1, np.int32),
            "ref": np.zeros((1, 1, *self.grid), np.float32),
            "half": np.zeros((40, 10, 8, 8), np.float32),
            "full": np.zeros((40, 6, 8, 8), np.float32),
        }
        self.patches = maps(4, 4, 4, 40, seed=seed + 2)

    def pick(self, *names: str) -> dict[str, np.ndarray]:
        return {name: self.out[name] for name in names}

    def run(self) -> dict[str, np.ndarray]:
        height, width = self.out["sample"].shape[2:]
        small, frame = self.small, self.frame
        ops.frame_sample(frame, height, width, method="antialias", out=self.out["sample"])
        ops.guided_upsample(frame, small, small, out=self.pick("fgr", "pha"))
        behind = self.out["sample"]
        ops.matte_upsample(
            frame, self.err, outputs=("composite",), background=behind, out=self.pick("composite"), method="area"
        )
        ops.patch_select(self.err, *self.grid, k=40, **self.pick("indices", "count", "ref"))
        ops.patch_crop(small, frame, frame, self.out["indices"], **self.pick("half", "full"))
        ops.patch_scatter(small, self.patches, self.out["indices"], frame, outputs=("rgba",), out=self.pick("rgba"))
        return {name: value.copy() for name, value in self.out.items()}


def assert_same(results: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for name, value in expected.items():
        np.testing.assert_array_equal(results[name], value, name)


# ---------------------------------------------------------------------------------------------------------------------
# Threads


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("count", [1, 2, 3, 5, 16])
def test_results_do_not_depend_on_the_number_of_threads(count):
    trtmatte.set_num_threads(1)
    expected = Work().run()
    trtmatte.set_num_threads(count)
    assert trtmatte.get_num_threads() == count
    assert_same(Work().run(), expected)


def test_the_number_of_threads_is_at_first_that_of_the_processors():
    code = "import trtmatte; print(trtmatte.get_num_threads())"
    assert int(run_python(code)) == _core.available_processors() == len(os.sched_getaffinity(0))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("wrong", [0, -1, 1025])
def test_wrong_numbers_of_threads(wrong):
    before = trtmatte.get_num_threads()
    with pytest.raises(SettingError, match=f"number of threads is {wrong}; expected 1 to 1024"):
        trtmatte.set_num_threads(wrong)
    with pytest.raises(TypeError):
        trtmatte.set_num_threads("2")
    assert trtmatte.get_num_threads() == before


def test_several_python_threads_get_what_each_would_get_alone():
    works = [Work(seed=10 * number) for number in range(4)]
    expected = [work.run() for work in works]
    barrier = threading.Barrier(len(works))

    def repeat(work: Work) -> list[dict[str, np.ndarray]]:
        barrier.wait()
        return [work.run() for _ in range(25)]

    with ThreadPoolExecutor(len(works)) as executor:
        for results, one in zip(executor.map(repeat, works), expected, strict=True):
            for result in results:
                assert_same(result, one)


@pytest.mark.usefixtures("threads")
def test_the_number_of_threads_may_change_while_others_work():
    work = Work()
    expected = work.run()
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            for count in (1, 3, 2, 5):
                trtmatte.set_num_threads(count)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(50):
            assert_same(work.run(), expected)
    finally:
        done.set()
        changer.join()


def test_python_goes_on_while_an_op_works():
    """The other thread gives the GIL back at once, and this one only where the op releases it."""
    frame, small = picture(2160, 3840), maps(4, 270, 480)
    out = {"fgr": np.empty_like(frame)}
    done, laps = threading.Event(), [0]

    def count() -> None:
        while not done.is_set():
            laps[0] += 1
            time.sleep(0)

    interval = sys.getswitchinterval()
    other = threading.Thread(target=count)
    other.start()
    try:
        sys.setswitchinterval(10)
        before = laps[0]
        for _ in range(3):
            ops.guided_upsample(frame, small, small, outputs=("fgr",), out=out)
        assert laps[0] - before > 10
    finally:
        sys.setswitchinterval(interval)
        done.set()
        other.join()


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_threads_that_cannot_be_had_are_an_error_and_not_the_end():
    code = """
        import resource
        import numpy as np
        import trtmatte
        from trtmatte import ops

        frame = np.zeros((1000, 8, 3), np.uint8)
        size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (200 << 20), -1))
        trtmatte.set_num_threads(1000)
        try:
            ops.frame_sample(frame, 1000, 8)
        except trtmatte.errors.BackendError as error:
            print(str(error).partition(":")[0])
        trtmatte.set_num_threads(2)
        print(ops.frame_sample(frame, 1000, 8).sum())
    """
    assert run_python(code).splitlines() == ["cannot start 999 threads for the ops", "0.0"]


# ---------------------------------------------------------------------------------------------------------------------
# Processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_can_use_the_ops():
    """Its parent's threads are not there any more. A lock held for ever would end in the timeout."""
    code = """
        import os, threading
        import numpy as np
        from tests.test_core import Work, assert_same

        work = Work()
        expected = work.run()
        done = threading.Event()
        busy = Work()
        other = threading.Thread(target=lambda: [busy.run() for _ in iter(done.is_set, True)])
        other.start()
        for _ in range(10):
            child = os.fork()
            if child == 0:
                assert_same(work.run(), expected)
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            assert_same(work.run(), expected)
        done.set()
        other.join()
        print("done")
    """
    assert run_python(code, "-W", "ignore::DeprecationWarning").strip() == "done"


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_is_allocated_call_after_call():
    work = Work()
    for _ in range(20):
        work.run()
    allocations, before = _core.allocations(), resident()
    for _ in range(300):
        work.run()
    assert _core.allocations() == allocations
    assert resident() - before < 1 << 20


def test_memory_is_kept_for_the_largest_call():
    small, large = Work(), Work(240, 400)
    large.run()
    small.run()
    allocations = _core.allocations()
    large.run()
    small.run()
    assert _core.allocations() == allocations


# ---------------------------------------------------------------------------------------------------------------------
# Instruction sets


def test_instruction_sets():
    assert _core.instruction_set() == _core.best_instruction_set() == AVAILABLE_SETS[-1]
    for name in AVAILABLE_SETS:
        _core.set_instruction_set(name)
        assert _core.instruction_set() == name
    with pytest.raises(SettingError, match="'sse9' is unknown"):
        _core.set_instruction_set("sse9")
    assert _core.instruction_set() == AVAILABLE_SETS[-1]


@pytest.mark.parametrize("name", [name for name in INSTRUCTION_SETS if name not in AVAILABLE_SETS])
def test_instruction_sets_that_the_machine_lacks(name):
    with pytest.raises(BackendError, match=f"cannot run '{name}'"):
        _core.set_instruction_set(name)


# ---------------------------------------------------------------------------------------------------------------------
# Imports


def test_import_is_quick():
    """It takes a part of the time that numpy, which it needs, takes."""
    code = """
        import time
        start = time.perf_counter()
        import numpy
        numpy_done = time.perf_counter()
        import trtmatte
        print(numpy_done - start, time.perf_counter() - numpy_done)
    """
    runs = np.array([[float(each) for each in run_python(code).split()] for _ in range(5)])
    numpys, ours = runs.min(0)
    assert ours < 0.3 * numpys


def test_import_needs_numpy_and_the_core_alone():
    code = "import sys, trtmatte, trtmatte.ops; print(*{name.partition('.')[0] for name in sys.modules})"
    heavy = {"torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "openvino", "cupy", "cuda", "av", "PIL"}
    assert not heavy & set(run_python(code).split())


def test_stubs_agree_with_the_core(tmp_path):
    """On copies beside each other, as a module of its own: within the package it takes half a minute."""
    pytest.importorskip("mypy")
    for path in (Path(_core.__file__), PACKAGE / "trtmatte/_core.pyi"):
        shutil.copy(path, tmp_path)
    environment = {**os.environ, "MYPYPATH": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "mypy.stubtest", "_core"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_stubs_name_the_parameters():
    """stubtest cannot see them; pybind11 writes them into the docstrings."""
    stub = ast.parse((PACKAGE / "trtmatte/_core.pyi").read_text())
    functions = [node for node in stub.body if isinstance(node, ast.FunctionDef)]
    assert len(functions) > 10
    for node in functions:
        documented = re.findall(r"(\w+): ", getattr(_core, node.name).__doc__.splitlines()[0])
        if documented:
            assert documented == [each.arg for each in (*node.args.args, *node.args.kwonlyargs)], node.name
    assert "step_y" in str(_core.frame_sample.__doc__)


# ---------------------------------------------------------------------------------------------------------------------
# Copies


def view_of(array: np.ndarray, which: str) -> np.ndarray:
    """An array of the same values that lies otherwise in memory."""
    if which == "packed":
        return array
    if which == "padded":
        wide = np.zeros((*array.shape[:-2], array.shape[-2] + 5, array.shape[-1]), array.dtype)
        wide[..., 3:-2, :] = array
        return wide[..., 3:-2, :]
    if which == "other channel order":
        return np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    if which == "upside down":
        return np.ascontiguousarray(array[..., ::-1, :, :])[..., ::-1, :, :]
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, -1, -3)), -3, -1)


VIEWS = ("packed", "padded", "other channel order", "upside down", "channels first")


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "int32"])
@pytest.mark.parametrize("shape", [(7, 5, 3), (241, 1023, 3), (2, 3, 97, 64, 4), (1, 1, 1), (0, 4, 3), (1, 65537, 3)])
@pytest.mark.parametrize("source", VIEWS)
def test_copies_are_exact(shape: tuple[int, ...], source: str, dtype: str, threads: None) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    for count in (1, 3):
        trtmatte.set_num_threads(count)
        for to in VIEWS:
            target = view_of(np.zeros(shape, dtype), to)
            _core.copy(target, view_of(values, source))
            np.testing.assert_array_equal(target, values)


def test_a_copy_touches_nothing_besides() -> None:
    wide = np.full((50, 40, 3), 7, np.uint8)
    _core.copy(wide[5:45, 3:31], np.zeros((40, 28, 3), np.uint8))
    assert not wide[5:45, 3:31].any()
    wide[5:45, 3:31] = 7
    assert (wide == 7).all()


def test_copies_repeat_a_row() -> None:
    row = np.arange(12, dtype=np.uint8).reshape(1, 4, 3)
    target = np.zeros((5, 4, 3), np.uint8)
    _core.copy(target, np.broadcast_to(row, target.shape))
    np.testing.assert_array_equal(target, np.broadcast_to(row, target.shape))


@pytest.mark.parametrize("source", [np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.float32)])
def test_arrays_that_differ_are_not_copied(source: np.ndarray) -> None:
    with pytest.raises(trtmatte.FrameError, match=r"source is .*; expected uint8"):
        _core.copy(np.zeros((3, 2), np.uint8), source)


def test_read_only_arrays_are_not_written() -> None:
    target = np.zeros((3, 2), np.uint8)
    target.flags.writeable = False
    with pytest.raises(trtmatte.FrameError, match="read-only"):
        _core.copy(target, np.zeros((3, 2), np.uint8))
