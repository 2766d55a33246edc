"""Each target of `fuzz/` for some seconds, with the same inputs each time. `python -m fuzz` runs for hours."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.runner import run
from fuzz.target import names


@pytest.mark.parametrize("target", names())
def test_a_target_withstands(target: str, tmp_path: Path) -> None:
    result = run(target, tries=400, seconds=30, seed=1, out=tmp_path)
    assert not result.problems, "\n".join(problem.text for problem in result.problems.values())
    assert result.tries >= 10
