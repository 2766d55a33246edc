"""The measures of alphas: small cases computed by hand, and straightforward loops."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from trtmatte.reports import measures
from trtmatte.reports.measures import Measures, largest_region, measure


def plane(*rows):
    return np.array(rows, np.float32)


def random_alpha(seed, shape=(23, 31)):
    """Flat areas, soft edges and values on the levels themselves."""
    random = np.random.default_rng(seed)
    coarse = np.kron(random.integers(0, 11, (4, 5)) / 10, np.ones((6, 7)))[: shape[0], : shape[1]]
    return np.clip(coarse + (random.random(shape) < 0.3) * random.normal(0, 0.3, shape), 0, 1).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# By hand


def test_sums_and_means():
    found = measure(plane([0, 0.5], [1, 1]), plane([0, 1], [1, 0.75]))
    assert found.sad == pytest.approx(0.75 / 1000)
    assert found.mad == pytest.approx(0.75 / 4)
    assert found.mse == pytest.approx((0.25 + 0.0625) / 4)


def test_an_exact_alpha_has_no_error():
    alpha = random_alpha(1)
    assert set(measure(alpha, alpha).to_json().values()) == {0.0}


def test_a_region_is_all_that_counts():
    truth, result = np.zeros((12, 12), np.float32), np.zeros((12, 12), np.float32)
    result[0, 0], result[11, 11] = 1, 0.5
    region = np.zeros((12, 12), bool)
    region[10:, 10:] = True
    found = measure(result, truth, region)
    assert (found.sad, found.mse, found.mad) == pytest.approx((0.0005, 0.0625, 0.125))
    assert 0 < found.gradient < measure(result, truth).gradient
    assert found.connectivity == pytest.approx(0.0005)


def test_connectivity_of_an_island():
    """The island is as bright in both, but the result has lost its bridge: above level 0 it is connected no more."""
    truth = plane([1, 1, 1, 0.5, 1])
    result = plane([1, 1, 1, 0, 1])
    assert measures.connectivity_error(truth, truth) == 0
    # Pixel 3: 0.5 beyond level 0 in the truth, nothing in the result. Pixel 4: 1 beyond level 0 in both.
    assert measures.connectivity_error(result, truth) == pytest.approx(0.5 / 1000)


def test_connectivity_forgives_less_than_theta():
    """The level of 0.64 and 0.5 is 0.5: 0.14 beyond it is forgiven, 0.16 is not."""
    truth = plane([0.5, 0.5])
    assert measures.connectivity_error(plane([0.5, 0.64]), truth) == 0
    assert measures.connectivity_error(plane([0.5, 0.66]), truth) == pytest.approx(0.16 / 1000)
    assert measures.connectivity_error(plane([0.6, 0.75]), plane([0.6, 0.6])) == pytest.approx(0.15 / 1000)


def test_the_gradient_of_a_step():
    """Far from the borders the gradient's length is that of the derivative, summed, times that of the smooth filter."""
    truth = np.zeros((21, 40), np.float32)
    result = truth.copy()
    result[:, 20:] = 1
    place = np.arange(-4, 5)
    smooth = np.exp(-(place**2) / (2 * 1.4**2))
    slope = place * smooth
    smooth, slope = smooth / np.sqrt((smooth**2).sum()), slope / np.sqrt((slope**2).sum())
    steps = np.array([abs(slope[place >= 20 - column].sum()) for column in range(40)]) * smooth.sum()
    assert measures.gradient_error(result, truth) == pytest.approx(21 * (steps**2).sum() / 1000, rel=1e-5)


def test_flicker_is_the_root_mean_square_of_the_changes():
    still = np.zeros((1, 2), np.float32)
    assert measures.flicker((still, plane([0.3, 0.4])), (still, still)) == pytest.approx(100 * np.sqrt(0.25 / 2))
    assert measures.flicker((still, plane([0.3, 0.4])), (still, plane([0.3, 0.4]))) == 0
    region = np.array([[True, False]])
    assert measures.flicker((still, plane([0.3, 0.4])), (still, still), region) == pytest.approx(30)


