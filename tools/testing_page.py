"""Put the counts of the large runs into docs/testing.md: `python -m tools.testing_page`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.report.marks import between

__all__ = ["generated"]

BEGIN: Final = "<!-- counts:begin -->"
END: Final = "<!-- counts:end -->"

_ROOT: Final = Path(__file__).parents[1]
_PAGE: Final = _ROOT / "docs" / "testing.md"
_RESULTS: Final = _ROOT / "out"


def generated(text: str, results: Path) -> str:
    """Return the page with new tables. What was not run has no table."""
    return between(BEGIN, END, text, _sections(results), "the page")


def _sections(results: Path) -> Iterator[str]:
    runs = [_read(path) for path in sorted((results / "fuzz").glob("*/seed-*.json"))]
    if runs:
        yield _fuzzing(runs)
    for folder, what in (("faults", "failing operations"), ("kills", "kill -9")):
        reports = {path.stem: _read(path) for path in sorted((results / folder).glob("*.json"))}
        if reports:
            yield _table(
                (what, "operations", "runs", "ended early", "wrong"),
                (
                    (name, report["operations"], report["runs"], report["refused"], len(report["wrong"]))
                    for name, report in reports.items()
                ),
            )
    if (results / "soak.md").exists():
        yield (results / "soak.md").read_text().strip()


def _fuzzing(runs: Sequence[dict[str, Any]]) -> str:
    """One row for each target, over all its seeds."""
    totals: dict[str, Counter[str]] = {}
    about: dict[str, str] = {}
    for run in runs:
        counts = {name: run[name] for name in ("tries", "accepted", "refused", "seconds")}
        totals.setdefault(run["target"], Counter()).update({**counts, "found": sum(run["findings"].values())})
        about[run["target"]] = run["about"].splitlines()[0].rstrip(".") if run["about"] else ""
    return _table(
        ("fuzz target", "what is attacked", "inputs", "accepted", "refused", "findings", "inputs a second"),
        (
            (name, about[name], *(total[each] for each in ("tries", "accepted", "refused", "found")), _rate(total))
            for name, total in sorted(totals.items())
        ),
    )


def _rate(total: Counter[str]) -> int:
    return round(total["tries"] / total["seconds"]) if total["seconds"] else 0


def _table(head: Sequence[str], rows: Iterator[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


if __name__ == "__main__":
    _PAGE.write_text(generated(_PAGE.read_text(), _RESULTS))
