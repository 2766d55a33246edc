"""Composites with a known alpha (`benchmarks/composites.py`)."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PIL")

from benchmarks import composites
from trtmatte.reports.measures import largest_region

SIZE = (480, 270)


@pytest.fixture(scope="module")
def subject():
    return composites.subject(SIZE, 1)


def test_the_same_numbers_give_the_same_picture(subject):
    again = composites.subject(SIZE, 1)
    assert np.array_equal(subject.alpha, again.alpha)
    assert np.array_equal(subject.foreground, again.foreground)
    assert not np.array_equal(subject.alpha, composites.subject(SIZE, 2).alpha)


def test_a_subject_has_strands_soft_edges_and_holes(subject):
    alpha = subject.alpha
    assert alpha.shape == SIZE[::-1]
    assert alpha.min() == 0
    assert alpha.max() == 1
    assert 0.2 < alpha.mean() < 0.6
    strands = (alpha[:80] > 0.2) & (alpha[:80] < 0.9)
    assert strands.mean() > 0.03
    outside = largest_region(alpha < 0.01)
    holes = (alpha < 0.01) & ~outside
    assert largest_region(holes).sum() > 200
    across = alpha[-5]
    assert ((across > 0.05) & (across < 0.95)).sum() >= 4  # the body is out of focus


@pytest.mark.parametrize("name", composites.BACKGROUNDS)
def test_a_composite_is_made_of_its_parts(name, subject):
    background = composites.BACKGROUNDS[name](SIZE, 0)
    made = composites.composite(subject, background)
    a = made.alpha[..., None]
    assert made.picture.dtype == np.uint8
    assert np.abs(made.foreground * a + background * (1 - a) - made.picture / 255).max() <= 0.51 / 255
    assert background.min() >= 0
    assert background.max() <= 1


def test_a_photograph_fills_the_frame():
    picture = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    assert composites.photograph(picture, SIZE).shape == (270, 480, 3)


def test_small_alphas(subject):
    small = composites.reduced(subject.alpha, (96, 54))
    assert small.shape == (54, 96)
    assert small.mean() == pytest.approx(subject.alpha.mean(), abs=1e-3)
    assert small[3, 4] == pytest.approx(subject.alpha[15:20, 20:25].mean(), abs=1e-5)
    uncertain = composites.network_like(small)
    assert 0.005 < np.abs(uncertain - small).mean() < 0.1
    assert uncertain[(small == 0)].mean() < 0.02
