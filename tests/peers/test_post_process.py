"""Masks without grey are those of rembg's `post_process_mask`."""

from __future__ import annotations

import numpy as np
import pytest

from tests.apps.test_post_process import blobs
from trtmatte.apps.post_process import mask_of

bg = pytest.importorskip("rembg.bg")


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (64, 300), (601, 401)])
@pytest.mark.parametrize("seed", range(3))
def test_the_mask_is_that_of_rembg(size: tuple[int, int], seed: int) -> None:
    alpha = blobs(*size, seed)
    np.testing.assert_array_equal(mask_of(alpha[..., np.newaxis])[..., 0], bg.post_process(alpha))
