"""The runner finds every kind of fault in a program that has them all."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from random import Random

import pytest

from fuzz import __main__ as command
from fuzz import report, runner
from fuzz.mutations import mutate
from fuzz.runner import Limits, Result, run
from fuzz.target import Target

VICTIM = "tests.fuzz.victim"
QUICK = Limits(seconds=1.5, memory=32 << 20, shrinking=3)


def attacked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *inputs: bytes, jobs: int = 1) -> Result:
    monkeypatch.setenv("VICTIM_SEEDS", " ".join(map(bytes.hex, inputs)))
    return run(VICTIM, tries=len(inputs) + 2, jobs=jobs, out=tmp_path / "out", limits=QUICK)


@pytest.mark.parametrize(
    ("data", "kind", "where"),
    [
        (b"!!A", "crash", "SIGABRT victim.py"),
        (b"!!H", "hang", "victim.py"),
        (b"!!E", "error", "KeyError victim.py"),
        (b"!!X", "error", "SystemExit victim.py"),
        (b"!!W", "wrong", "AssertionError victim.py"),
        (b"!!M", "memory", "grows"),
    ],
)
def test_a_fault_is_found_and_the_run_goes_on(
    data: bytes, kind: str, where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = attacked(monkeypatch, tmp_path, data, b"ok", b"no")
    assert (result.tries, result.accepted, result.refused, result.findings) == (5, 2, 2, {kind: 1})
    (problem,) = result.problems.values()
    assert problem.where.startswith(where)
    (kept,) = (tmp_path / "out" / "victim").glob(f"{kind}-????????")
    assert kept.read_bytes() == data
    assert "seed 0, input 2\n" in kept.with_suffix(".txt").read_text()


def test_the_same_cause_is_kept_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = attacked(monkeypatch, tmp_path, b"!!E1", b"!!E2", b"!!A1", b"!!A2", jobs=2)
    assert result.findings == {"error": 2, "crash": 2}
    assert len(result.problems) == 2


def test_an_input_is_shrunk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    attacked(monkeypatch, tmp_path, b"!!E" + bytes(range(200)))
    (kept,) = (tmp_path / "out" / "victim").glob("error-????????")
    assert kept.read_bytes() == b"!!E"


def test_inputs_depend_on_seed_and_number_alone() -> None:
    one, other = Target(VICTIM), Target(VICTIM)
    inputs = [one.input(3, number) for number in range(500)]
    assert inputs == [other.input(3, number) for number in range(499, -1, -1)][::-1]
    assert inputs[:2] == one.seeds
    assert len(set(inputs)) > 400
    assert inputs[2:] != [one.input(4, number) for number in range(2, 500)]


def test_a_structure_that_is_broken_is_damaged_as_bytes() -> None:
    def mutate_whole(data: bytes, _: Random) -> bytes:
        assert data in target.seeds
        return data[:-1]

    target = Target(VICTIM)
    target._mutate = mutate_whole
    assert len({target.input(0, number) for number in range(200)}) > 50


def test_mutations_change_what_they_are_given() -> None:
    data = b'{"width": 640, "scale": 0.25, "names": ["a", "b"]}' * 3
    changed = [mutate(data, Random(seed), [b"another"]) for seed in range(2000)]
    assert sum(each != data for each in changed) > 1900
    assert any(b"9223372036854775807" in each for each in changed)
    assert min(map(len, changed)) < 20
    assert all(mutate(b"", Random(seed), []) is not None for seed in range(200))


def test_the_command_tells_and_keeps_the_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--tries", "20", "--seed", "5", "--jobs", "1", "--out", str(tmp_path)]
    assert command.main([VICTIM, *flags]) == 0
    assert "victim: 20 tries, " in capsys.readouterr().out
    assert '"tries": 20' in (tmp_path / "victim" / "seed-5.json").read_text()
    (tmp_path / "input").write_bytes(b"no")
    assert command.main([VICTIM, "--input", str(tmp_path / "input")]) == 0
    assert capsys.readouterr().out == "refused\n"
    monkeypatch.setenv("VICTIM_SEEDS", b"!!E".hex())
    assert command.main([VICTIM, *flags]) == 1
    assert "error: KeyError victim.py" in capsys.readouterr().out


def test_a_target_that_cannot_be_loaded_in_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is restarted for ever."""
    monkeypatch.setattr(runner, "_POLL", 0)  # before a process can have begun
    result = run(VICTIM, tries=10, out=tmp_path, limits=Limits(loading=0))
    assert result.findings == {"loading": 1}
    assert "found 1 loading" in report.line(result)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is not None, reason="atheris is installed")
def test_coverage_needs_atheris(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command.main([VICTIM, "--coverage", "--out", str(tmp_path)]) == 1
    assert "--coverage needs atheris: pip install atheris" in capfd.readouterr().err
