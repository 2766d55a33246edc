"""The page of error messages knows only messages that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text().partition("## Symptoms")[0]
MESSAGES = [piece for row in re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE) for piece in re.findall(r"`(.+?)`", row)]
OF_THE_SYSTEM = ["No space left"]
_SECTION = (ROOT / "README.md").read_text("utf-8").partition("## Troubleshooting")[2].partition("\n## ")[0]
README = re.findall(r"^\| `(.*?)` \|", _SECTION, re.MULTILINE)


@pytest.fixture(scope="module")
def told() -> str:
    """All that the code can say: texts that go over several lines are one text, as Python joins them."""
    code = "\n".join(path.read_text() for path in sorted((ROOT / "python").rglob("*.py")))
    return re.sub(r'"\n\s*f?"', "", code)


@pytest.mark.parametrize("message", [each for each in MESSAGES if each not in OF_THE_SYSTEM])
def test_a_message_is_one_that_there_is(message: str, told: str) -> None:
    assert message in told


@pytest.mark.parametrize("message", README)
def test_a_message_in_the_readme_is_one_that_there_is(message: str, told: str) -> None:
    """Without the parts that are filled in: the name of a library, and the reasons after a colon."""
    pieces = re.split(r"^TensorRT |: |…", message)
    assert all(piece.strip() in told for piece in pieces)


def test_there_are_messages() -> None:
    assert len(MESSAGES) > 25
    assert len(README) > 3
