"""The rules of prose that can be checked (CONTRIBUTING.md, "How we write")."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for folder in ("python/trtmatte", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
)
OLD_WORDS = re.compile(r"\b(backdrops?|background[_-]shot|why_not\w*)\b", re.IGNORECASE)
TRANSLATE_OLD_WORDS = (  # where the old names are accepted or read
    "api.py",
    "apps/video.py",
    "cli/build.py",
    "cli/image.py",
    "cli/live.py",
    "cli/video.py",
    "compiler/options.py",
    "format/manifest.py",
    "runtime/session/options.py",
    "runtime/session/session.py",
    "runtime/session/settings.py",
)


def docstrings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_docstring_begins_with_a_question_word(path: Path) -> None:
    wrong = [text.splitlines()[0] for text in docstrings(path) if re.match(r"(What|Whether|Where)\b", text)]
    assert not wrong, f"begin with a verb or the thing itself: {wrong}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_one_word_for_one_thing(path: Path) -> None:
    """The old words stand only where they are translated into the new ones."""
    if path.as_posix().endswith(TRANSLATE_OLD_WORDS):
        return
    lines = [line.strip() for line in path.read_text("utf-8").splitlines() if OLD_WORDS.search(line)]
    assert not lines, f"plate, background and unavailable_reason are the words: {lines}"
