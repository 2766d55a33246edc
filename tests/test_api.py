"""Engines: copied, pickled, and shown."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtmatte
from tests.runtime.session import engines
from trtmatte.errors import EngineError
from trtmatte.format.file import write
from trtmatte.runtime.session import Session as RuntimeSession
from trtmatte.runtime.session.options import SessionOptions
from trtmatte.support.limits import Limits

FRAME = engines.noise(1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(engines.memory(), tmp_path / "tiny.trtm")
    return tmp_path / "tiny.trtm"


def matted(engine: trtmatte.Engine) -> trtmatte.Matte:
    """Runs in another process as well."""
    with engine.session(backend="onnxruntime") as session:
        return session(FRAME)


@pytest.mark.parametrize("place", ["in a file", "in memory"])
def test_an_engine_goes_to_a_process_that_is_spawned(place: str, path: Path) -> None:
    engine = trtmatte.load(path) if place == "in a file" else engines.memory()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        matte = pool.apply(matted, (engine,))
    np.testing.assert_array_equal(matte.pha, matted(engine).pha)


def test_an_engine_of_a_file_is_pickled_by_its_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    data = pickle.dumps(trtmatte.load(path.name))
    assert len(data) < 1000
    monkeypatch.chdir("/")
    assert pickle.loads(data).path == path


def test_an_engine_in_memory_is_pickled_whole(path: Path) -> None:
    engine = trtmatte.load(path)
    path.unlink()
    other = pickle.loads(pickle.dumps(engine))
    assert (other.manifest, other.path) == (engine.manifest, None)
    assert dict(other.contents()) == dict(engine.contents())


def test_another_engine_in_the_file_is_not_taken_for_it(path: Path) -> None:
    data = pickle.dumps(trtmatte.load(path))
    write(engines.memory(2), path)
    with pytest.raises(EngineError, match="is not the engine that was pickled: the file has changed since"):
        pickle.loads(data)


@pytest.mark.parametrize("keeps_file", [True, False])
def test_limits_are_pickled_too(keeps_file: bool, path: Path) -> None:
    engine = trtmatte.load(path, safe=Limits(pixels=100))
    if not keeps_file:
        path.unlink()
    assert pickle.loads(pickle.dumps(engine)).limits == engine.limits


def test_an_engine_is_its_own_copy() -> None:
    engine = engines.memory()
    assert copy.copy(engine) is copy.deepcopy(engine) is engine


@pytest.mark.parametrize("copier", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_session_says_what_to_pickle(copier: Any) -> None:
    with (
        engines.memory().session(backend="onnxruntime") as session,
        pytest.raises(TypeError, match=r"pickle its engine \(session.engine\).*session.fork\(\)"),
    ):
        copier(session)


def test_an_engine_is_shown_as_a_table(path: Path) -> None:
    engine = trtmatte.load(path)
    assert repr(engine) == f"<Engine memory tiny 32x24, no plans: {path}>"
    assert repr(engines.memory()).endswith("no plans: in memory>")
    html = engine._repr_html_()
    rows = dict(re.findall("<tr><th>(.*?)</th><td>(.*?)</td></tr>", html))
    assert rows["model"] == "memory tiny"
    assert rows["frames"] == "32x24"
    assert rows["outputs"] == "fgr, pha, rgba, composite, alpha, ones"
    assert rows["file"] == str(path)


def test_names_of_files_are_text(tmp_path: Path) -> None:
    path = tmp_path / "<img src=x onerror=alert(1)> & ü.trtm"
    write(engines.memory(), path)
    html = trtmatte.load(path)._repr_html_()
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt; &amp; ü.trtm" in html


def test_options_are_those_of_sessions() -> None:
    """For type checkers, and for prompts."""
    parameters = list(inspect.signature(RuntimeSession).parameters)[1:]
    assert list(SessionOptions.__annotations__) == parameters
    assert list(inspect.signature(trtmatte.Engine.session).parameters)[1:] == [*parameters, "safe"]
    assert list(inspect.signature(trtmatte.Session).parameters)[1:] == [*parameters, "safe"]
