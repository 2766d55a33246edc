"""Pieces: their reports, also of steps that fail, hang or lack a device; and what README says of the results."""

from __future__ import annotations

import json
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.ops.specification import agree, run
from tools.gpu_day import collect, ran
from tools.gpu_day import run as running
from tools.gpu_day.archive import pack, write_list
from tools.gpu_day.pieces import PIECES, Step
from tools.gpu_day.report import shortened
from tools.gpu_day.steps import counters, tensorrt_contact
from trtmatte.compiler.graph.functions import OPS

ROOT = Path(__file__).parents[2]


def step(name: str, code: str, limit: int = 60, archives: tuple[str, ...] = ()) -> Step:
    return Step(name, limit, (sys.executable, "-c", code), archives)


@pytest.fixture
def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a piece of these steps. Returns its report."""
    monkeypatch.setattr(running, "BROUGHT", tmp_path / "brought")
    monkeypatch.setattr(running, "WORK", tmp_path / "work")
    monkeypatch.setattr(running, "PACKAGE", tmp_path)
    monkeypatch.setenv("GPU_DAY", str(tmp_path / "day"))
    monkeypatch.setattr(running.Day, "_facts", lambda self: {"name": "cuda-nvidia-h200"})

    def of(*steps: Step, seconds: float = 60, rehearsal: bool = False) -> dict[str, Any]:
        monkeypatch.setitem(PIECES, "made up", steps)
        there = running.Day(tmp_path / "out", time.monotonic() + seconds, rehearsal)
        there.keep()
        failed = there.run("made up", None)
        report: dict[str, Any] = json.loads((tmp_path / "out" / "made up.json").read_text())
        statuses = {each["name"]: each["status"] for each in report["steps"]}
        assert failed == [name for name, status in statuses.items() if status not in ("ok", "no device")]
        return {**report, "statuses": statuses, "by name": {each["name"]: each for each in report["steps"]}}

    return of


# ---------------------------------------------------------------------------------------------------------------------
# Steps


def test_a_failed_step_does_not_stop_the_others(day: Any) -> None:
    report = day(step("one", "raise ValueError('no luck')"), step("two", "print('3 passed, 1 skipped in 0.1s')"))
    assert report["statuses"] == {"one": "failed", "two": "ok"}
    assert "no luck" in report["by name"]["one"]["message"]
    assert report["by name"]["two"]["numbers"] == {"passed": 3, "skipped": 1}
    assert report["machine"] == {"name": "cuda-nvidia-h200"}


def test_a_step_that_takes_too_long_is_ended(day: Any) -> None:
    report = day(step("long", "import time; time.sleep(60)", limit=1), step("next", "pass"))
    assert report["statuses"] == {"long": "timeout", "next": "ok"}


def test_without_time_left_steps_do_not_begin(day: Any) -> None:
    assert day(step("one", "pass"), seconds=1)["statuses"] == {"one": "not run"}


PARTS = """
from tools.gpu_day.report import part
part("first", lambda: {"ms": 1.5})
part("second", lambda: 1 / 0)
"""


def test_parts_of_a_step_are_reported(day: Any) -> None:
    report = day(step("whole", PARTS))
    assert report["statuses"] == {"whole: first": "ok", "whole: second": "failed", "whole": "ok"}
    assert report["by name"]["whole: first"]["numbers"] == {"ms": 1.5}
    assert "ZeroDivisionError" in report["by name"]["whole: second"]["message"]


def test_parts_are_in_the_report_while_their_step_runs(day: Any, tmp_path: Path) -> None:
    """So a hard stop loses nothing: here the step itself looks into the report."""
    look = f"import time; time.sleep(3); print(open({str(tmp_path / 'out' / 'made up.json')!r}).read())"
    day(step("whole", f"{PARTS}\n{look}"))
    assert '"whole: first"' in (tmp_path / "out" / "made up.log").read_text()


def test_messages_name_no_host_and_no_folder() -> None:
    said = f"CUDA failure 35 ; GPU=-1 ; hostname=somebodys-box ; file={Path.cwd()}/a.cc ;\n expr=cudaSetDevice"
    assert shortened(said) == "CUDA failure 35 ; GPU=-1 ; file=a.cc ; expr=cudaSetDevice"
    assert len(shortened("word " * 1000)) < 700


@pytest.mark.parametrize(
    ("said", "rehearsal", "status"),
    [
        ("CUDA initialization failure with error: 35", True, "no device"),
        ("CUDA initialization failure with error: 35", False, "failed"),
        ("ModuleNotFoundError: No module named 'x'; needs a CUDA device", True, "failed"),
        ("something else", True, "failed"),
    ],
)
def test_a_rehearsal_reaches_the_device(said: str, rehearsal: bool, status: str, day: Any) -> None:
    report = day(step("one", f"import sys; sys.exit({said!r})"), rehearsal=rehearsal)
    assert report["statuses"] == {"one": status}


def test_what_was_brought_is_kept_joined_and_found(day: Any, tmp_path: Path) -> None:
    """Its pieces come in several calls, and the step finds the whole."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "noise").write_bytes(np.random.default_rng(0).bytes(3000))
    packed = pack(tmp_path / "source", "onnxruntime", tmp_path / "prepared", 2000)
    (tmp_path / "brought" / "kit").mkdir(parents=True)
    write_list([packed], tmp_path / "brought" / "kit" / "archives.json")
    (tmp_path / "prepared" / "onnxruntime-0").rename(tmp_path / "brought" / "onnxruntime-0")
    code = "import sys, os; sys.exit(not any(os.path.isfile(f'{path}/noise') for path in sys.path))"
    looking = step("looking", code, archives=("onnxruntime",))
    report = day(looking)
    assert "bring these as well: onnxruntime.tar.xz.01" in report["by name"]["looking"]["message"]
    (tmp_path / "prepared" / "onnxruntime-1").rename(tmp_path / "brought" / "onnxruntime-1")
    assert day(looking)["statuses"] == {"looking": "ok"}


