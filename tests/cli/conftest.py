"""The folder in which commands run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.session import engines
from trtmatte.format import file as engine


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an engine, which is the current one."""
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    engine.write(engines.memory(), folder / "tiny.trtm")
    return folder
