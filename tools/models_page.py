"""Put the known models into docs/models.md: `python -m tools.models_page`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.report.marks import between
from trtmatte.compiler.families import catalog
from trtmatte.models.model import CATEGORIES, Model

__all__ = ["PAGE", "generated"]

BEGIN: Final = "<!-- models:begin -->"
END: Final = "<!-- models:end -->"

PAGE: Final = Path(__file__).parents[1] / "docs" / "models.md"


def generated(text: str) -> str:
    """Return the page with new tables, one for each category that has models."""
    return between(BEGIN, END, text, _sections(), "the page")


def _sections() -> Iterator[str]:
    for category in CATEGORIES:
        if models := [model for model in catalog.models() if model.category == category]:
            yield f"## {category.capitalize()}"
            rows = [
                "| model | take it for | size | licence | downloaded |",
                "|---|---|---|---|---|",
                *map(_row, models),
            ]
            yield "\n".join(rows)


def _row(model: Model) -> str:
    size = f"{model.size / 1e6:.1f} MB" if model.size else "not known"
    licence = model.licence if model.commercial else f"{model.licence}, **no commercial use**"
    how = "by name" if model.sources else f"by hand, from [its page]({model.page})"
    return f"| `{model.name}` | {model.advice} | {size} | {licence} | {how} |"


if __name__ == "__main__":
    PAGE.write_text(generated(PAGE.read_text()))
