"""Validation: an engine's errors, measured."""
# ruff: noqa: F811

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtmatte
from tests.compiler.building import (  # noqa: F401
    CPU,
    SMALL,
    checkpoints,
    compiled,
    no_sessions_left,
    official,
    own_cache,
    program,
    refusing,
    rtx,
    shrinking,
    small,
)
from trtmatte.api import load
from trtmatte.backends import registry, tensorrt
from trtmatte.errors import SettingError
from trtmatte.format import file as engine_file
from trtmatte.reports import validate as validation


def test_errors_are_summed_up() -> None:
    random = np.random.default_rng(0)
    expected = random.random((20, 50, 60), np.float32)
    given = expected + random.normal(0, 0.01, expected.shape).astype(np.float32) * np.linspace(1, 3, 20)[:, None, None]
    errors = validation._Errors()
    for frame, truth in zip(given, expected, strict=True):
        errors.add(frame.astype(np.float32), truth)
    found, absolute = errors.to_json(), np.abs(given.astype(np.float32) - expected)
    assert found["mean"] == pytest.approx(absolute.mean(), rel=1e-5)
    assert found["max"] == pytest.approx(absolute.max(), rel=1e-6)
    assert found["p99.9"] == pytest.approx(np.quantile(absolute, 0.999), abs=2 / validation._BINS, rel=1e-2)
    assert found["drift"] == pytest.approx(absolute[-2:].mean() - absolute[:2].mean(), rel=1e-4)


def test_what_is_no_number_counts_as_wrong() -> None:
    errors = validation._Errors()
    errors.add(np.array([np.nan, np.inf, 0.5], np.float32), np.array([0.5, 0.5, 0.5], np.float32))
    assert errors.to_json()["max"] == 1
    assert errors.to_json()["mean"] == pytest.approx(2 / 3)


