"""The engines and models that the commands' flags name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.media import films
from trtmatte.cli import sessions
from trtmatte.cli.main import main


def test_an_engine_that_does_not_fit_the_film_is_told(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = []

    def warning(engine: object, size: tuple[int, int]) -> str:
        sizes.append(size)
        return f"the engine squeezes frames of {size[0]}x{size[1]}"

    monkeypatch.setattr(sessions, "fit_warning", warning)
    films.film(here / "in.mp4", [films.picture(0, 24, 32)])
    assert main(["video", "in.mp4", "-o", "out.mp4", "--engine", "tiny.trtm", "--backend", "onnxruntime"]) == 0
    assert "trtmatte video: the engine squeezes frames of 24x32" in capsys.readouterr().err.splitlines()
    assert sizes == [(24, 32)]
