"""Masks without grey: the formula, and the kinds of pictures that are made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import trtmatte
from tests.runtime.session import engines
from trtmatte.apps.matting import Matting
from trtmatte.apps.post_process import mask_of
from trtmatte.media.backgrounds import FrameBackground


def direct(alpha: np.ndarray) -> np.ndarray:
    """The opening with a cross and the Gaussian of 17 x 17 pixels, place by place."""
    height, width = alpha.shape
    for function, outside in ((np.min, 255), (np.max, 0)):
        around = np.pad(alpha, 1, constant_values=outside)
        cross = [around[y : y + height, x : x + width] for y, x in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))]
        alpha = function(cross, axis=0)
    around = np.pad(alpha.astype(float), 8, mode="symmetric")
    line = np.exp(-0.5 * (np.arange(-8, 9) / 2) ** 2)
    weights = np.outer(line, line) / line.sum() ** 2
    shifted = (
        weights[y, x] * around[y : y + height, x : x + width] for y in range(len(line)) for x in range(len(line))
    )
    return np.where(sum(shifted) < 127, 0, 255).astype(np.uint8)


def blobs(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Round spots with soft edges, and noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    found = np.zeros((height, width))
    for _ in range(6):
        top, left, radius = random.uniform(0, height), random.uniform(0, width), random.uniform(1, 20)
        found = np.maximum(found, 255 * np.clip(radius - np.hypot(y - top, x - left), 0, 4) / 4)
    return np.clip(found + random.integers(-40, 40, found.shape), 0, 255).astype(np.uint8)


def half_white() -> np.ndarray:
    """A picture whose left half is inside: the alpha of the small engine is half the brightness."""
    picture = engines.noise(3, 64, 48) // 4
    picture[:, :30] = 255
    return picture


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (3, 5), (64, 64), (65, 40), (150, 130)])
def test_the_formula(size: tuple[int, int]) -> None:
    alpha = blobs(*size)
    np.testing.assert_array_equal(mask_of(alpha[..., np.newaxis])[..., 0], direct(alpha))


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (126, 0), (127, 255), (255, 255)])
def test_one_value(value: int, expected: int) -> None:
    assert (mask_of(np.full((150, 20, 1), value, np.uint8)) == expected).all()


@pytest.mark.parametrize("background", ["120,255,155", "picture", "blur"])
def test_every_kind_has_the_mask(background: str) -> None:
    kinds = ["alpha", "rgba", "composite", "foreground"]
    behind = FrameBackground(background)
    if background == "picture":
        behind = FrameBackground.of_picture(engines.noise(9, 40, 30))
    picture = half_white()
    plain = Matting(engines.memory(), kinds, backend="onnxruntime")(picture, None, behind)
    masked = Matting(engines.memory(), kinds, post_process=True, backend="onnxruntime")(picture, None, behind)
    assert [*masked] == kinds
    mask = mask_of(plain["alpha"])
    assert 0 < mask.mean() < 255
    np.testing.assert_array_equal(masked["alpha"], mask)
    np.testing.assert_array_equal(masked["foreground"], plain["foreground"])
    inside = mask[..., 0] == 255
    np.testing.assert_array_equal(masked["rgba"][inside], np.insert(plain["foreground"][inside], 3, 255, axis=1))
    assert not masked["rgba"][~inside].any()
    np.testing.assert_array_equal(masked["composite"][inside], plain["foreground"][inside])
    outside = Matting(engines.memory(), ["composite"], backend="onnxruntime")(np.zeros_like(picture), None, behind)
    if background != "blur":  # which is that of the picture
        np.testing.assert_array_equal(masked["composite"][~inside], outside["composite"][~inside])


def test_one_kind_alone() -> None:
    picture = engines.noise(4)
    for kind in ("alpha", "rgba", "foreground"):
        masked = Matting(engines.memory(), [kind], post_process=True, backend="onnxruntime")
        assert [*masked(picture, None, FrameBackground(None))] == [kind]


def test_cut_out() -> None:
    picture = half_white()
    options: dict[str, Any] = {"model": engines.memory(), "output": "alpha", "backend": "onnxruntime"}
    alpha = trtmatte.cut_out(picture, **options)
    np.testing.assert_array_equal(
        trtmatte.cut_out(picture, post_process=True, **options), mask_of(alpha[..., np.newaxis])[..., 0]
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("only_mask", "output='alpha' gives the mask"),
        ("post_process_mask", "it is called post_process"),
        ("alpha_matting_erode_size", "clean edges without it"),
        ("colour", "argument 'colour'$"),
    ],
)
def test_arguments_of_rembg_are_answered_with_ours(argument: str, message: str) -> None:
    with pytest.raises(
        TypeError, match=rf"cut_out\(\) got an unexpected keyword argument '{argument}'.*{message}|{message}"
    ):
        trtmatte.cut_out(engines.noise(0), **{argument: True})  # type: ignore[call-overload]