def test_without_a_core_that_is_the_first_step(day: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "PACKAGE", tmp_path / "nothing")
    monkeypatch.setattr(running, "CORE", step("core", "pass"))
    assert day(step("one", "pass"))["statuses"] == {"core": "ok", "one": "ok"}


def test_an_archive_that_was_not_prepared(day: Any) -> None:
    report = day(step("one", "pass", archives=("tensorrt",)))
    assert "tensorrt was not prepared" in report["by name"]["one"]["message"]


def test_the_steps_of_a_piece_have_names_of_their_own() -> None:
    assert all(len({step.name for step in steps}) == len(steps) for steps in PIECES.values())


# ---------------------------------------------------------------------------------------------------------------------
# What the steps do, as far as it can be seen without a device


@pytest.mark.parametrize("op", OPS)
def test_plugin_networks_compute_what_their_bodies_do(op: str) -> None:
    import onnxruntime

    inputs, attributes = tensorrt_contact.plugin_cases()[op]
    model = tensorrt_contact.plugin_network(op, inputs, attributes)
    onnx.checker.check_model(model)
    assert {each.name for each in model.graph.input} == inputs.keys()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = dict(zip((each.name for each in session.get_outputs()), session.run(None, inputs), strict=True))
    for name, value in run(op, inputs, **attributes).items():
        agree(found[name], value, scale=1.6, what=name)


def test_counters_are_read() -> None:
    said = """==PROF== Connected
"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"
"0","void trtmatte::matte_blocks<GuidedUpsample>(Op, View)","dram__bytes.sum","Mbyte","62.1"
"0","void trtmatte::matte_blocks<GuidedUpsample>(Op, View)","gpu__time_duration.sum","us","31.5"
"""
    assert counters.read(said) == {
        "matte_blocks": {"dram__bytes.sum": "62.1 Mbyte", "gpu__time_duration.sum": "31.5 us"}
    }


# ---------------------------------------------------------------------------------------------------------------------
# Results

ROWS = (
    ran.Row("Python", "3.11"),
    ran.Row("the ops", "compiled", "**Not run**", ("kernels/tests", "sanitizers/memcheck")),
)
README = f"before\n{ran.BEGIN}{ran.END}\nafter\n"


def came_back(folder: Path, piece: str, *steps: dict[str, Any], rehearsal: bool = False, **machine: Any) -> Path:
    facts = {"name": "cuda-nvidia-h200", "gpu": {"name": "NVIDIA H200", "driver_version": "580.1"}, **machine}
    folder.mkdir(exist_ok=True)
    content = {"piece": piece, "rehearsal": rehearsal, "machine": facts, "steps": steps}
    (folder / f"{piece}.json").write_text(json.dumps(content))
    return folder