def test_means_of_rows_that_lack_a_measure():
    rows = [Measures(1, 2, 3, 4, 5), Measures(3, 4, 5, 6, 7, dtssd=8)]
    assert measures.mean_of(rows) == Measures(2, 3, 4, 5, 6, dtssd=8)
    assert "dtssd" not in measures.mean_of(rows[:1]).to_json()


# ---------------------------------------------------------------------------------------------------------------------
# By loops


def slow_gradient(alpha):
    kernel = np.zeros((9, 9))
    for y in range(-4, 5):
        for x in range(-4, 5):
            kernel[y + 4, x + 4] = -x * np.exp(-(x * x + y * y) / (2 * 1.4**2))
    kernel /= np.sqrt((kernel**2).sum())
    height, width = alpha.shape
    found = np.zeros(alpha.shape)
    for row in range(height):
        for column in range(width):
            rows = np.clip(np.arange(row - 4, row + 5), 0, height - 1)
            columns = np.clip(np.arange(column - 4, column + 5), 0, width - 1)
            window = alpha[np.ix_(rows, columns)].astype(np.float64)
            found[row, column] = np.hypot((window * kernel).sum(), (window * kernel.T).sum())
    return found


def slow_region(mask):
    seen = np.zeros(mask.shape, bool)
    best: set[tuple[int, int]] = set()
    for start in zip(*np.nonzero(mask), strict=True):
        region, waiting = set(), deque([start])
        while waiting:
            y, x = waiting.popleft()
            if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x] and not seen[y, x]:
                seen[y, x] = True
                region.add((y, x))
                waiting += [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        best = region if len(region) > len(best) else best
    found = np.zeros(mask.shape, bool)
    for place in best:
        found[place] = True
    return found


def slow_connectivity(result, truth):
    level = np.full(result.shape, -1.0)
    for step in range(1, 11):
        omega = slow_region((result >= np.float32(step / 10)) & (truth >= np.float32(step / 10)))
        level[(level == -1) & ~omega] = (step - 1) / 10
    level[level == -1] = 1
    total = 0.0
    for a, b, low in zip(result.ravel(), truth.ravel(), level.ravel(), strict=True):
        one, other = (1 - (value - low) * (value - low >= 0.15) for value in (a, b))
        total += abs(one - other)
    return total / 1000


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_the_definition(seed):
    result, truth = random_alpha(seed), random_alpha(seed + 10)
    expected = ((slow_gradient(result) - slow_gradient(truth)) ** 2).sum() / 1000
    assert measures.gradient_error(result, truth) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_connectivity_is_that_of_the_definition(seed):
    result, truth = random_alpha(seed), random_alpha(seed + 10)
    assert measures.connectivity_error(result, truth) == pytest.approx(slow_connectivity(result, truth), rel=1e-5)


@pytest.mark.parametrize("density", [0.0, 0.1, 0.4, 0.55, 0.6, 0.65, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (24, 37)])
def test_the_largest_region(density, shape):
    for seed in range(4):
        mask = np.random.default_rng(seed).random(shape) < density
        assert np.array_equal(largest_region(mask), slow_region(mask))


def test_a_spiral_is_one_region():
    """One long way, whose runs are joined in many rounds."""
    side = 61
    mask = np.zeros((side, side), bool)
    y, x, dy, dx, steps = 0, 0, 0, 1, side - 1
    mask[0, 0] = True
    turns = 0
    while steps > 0:
        for _ in range(steps):
            y, x = y + dy, x + dx
            mask[y, x] = True
        dy, dx = dx, -dy
        turns += 1
        steps -= 2 if turns % 2 == 1 and turns > 1 else 0
    mask[side // 2, side // 2] = True
    assert np.array_equal(largest_region(mask), slow_region(mask))
    assert largest_region(mask).sum() > 1500
