"""Where a frame's time goes."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from tests.runtime.session import engines
from trtmatte.cli.main import main
from trtmatte.errors import SettingError
from trtmatte.format.file import write
from trtmatte.reports.profile import Latency, StageProfile, Stopwatch, bytes_moved, copy_seconds, describe, profile

RVM = "rvm_mobilenetv3-odd-ratio0.375"
REFINE = "bgmv2_refine_mobilenetv2-kernel1-sampling"


def test_every_stage_is_timed():
    found = profile(engines.of_vector(REFINE), frames=3, backend="onnxruntime")
    assert [stage.name for stage in found.stages] == [
        "FrameSample plate",
        "FrameSample",
        "network-0",
        "PatchSelect",
        "PatchCrop",
        "network-1",
        "PatchScatter",
    ]
    plate = found.stages[0]
    assert plate.ms.p99 < 0.1, "a plate that stays the same is sampled once"
    others = [stage for stage in found.stages if stage is not plate]
    assert all(0 < stage.ms.p50 <= stage.ms.p95 <= stage.ms.p99 for stage in others)
    assert 0 < found.ms.p50 <= found.ms.p99
    assert found.rest >= 0
    assert found.throughput == pytest.approx(1000 / found.ms.p50, rel=0.9)
    assert found.memory > 2**20


def test_stages_add_up():
    """What is slow is seen where it is."""
    stopwatch = Stopwatch()
    slow = stopwatch("slow", lambda: time.sleep(0.02))
    quick = stopwatch("quick", lambda: None)
    slow(), slow(), quick()
    assert stopwatch.next() >= 0.04
    quick()
    assert stopwatch.next() < 0.02
    assert stopwatch.seconds["slow"][1] == 0


def test_watching_changes_no_result():
    engine = engines.of_vector(RVM)
    frames = [engines.noise(seed, *engine.program.size) for seed in range(4)]
    plain, watched = engine.session(backend="onnxruntime"), engine.session(backend="onnxruntime")
    for index, frame in enumerate(frames):
        if index == 2:
            watched.watch(Stopwatch())  # in the middle of a stream, which goes on
        for one, other in zip(plain(frame), watched(frame), strict=True):
            np.testing.assert_array_equal(one, other)


def test_bytes_of_a_frame():
    engine = engines.memory()
    sample, network, upsample = engine.program.stages
    pixels, small = 32 * 24, 16 * 12
    assert bytes_moved(engine.program, sample, ("composite",)) == 3 * pixels + 4 * 3 * small
    assert bytes_moved(engine.program, upsample, ("composite",)) == 3 * pixels + 4 * small + 3 * pixels
    assert bytes_moved(engine.program, upsample, ("pha", "fgr")) == 3 * pixels + 4 * small + 4 * pixels
    assert bytes_moved(engine.program, network, ()) == 4 * small * (3 + 1 + 3)
    assert bytes_moved(engine.program, upsample, ("pha",), batch=3) == 3 * (3 * pixels + 4 * small + pixels)


def test_a_step_with_nothing_to_do_has_no_rate():
    took = Latency(0.001, 0.001, 0.001)
    assert StageProfile("FrameSample plate", took, 1000, 0.1).rate is None
    assert StageProfile("FrameSample", Latency(2.0, 2.0, 2.0), 1000, 0.1).rate == 500_000
    assert StageProfile("network-0", Latency(2.0, 2.0, 2.0), 1000, None).rate is None


def test_a_copy_takes_longer_the_more_it_copies():
    assert copy_seconds(200_000_000, 1) > copy_seconds(2_000_000, 1) > 0


def test_several_streams():
    found = profile(engines.memory(), frames=4, batch=3, size=(64, 48), backend="onnxruntime")
    assert (found.batch, found.size) == (3, (64, 48))
    assert "64x48, 3 streams" in describe(found)


def test_no_frames():
    with pytest.raises(SettingError, match="frames is 0"):
        profile(engines.memory(), frames=0)


def test_command(tmp_path, capsys):
    path = tmp_path / "tiny.trtm"
    write(engines.memory(), path)
    command = ["bench", "--engine", str(path), "--frames", "3", "--device", "cpu"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "MatteUpsample" in said
    assert "frames a second" in said
    assert main([*command, "--json", "--size", "40x30"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["size"] == [40, 30]
    assert [stage["name"] for stage in facts["stages"]] == ["FrameSample", "network-0", "MatteUpsample"]


def test_command_without_the_suite(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("trtmatte.cli.bench._CHECKOUT", tmp_path)
    assert main(["bench"]) == 2
    assert "source checkout" in capsys.readouterr().err
