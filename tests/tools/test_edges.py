"""The tables and pictures of docs/measures.md are those that `python -m tools.edges` makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("PIL")

from PIL import Image

from tools import edges

PAGE = edges.PAGE.read_text("utf-8")


def rows(name):
    begin, end = edges.MARKS[name]
    table = PAGE.split(begin)[1].split(end)[0].strip().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_the_page_has_a_row_for_each_alpha():
    named = [(kind, f"{width}×{height}") for kind in edges.KINDS for width, height in edges.NETWORKS for _ in range(2)]
    assert [tuple(row[:2]) for row in rows("refinement")] == named
    assert len(rows("foreground")) == 3


def test_refinement_and_estimated_colours_are_better_everywhere():
    found = rows("refinement")
    for resized, refined in zip(found[::2], found[1::2], strict=True):
        assert (resized[2], refined[2]) == ("resized", "`--refine`")
        assert all(float(after) < float(before) for before, after in zip(resized[3:], refined[3:], strict=True))
    for _, raw, estimated in rows("foreground"):
        assert float(estimated) < float(raw)


@pytest.mark.slow
def test_the_page_has_what_is_measured():
    """One row, measured again: Pillow and the libraries that run networks may round otherwise."""
    (kind, *_), size = edges.KINDS, edges.NETWORKS[0]
    (found,) = edges.refinement_rows(kind, [size])
    for expected, row in zip(edges._pair(kind, size, found), rows("refinement")[:2], strict=True):
        assert row[:3] == list(expected[:3])
        assert [float(each) for each in row[3:]] == pytest.approx([float(each) for each in expected[3:]], abs=0.3)


@pytest.mark.parametrize("name", re.findall(r"\]\(([\w-]+\.jpg)\)", PAGE))
def test_pictures_are_small(name):
    path = Path(edges.DOCS / name)
    assert path.stat().st_size < 150_000
    with Image.open(path) as picture:
        assert picture.width <= 2048


def test_new_tables_take_the_place_of_the_old_ones():
    page = edges.written(PAGE, {"refinement": "| a |"})
    begin, end = edges.MARKS["refinement"]
    assert f"{begin}\n\n| a |\n\n{end}" in page
    assert edges.MARKS["foreground"][0] in page
