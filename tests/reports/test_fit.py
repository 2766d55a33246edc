"""Engines that fit frames, and the command that builds a fitting one where they do not."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

import trtmatte
from tests import reference
from trtmatte.cli.build import _parser
from trtmatte.reports.fit import fit_warning

WIDE, UPRIGHT = (1920, 1080), (1080, 1920)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("models")

    def built(model: str, size: tuple[int, int] = WIDE, **options: Any) -> trtmatte.Engine:
        path = folder / f"{model}.pth"
        if not path.exists():
            torch.save(reference.network(model).state_dict(), path)
        return trtmatte.build(path, size=size, target="onnxruntime", **options)

    return built


def test_an_upright_film_and_an_engine_for_wide_ones(build: Any) -> None:
    engine = build("rvm_mobilenetv3", downsample_ratio=0.25)
    said = fit_warning(engine, UPRIGHT)
    assert said is not None
    assert said.startswith("the engine is for frames of 1920x1080 and squeezes those of 1080x1920 by 3.2 to 480x270;")
    command = shlex.split(said.partition("one that fits: ")[2])
    given = _parser().parse_args(command[1:])
    assert (command[0], given.size, given.downsample_ratio) == ("trtmatte-build", UPRIGHT, 0.25)
    assert Path(given.model).name == "rvm_mobilenetv3.pth"
    assert given.out == "rvm_mobilenetv3-1080x1920.trtm"
    options = {"downsample_ratio": given.downsample_ratio}
    assert fit_warning(build("rvm_mobilenetv3", given.size, **options), UPRIGHT) is None


@pytest.mark.parametrize("size", [WIDE, (1280, 720), (3840, 2160), (2048, 1080), (1920, 1200), (1620, 1080)])
def test_sizes_near_enough(build: Any, size: tuple[int, int]) -> None:
    assert fit_warning(build("rvm_mobilenetv3", downsample_ratio=0.25), size) is None


@pytest.mark.parametrize("model", ["modnet", "bgmv2_refine_mobilenetv2"])
def test_other_families_whose_network_follows_the_frame(build: Any, model: str) -> None:
    engine = build(model)
    assert fit_warning(engine, WIDE) is None
    assert "trtmatte-build" in (fit_warning(engine, UPRIGHT) or "")


def test_a_network_with_a_size_of_its_own_fits_every_frame(build: Any) -> None:
    for size in (WIDE, (512, 512)):
        assert fit_warning(build("u2netp", size), UPRIGHT) is None


def test_a_size_that_was_chosen_squeezes_both_alike(build: Any) -> None:
    assert fit_warning(build("modnet", input_size=(512, 512)), UPRIGHT) is None


def test_whole_frames_are_refined_in_the_size_of_the_engine(build: Any) -> None:
    engine = build("bgmv2_refine_mobilenetv2", (128, 96), refine_mode="full")
    assert fit_warning(engine, (128, 96)) is None
    assert fit_warning(engine, (64, 48)) is None
    said = fit_warning(engine, (256, 192)) or ""
    assert said.startswith("the engine refines whole frames of 128x96, and reduces those of 256x192 to that; one that")
    assert "--size 256x192 --refine-mode full" in said


def test_all_settings_are_in_the_command(build: Any) -> None:
    engine = build(
        "bgmv2_refine_mobilenetv2", precision="fp32", batch=2, prevent_oversampling=False, refine_sample_pixels=1600
    )
    said = fit_warning(engine, UPRIGHT) or ""
    for flag in ("--precision fp32", "--batch 2", "--no-prevent-oversampling", "--refine-sample-pixels 1600"):
        assert flag in said
    assert "--target" not in said
