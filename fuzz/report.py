"""What the runs came to: a line for people, and a file for docs/testing.md."""

from __future__ import annotations

import json
from pathlib import Path

from fuzz.runner import Result

__all__ = ["keep", "line"]


def line(result: Result) -> str:
    found = ", ".join(f"{count} {kind}" for kind, count in sorted(result.findings.items())) or "nothing"
    return (
        f"{result.target}: {result.tries:,} tries, {result.accepted:,} accepted, {result.refused:,} refused, "
        f"{result.rate:,.0f} a second; found {found}"
    )


def keep(result: Result, out: Path) -> None:
    """Write `out`/<target>/seed-<seed>.json. `tools/testing_page.py` adds up the runs with different seeds."""
    facts = {
        "target": result.target,
        "about": result.about,
        "seed": result.seed,
        "tries": result.tries,
        "accepted": result.accepted,
        "refused": result.refused,
        "seconds": round(result.seconds, 1),
        "findings": dict(result.findings),
    }
    (out / result.target / f"seed-{result.seed}.json").write_text(json.dumps(facts, indent=1) + "\n")
