"""The counts in docs/testing.md are made from the results of the runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import testing_page

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def write(path: Path, **facts: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts))


def test_runs_of_a_target_are_added_up(tmp_path: Path) -> None:
    for seed, findings in enumerate(({}, {"crash": 2, "error": 1})):
        run = {"target": "engine", "about": "Files. More", "tries": 1000, "accepted": 1, "refused": 999, "seconds": 4.0}
        write(tmp_path / "fuzz" / "engine" / f"seed-{seed}.json", findings=findings, **run)
    write(tmp_path / "faults" / "build.json", operations=50, runs=400, refused=390, wrong=["a", "b"])
    (tmp_path / "soak.md").write_text("| what |\n")
    text = testing_page.generated(PAGE.read_text(), tmp_path)
    assert "| engine | Files. More | 2,000 | 2 | 1,998 | 3 | 250 |" in text
    assert "| build | 50 | 400 | 390 | 2 |" in text
    assert "kill -9 | operations" not in text
    assert "| what |\n\n<!-- counts:end -->" in text
    assert testing_page.generated(text, tmp_path) == text


def test_a_page_without_marks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 pairs"):
        testing_page.generated("nothing here", tmp_path)
