"""Maps of BackgroundMattingV2 as pictures, as its scripts enlarge them."""

from __future__ import annotations

import numpy as np
import pytest

from trtmatte.apps.maps import picture_of


@pytest.fixture
def small() -> np.ndarray:
    return np.random.default_rng(1).random((1, 1, 6, 8), np.float32)


@pytest.mark.parametrize(("kind", "mode"), [("error", "bilinear"), ("refined", "nearest")])
@pytest.mark.parametrize("size", [(32, 24), (37, 25)])
def test_they_are_enlarged_as_pytorch_does(kind: str, mode: str, size: tuple[int, int], small: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    options = {} if mode == "nearest" else {"align_corners": False}
    tensor = torch.from_numpy(small)
    enlarged = torch.nn.functional.interpolate(tensor, size[::-1], mode=mode, **options)[0, 0].numpy()
    found = picture_of(small, kind, size, size)
    assert found.dtype == np.uint8
    assert found.shape == (*size[::-1], 1)
    assert found.flags.c_contiguous
    assert np.abs(found[..., 0] - enlarged * 255).max() <= 0.501


def test_what_was_padded_is_cut_off(small: np.ndarray) -> None:
    whole = picture_of(small, "refined", (32, 24), (32, 24))
    assert np.array_equal(picture_of(small, "refined", (32, 24), (30, 23)), whole[:23, :30])
    matte = np.zeros((24, 32, 3), np.uint8)
    assert picture_of(matte, "rgba", (32, 24), (30, 23)).shape == (23, 30, 3)