def test_validation_finds_what_is_wrong(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU form that gives half the alpha."""
    monkeypatch.setattr(validation, "FRAMES", 4)
    right = trtmatte.build(small, **SMALL)
    wrong = trtmatte.build(small, **SMALL)
    half = shrinking(0.25)
    half.graph.input[0].name, half.graph.node[0].input[0] = (right.program.networks[0].inputs[0],) * 2
    half.graph.output[0].name = half.graph.node[0].output[0] = right.program.networks[0].outputs[0]
    plan = engine_file.Plan(*engine_file.CPU_PLAN, {"network-0": half.SerializeToString()})
    found = validation.measure(wrong.with_plans([plan]))
    assert found["frames"] == 4
    assert found["measured"]["onnxruntime"]["pha"]["mean"] > 0.05
    assert found["measured"]["onnxruntime"]["fgr"]["mean"] > 0, "its colours are estimated with that alpha"
    assert "onnxruntime" not in validation.measure(right)["measured"]


def test_a_validated_engine_keeps_its_errors(
    official: Path, tmp_path: Path, rtx: dict[str, Any], compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "FRAMES", 3)
    given = {"size": (256, 144), "downsample_ratio": 0.5, **rtx}
    plain = trtmatte.build(official, **given)
    assert plain.manifest["errors"] == {}
    trtmatte.build(official, out=tmp_path / "e.trtm", validate=True, **given)
    assert len(compiled) == 1
    errors = load(tmp_path / "e.trtm").manifest["errors"]
    assert (errors["pictures"], errors["frames"]) == ("generated", 3)
    assert 0 < errors["measured"][validation.EMULATED]["pha"]["mean"] < 1e-2
    assert set(errors["measured"][validation.EMULATED]) == {"fgr", "pha"}
    assert ("tensorrt-rtx" in errors["measured"]) == (tensorrt.run_unavailable_reason("tensorrt-rtx") is None)
    assert set(errors["not_measured"]) == {"tensorrt-rtx"} - set(errors["measured"])
    monkeypatch.setattr(validation, "measure", refusing("it was to be taken from the cache"))
    assert trtmatte.build(official, validate=True, **given).manifest["errors"] == errors


def test_float16_in_onnxruntime_is_measured_as_for_tensorrt(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU by the same networks, emulated; the provider itself where there is one."""
    monkeypatch.setattr(validation, "FRAMES", 3)
    errors = trtmatte.build(small, validate=True, **SMALL).manifest["errors"]
    assert 0 < errors["measured"][validation.EMULATED]["pha"]["mean"] < 1e-3
    reason = registry.on("cuda")["onnxruntime"].unavailable_reason(0)
    if reason is None:
        assert errors["measured"][validation.ON_CUDA]["pha"]["mean"] < 1e-3
    else:
        assert errors["not_measured"] == {validation.ON_CUDA: f"the engine cannot run on cuda:0: {reason}"}
    wide = trtmatte.build(small, validate=True, precision="fp32", **SMALL).manifest["errors"]
    assert not {validation.ON_CUDA, validation.EMULATED} & {*wide["measured"], *wide["not_measured"]}
    rounded = trtmatte.build(small, validate=True, precision="tf32", **SMALL).manifest["errors"]
    assert {*rounded["measured"], *rounded["not_measured"]} >= {validation.ON_CUDA}
    assert validation.EMULATED not in rounded["measured"]


def film(path: Path, count: int, size: tuple[int, int] = (66, 50)) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(count):
            picture = np.full((size[1], size[0], 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return path


def pictures(folder: Path, count: int) -> Path:
    image = pytest.importorskip("PIL.Image")
    folder.mkdir()
    for number in range(count):
        image.fromarray(np.full((50, 66, 3), 20 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    "make", [lambda folder: film(folder / "film.mp4", 5), lambda folder: pictures(folder / "p", 5)]
)
def test_frames_of_one_s_own(make: Any, small: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    frames = make(tmp_path)
    errors = trtmatte.build(small, frames=frames, **SMALL).manifest["errors"]
    assert (errors["pictures"], errors["frames"]) == (frames.name, 5)
    found = list(validation._read(frames))
    assert [each.shape for each in found] == [(50, 66, 3)] * 5
    assert [int(each.mean().round(-1)) for each in found] == [0, 20, 40, 60, 80]


def test_other_frames_are_measured_again(small: Path, tmp_path: Path) -> None:
    frames = film(tmp_path / "film.mp4", 2)
    one = trtmatte.build(small, frames=frames, **SMALL)
    film(tmp_path / "film.mp4", 3)
    assert trtmatte.build(small, frames=frames, **SMALL).manifest["key"] != one.manifest["key"]


def test_frames_for_patches_are_cut_to_whole_ones(checkpoints: Any, tmp_path: Path) -> None:
    engine = trtmatte.build(checkpoints("bgmv2_refine_mobilenetv2"), size=(64, 48), refine_mode="sampling", **CPU)
    frames = list(validation._pairs(engine.program, film(tmp_path / "film.mp4", 3)))
    assert {frame.shape for frame, _ in frames} == {(48, 64, 3)}
    assert all(background is frames[0][0] for _, background in frames)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing.mp4", None, "does not exist"),
        ("text.mp4", b"no film", "cannot be read"),
        ("empty", {}, "has no pictures"),
        ("folder", {"a.png": b"no picture"}, "cannot be read"),
    ],
)
def test_frames_that_cannot_be_read(name: str, content: Any, message: str, small: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.mkdir()
        for file, data in content.items():
            (path / file).write_bytes(data)
    with pytest.raises(SettingError, match=message):
        trtmatte.build(small, frames=path, **SMALL)


def test_frames_without_a_reader(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "film.mp4").touch()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SettingError, match="needs PyAV: pip install"):
        trtmatte.build(small, frames=tmp_path / "film.mp4", **SMALL)


@pytest.mark.parametrize("size", [(1920, 1080), (101, 333), (8, 8)])
def test_generated_frames_have_a_figure_that_moves(size: tuple[int, int]) -> None:
    shots = list(itertools.islice(validation.generated(*size), 12))
    background = shots[0][1]
    assert all(frame.shape == (size[1], size[0], 3) and frame.dtype == np.uint8 for frame, _ in shots)
    covered = [np.abs(frame.astype(int) - background).max(axis=2) > 8 for frame, _ in shots]
    assert all(0.02 < each.mean() < 0.9 for each in covered)
    assert (covered[0] != covered[-1]).any()
    again = next(iter(validation.generated(*size)))
    np.testing.assert_array_equal(again[0], shots[0][0])
