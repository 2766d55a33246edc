"""The suite runs, refuses to time what is wrong, and README says what its results say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import __main__ as suite
from benchmarks import machine
from benchmarks.__main__ import _merge
from benchmarks.goals import GOALS
from benchmarks.models import weights
from benchmarks.models.bench_models import STAGE_ALONE, contenders
from benchmarks.models.contenders import ENTRIES
from benchmarks.models.race import CheckError, Pace, Race, RunnerError
from benchmarks.models.subjects import Subject, subjects
from benchmarks.ops import place as place_of_ops
from benchmarks.report import readme, tables, write
from benchmarks.report.results import Race as Measured
from benchmarks.report.results import read
from benchmarks.report.writing import warning

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SUBJECT = Subject("small", "rvm_mobilenetv3", 64, 48, 0.5)


def test_readme_says_what_the_results_say():
    text = (ROOT / "README.md").read_text()
    assert readme.generated(text, RESULTS) == text, "python -m benchmarks --report makes the tables anew"


def test_readme_without_its_marks():
    with pytest.raises(ValueError, match="0 pairs"):
        readme.generated("no tables here", RESULTS)


@pytest.mark.alone
def test_quick_run(tmp_path):
    """Everything, from the processes to the pictures, on something tiny."""
    pytest.importorskip("torch")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "rvm-quick", "--again", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results = read(tmp_path)
    race = results.races["rvm-quick"]
    assert race.questions == ["frame", "tensor", "device"]
    assert {"trtmatte", "torch-eager", "onnxruntime-loop"} == set(race.names("frame"))
    assert race.facts["errors"]["trtmatte"]["tensor"]["pha"]["mean"] < 1e-5
    assert all(facts["host_memory"] > 2**20 and facts["idle"] < 0.05 for facts in race.facts["contenders"].values())
    assert (tmp_path / "frame.png").stat().st_size > 1000
    report = (tmp_path / "report.md").read_text()
    assert "GuidedUpsample" in report
    assert "of a matrix product" in report
    assert "node" not in results.machine, "no names of hosts"


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        ([], RESULTS / machine.name("cpu")),
        (["--full"], RESULTS / machine.name("cpu")),
        (["--quick"], ROOT / "out" / "quick"),
        (["--quick", "--out", "/tmp/results"], Path("/tmp/results")),
    ],
)
def test_quick_results_replace_no_measurements(arguments, folder):
    assert suite._folder(suite._parser().parse_args(arguments), "cpu") == folder


def test_no_such_subject(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--only", "nothing", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no such benchmark: nothing" in done.stderr


def test_where_nothing_could_be_measured_the_failure_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(suite, "_run", lambda *_: "no luck")
    monkeypatch.setattr("sys.argv", ["benchmarks", "--device", "cpu", "--only", "ops", "--out", str(tmp_path)])
    assert suite.main() == 1
    assert "failed: ops" in capsys.readouterr().err


def test_what_is_wrong_is_not_timed():
    race = Race(SUBJECT, "cpu", [], Pace(1, 1, 1))
    expected: dict[str, Any] = {
        "composite": np.zeros((48, 64, 3), np.uint8),
        "pha": np.zeros((1, 1, 48, 64), np.float32),
    }
    off = {"composite": expected["composite"] + 1}
    race._compare("openvino", "frame", off, expected)  # which cuts off where others round
    with pytest.raises(CheckError, match="composite of trtmatte"):
        race._compare("trtmatte", "frame", off, expected)
    with pytest.raises(CheckError, match="pha of openvino"):
        race._compare("openvino", "tensor", {"pha": np.full_like(expected["pha"], np.nan)}, expected)


def test_a_rival_that_cannot_run_is_noted(monkeypatch):
    def refuse(*arguments: object) -> None:
        raise RunnerError("there is no such thing")

    monkeypatch.setattr("benchmarks.models.race.Runner", refuse)
    race = Race(SUBJECT, "cpu", [], Pace(1, 1, 1))
    race._open("openvino", {}, Path())
    assert race._failed == {"openvino": "there is no such thing"}
    with pytest.raises(RunnerError):
        race._open("trtmatte", {}, Path())


@pytest.mark.skipif(sys.platform != "linux", reason="processes are ended with their parent on Linux")
def test_no_worker_outlives_its_race():
    """Not even one that is stopped."""
    child = "import os, signal; from benchmarks.models import worker; worker._end_with_parent()"
    child = f"{child}; print(os.getpid(), flush=True); os.kill(os.getpid(), signal.SIGSTOP)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen(
        [sys.executable, "-c", parent], cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    number = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    for _ in range(100):
        if not Path(f"/proc/{number}").exists() or _is_zombie(number):
            return
        time.sleep(0.05)
    os.kill(number, signal.SIGKILL)
    pytest.fail("it is still there")


def test_ratios_are_of_rounds():
    """A machine that becomes slower changes no ratio, and first frames of turns do not count."""
    drifting = [[9.0 * scale, 2.0 * scale, 2.0 * scale] for scale in (1, 2, 4)]
    others = [[30.0 * scale, 4.0 * scale] for scale in (1, 2, 4)]
    race = _measured({"trtmatte": drifting, "torch-eager": others})
    assert race.ratio("frame", "torch-eager", "trtmatte") == (2, 2, 2)
    assert max(race.frames("frame", "trtmatte")) == 8


def test_streams_share_a_call():
    race = _measured({"trtmatte": [[8.0]]}, batch=2, streams=2)
    assert race.median("frame", "trtmatte") == 2


def test_goals(tmp_path):
    """Held, not held, and not measured."""
    subject = "rvm-mobilenetv3-1080p"
    turns = {"trtmatte": [[10.0]], "onnxruntime-loop": [[30.0]], "network": [[5.0]]}
    _write(tmp_path, _facts(turns, name=subject))
    rows = {line.split("|")[1].strip(): line for line in tables.goals(read(tmp_path)).splitlines()}
    against = f"{subject}, frame: trtmatte against"
    assert "| 3.00× | held" in rows[f"{against} ONNX Runtime, the documents' loop"]
    assert "| 2.00× | **not held**" in rows[f"{against} the network stage alone"]
    assert "not measured" in rows[f"{against} PyTorch, eager"]


def test_what_lost_is_told(tmp_path):
    _write(tmp_path, _facts({"trtmatte": [[10.0]], "openvino": [[8.0]]}))
    write(tmp_path)
    report = (tmp_path / "report.md").read_text()
    assert "OpenVINO, the official file takes 0.80 times as long" in report
    assert "Level: " not in report
    assert "Not to be quoted" not in report


def test_what_is_level_has_not_lost(tmp_path):
    turns = {"trtmatte": [[10.0], [10.0], [10.0]], "openvino": [[9.0], [9.8], [11.0]]}
    _write(tmp_path, _facts(turns))
    assert "0.98 times as long (0.94 … 1.04). Level: it is not ahead in all rounds." in "".join(
        tables.losses(read(tmp_path))
    )


def test_a_busy_machine_is_told(tmp_path):
    _write(tmp_path, {**_facts({"trtmatte": [[10.0]]}), "others": 0.5})
    assert "others used up to 50%" in warning(read(tmp_path))


def test_what_is_measured_anew_has_its_own_commit(tmp_path):
    for name, commit in (("one", "abc"), ("two", "abc"), ("two", "def")):
        part: dict[str, Any] = {"commit_info": {"id": commit}, "machine_info": {}}
        part["benchmarks"] = [{"name": name, "extra_info": _facts({"trtmatte": [[10.0]]}, name=name)}]
        (tmp_path / f"{name}.json").write_text(json.dumps(part))
        _merge(tmp_path, tmp_path, [name], keep=True)
    results = read(tmp_path)
    assert {name: race.facts["commit"] for name, race in results.races.items()} == {"one": "abc", "two": "def"}
    assert results.commit == "def, abc"


def test_subjects_and_goals_know_each_other():
    names = {each.name: each for each in subjects("full")}
    assert len(names) == len(subjects("full"))
    for goal in GOALS:
        assert goal.subject in names
        assert goal.contender in ENTRIES
        assert goal.than in ENTRIES or goal.than in names
    assert set(STAGE_ALONE) <= set(names)
    assert {each.group for each in names.values()} == {"models", "size", "streams", "batch"}
    assert {each.name for each in subjects("standard")} < set(names)
    assert all("device" in each.questions for each in subjects("standard", "cuda"))


def test_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setenv("TRTMATTE_OFFLINE", "1")
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path))
    real = next(each for each in subjects("full") if each.real)
    assert weights.at_hand(real) == replace(real, real=False)


def test_contenders():
    pytest.importorskip("onnxruntime")
    hd, small, batch = (
        next(each for each in subjects("full") if each.name == name)
        for name in ("rvm-mobilenetv3-1080p", "u2netp-320", "batch-2")
    )
    assert {"trtmatte", "network", "onnxruntime-loop", "onnxruntime-bound"} <= set(contenders(hd, "standard", "cpu"))
    assert "torch-compile" not in contenders(small, "standard", "cpu")
    assert not {"network", "onnxruntime-cuda-loop"} & set(contenders(small, "full", "cpu"))
    assert set(contenders(batch, "full", "cpu")) <= {"trtmatte", "torch-eager"}


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("rvm_mobilenetv3", {"scale": 0.5}),
        ("bgmv2_refine_mobilenetv2", {"scale": 0.5, "sample_pixels": 256}),
    ],
)
def test_contenders_agree(model, options, tmp_path):
    """Sessions of each family are called as the family needs it; BackgroundMattingV2 gets its plate."""
    pytest.importorskip("torch")
    small = Subject("small", model, 128, 96, **options)
    weights.prepare(small, tmp_path)
    race = Race(small, "cpu", [], Pace(1, 1, 1))
    ours, reference = (ENTRIES[name].open(small, "cpu", tmp_path) for name in ("trtmatte", "torch-eager"))
    for question in small.questions:
        ours.reset()
        reference.reset()
        found, expected = (
            each.got(question, each.run(question, each.given(question, 0))) for each in (ours, reference)
        )
        race._compare("trtmatte", question, found, expected)


def test_a_folder_for_each_machine(monkeypatch):
    monkeypatch.setattr(machine, "processor", lambda: "AMD EPYC 7B13")
    monkeypatch.setattr(machine, "processors", lambda: 2)
    assert machine.name("cpu") == "cpu-2-cores-amd-epyc-7b13"
    monkeypatch.setattr(machine, "gpu", lambda: {"name": "NVIDIA H200"})
    assert machine.name("cuda") == "cuda-nvidia-h200"


@pytest.mark.parametrize(("moved", "expected"), [(4 << 20, 60), (256 << 20, 20)])
def test_ops_find_the_cache_of_a_device_cold(moved, expected, monkeypatch):
    """Between two calls on the same buffers, all that is in the cache is replaced. So it is for copies."""
    torch = _torch_that_records(60 << 20)
    monkeypatch.setitem(sys.modules, "torch", torch)
    place = place_of_ops.Cuda()
    bound = iter(range(1000))

    def bind():
        buffers = next(bound)
        return lambda: torch.captured.append(buffers)

    place.repeated(bind, moved)()
    assert torch.captured == list(range(expected)), "no buffers are used twice in a graph, which is replayed as it is"
    assert len(torch.captured) * moved >= 4 * torch.cache
    assert len(torch.captured) == place.calls(moved)
    torch.captured.clear()
    place.copies(moved)["memcpy"]()
    assert len({id(target) for target in torch.captured}) == place.calls(moved)


# ---------------------------------------------------------------------------------------------------------------------


def _torch_that_records(cache: int) -> SimpleNamespace:
    """The part of torch that the place of the ops needs; it records what is done in a capture."""
    captured: list[Any] = []

    class Copied:
        def cuda(self):
            return self

        def copy_(self, source):
            captured.append(self)

    class Graph(nullcontext):
        def __enter__(self):
            captured.clear()

    return SimpleNamespace(
        cache=cache,
        captured=captured,
        from_numpy=lambda array: Copied(),
        cuda=SimpleNamespace(
            Stream=lambda: SimpleNamespace(cuda_stream=1),
            CUDAGraph=lambda: SimpleNamespace(replay=lambda: None),
            graph=lambda graph, stream: Graph(),
            synchronize=lambda: None,
            current_device=lambda: 0,
            get_device_properties=lambda device: SimpleNamespace(L2_cache_size=cache),
        ),
    )


def _facts(turns, **options):
    subject = Subject(**{"name": "small", "model": "rvm_mobilenetv3", "width": 64, "height": 48, **options})
    contender = {"host_memory": 2**20, "load": 1.0, "first_ms": 2.0}
    return {
        "subject": subject.to_json(),
        "rounds": 1,
        "others": 0.0,
        "ms": {"frame": turns},
        "energy": {},
        "errors": {},
        "contenders": {name: {"what": ENTRIES[name].what, **contender} for name in turns},
        "failed": {},
        "stages": {},
    }


def _measured(turns, **options):
    return Measured(_facts(turns, **options))


def _write(folder, facts):
    about = {"device": "cpu", "cpu": "AMD EPYC", "processors": 2, "gpu": None}
    benchmarks = [{"name": "test_model[small]", "extra_info": facts}]
    data = {"machine_info": about, "commit_info": {"id": "abc"}, "benchmarks": benchmarks}
    (folder / "models.json").write_text(json.dumps(data))


def _environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *(each for each in sys.path if each)])}


def _is_zombie(number):
    return Path(f"/proc/{number}/stat").read_text().rsplit(") ", 1)[1].startswith("Z")