def result(name: str, status: str = "ok", **numbers: int) -> dict[str, Any]:
    return {"name": name, "status": status, "seconds": 1.0, "numbers": numbers, "message": ""}


def test_readme_says_what_has_run() -> None:
    text = (ROOT / "README.md").read_text()
    assert ran.generated(text, collect.RESULTS) == text, "python -m tools.gpu_day.collect makes the table anew"


def test_rows_name_steps_that_there_are() -> None:
    known = {f"{piece}/{step.name}" for piece, steps in PIECES.items() for step in steps}
    assert {name.partition(":")[0] for row in ran.ROWS for name in row.steps} <= known


def test_without_results_a_row_says_so(tmp_path: Path) -> None:
    table = ran.generated(README, tmp_path, ROWS)
    assert "| Python | 3.11 |\n| the ops | compiled. **Not run** |\n" in table
    assert table.startswith("before\n")
    assert table.endswith("after\n")


def test_results_take_the_place_of_that(tmp_path: Path) -> None:
    results = tmp_path / "results"
    collect.collect(came_back(tmp_path / "one", "kernels", result("tests", passed=812, skipped=2)), results)
    collect.collect(
        came_back(tmp_path / "two", "sanitizers", result("memcheck", "failed", passed=9, failed=1)), results
    )
    row = ran.generated(README, results, ROWS).splitlines()[6]
    link = "[NVIDIA H200](benchmarks/results/cuda-nvidia-h200/day)"
    told = "tests 812 passed, 2 skipped, memcheck **failed** (9 passed, 1 failed)"
    assert row == f"| the ops | compiled. On {link}, driver 580.1: {told} |"


def test_a_step_that_is_run_again_replaces_the_earlier_one(tmp_path: Path) -> None:
    for folder, steps in (("one", [result("core"), result("tests", "failed")]), ("two", [result("tests", passed=3)])):
        device = collect.collect(came_back(tmp_path / folder, "kernels", *steps), tmp_path / "results")
    assert device is not None
    steps = json.loads((device / "day" / "kernels.json").read_text())["steps"]
    assert {each["name"]: each["status"] for each in steps} == {"core": "ok", "tests": "ok"}


def test_files_of_benchmarks_and_plans_go_to_the_device(tmp_path: Path) -> None:
    folder = came_back(tmp_path / "one", "ops", result("op-benchmarks"))
    for name in ("benchmarks/ops.json", "files/layers-rvm.json", "checks/tests.log"):
        path = tmp_path / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[]")
    with tarfile.open(folder / "files.tar.gz", "w:gz") as tar:
        for name in ("benchmarks", "files", "checks"):
            tar.add(tmp_path / "work" / name, name)
    device = collect.collect(folder, tmp_path / "results")
    assert device is not None
    found = sorted(str(path.relative_to(device)) for path in device.rglob("*") if path.is_file())
    assert found == ["day/layers-rvm.json", "day/ops.json", "ops.json"]


def test_a_rehearsal_is_no_result(tmp_path: Path) -> None:
    folder = came_back(tmp_path / "one", "kernels", result("tests", "no device"), rehearsal=True)
    assert collect.collect(folder, tmp_path / "results") is None
    assert not (tmp_path / "results").exists()


def test_what_cannot_be_collected(tmp_path: Path) -> None:
    with pytest.raises(collect.CollectError, match="names no GPU"):
        collect.collect(came_back(tmp_path / "one", "kernels", gpu=None), tmp_path)
    came_back(tmp_path / "two", "kernels")
    with pytest.raises(collect.CollectError, match="expected those of one device"):
        collect.collect(came_back(tmp_path / "two", "tensorrt", name="cuda-nvidia-h100"), tmp_path)
    (tmp_path / "two" / "other.json").write_text('{"piece": "lunch"}')
    with pytest.raises(collect.CollectError, match="not the result of a piece"):
        collect.collect(tmp_path / "two", tmp_path)


def test_readme_without_its_marks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 pairs"):
        ran.generated("no table here", tmp_path)
