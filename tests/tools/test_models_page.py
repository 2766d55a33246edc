"""docs/models.md lists the models of the catalogue."""

from __future__ import annotations

import pytest

from tools import models_page
from trtmatte.compiler.families import catalog


def test_the_page_is_what_the_catalogue_says() -> None:
    text = models_page.PAGE.read_text("utf-8")
    assert models_page.generated(text) == text, "run python -m tools.models_page"
    for model in catalog.models():
        assert f"| `{model.name}` | {model.advice} |" in text


def test_a_page_without_a_place_for_the_tables() -> None:
    with pytest.raises(ValueError, match="the page has 0 pairs"):
        models_page.generated("nothing here")
