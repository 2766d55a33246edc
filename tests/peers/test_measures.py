"""Our measures of alphas against SciPy's filters and labels."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy import ndimage

from benchmarks import composites
from trtmatte.reports import measures


@pytest.fixture(scope="module")
def alphas():
    truth = composites.subject((960, 540), 2).alpha
    small = composites.network_like(composites.reduced(truth, (320, 320)), 3)
    return composites.reduced(small, (960, 540)), truth


def test_gradient(alphas):
    place = np.arange(-4, 5)
    smooth = np.exp(-(place**2) / (2 * 1.4**2))
    kernel = np.outer(smooth, -place * smooth)
    kernel /= np.linalg.norm(kernel)

    def steepness(alpha):
        sides = (ndimage.correlate(alpha.astype(np.float64), each, mode="nearest") for each in (kernel, kernel.T))
        return np.hypot(*sides)

    expected = ((steepness(alphas[0]) - steepness(alphas[1])) ** 2).sum() / 1000
    assert measures.gradient_error(*alphas) == pytest.approx(expected, rel=1e-4)


def test_connectivity(alphas):
    result, truth = alphas
    level = np.full(truth.shape, -1.0)
    for step in range(1, 11):
        height = np.float32(step / 10)
        labels, count = ndimage.label((result >= height) & (truth >= height))
        sizes = np.bincount(labels.ravel(), minlength=2)
        sizes[0] = 0
        omega = labels == sizes.argmax() if count else np.zeros(truth.shape, bool)
        level[(level == -1) & ~omega] = (step - 1) / 10
    level[level == -1] = 1
    one, other = (1 - (alpha - level) * (alpha - level >= 0.15) for alpha in alphas)
    assert measures.connectivity_error(*alphas) == pytest.approx(np.abs(one - other).sum() / 1000, rel=1e-4)


@pytest.mark.parametrize("density", [0.3, 0.5, 0.593, 0.8])
def test_the_largest_region(density):
    mask = np.random.default_rng(7).random((540, 960)) < density
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    assert np.array_equal(measures.largest_region(mask), labels == sizes.argmax())
