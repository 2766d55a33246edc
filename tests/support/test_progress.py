"""Progress bars on terminals and in notebooks."""

from __future__ import annotations

import builtins
import sys
import warnings
from types import ModuleType
from typing import Any

import pytest

from trtmatte.support import progress

pytest.importorskip("rich")


class Notebook:
    """A notebook that keeps what is displayed."""

    def __init__(self) -> None:
        self.shown: list[Any] = []
        self.open = 0


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """The parts of IPython and ipywidgets that rich uses."""
    found = Notebook()

    class ZMQInteractiveShell:
        pass

    class Output:
        def __init__(self) -> None:
            found.open += 1

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            pass

        def clear_output(self, wait: bool) -> None:
            found.shown.clear()

        def close(self) -> None:
            found.open -= 1

    def display(*shown: Any, **_: Any) -> None:
        found.shown += shown

    parts: dict[str, dict[str, Any]] = {
        "IPython": {},
        "IPython.display": {"display": display},
        "ipywidgets": {"Output": Output},
    }
    for name, part in parts.items():
        module = ModuleType(name)
        vars(module).update(part)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    return found


def text(notebook: Notebook) -> str:
    return "".join(
        str(each._repr_mimebundle_([], [])["text/plain"]) for each in notebook.shown if hasattr(each, "text")
    )


def test_a_notebook_shows_frames(notebook: Notebook) -> None:
    with progress.frames(20) as advance:
        advance(7)
        assert notebook.open == 1
    assert "/20" in text(notebook)
    assert notebook.open == 0  # nothing stays


def test_a_notebook_shows_steps_and_bytes(notebook: Notebook) -> None:
    with progress.steps() as advance:
        assert advance is not None
        advance("reading", 0.5)
    assert "reading" in text(notebook)
    with progress.bytes_done("weights", 100) as more:
        more(50)
    assert "weights" in text(notebook)


def test_quiet_is_quiet_in_notebooks(notebook: Notebook) -> None:
    with progress.frames(20, quiet=True) as advance:
        advance(7)
    assert not notebook.shown


def test_a_notebook_without_widgets(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is shown, and rich does not warn."""
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with progress.frames(20) as advance:
            advance(7)
    assert not notebook.shown


@pytest.mark.parametrize("shell", ["TerminalInteractiveShell", ""])
def test_what_is_no_notebook(shell: str, notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    if shell:
        monkeypatch.setattr(builtins, "get_ipython", type(shell, (), {}))
    else:
        monkeypatch.delattr(builtins, "get_ipython")
    with progress.frames(20) as advance:
        advance(7)
    assert not notebook.shown


def test_a_process_without_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with progress.frames(20) as advance:
        advance(7)
