"""Pictures whose alpha is known: a subject with strands of hair, soft edges and holes, over pictures and skies.

The subject is drawn four times as large and reduced, so an alpha has the values of a covered area. The same size and
number give the same picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["BACKGROUNDS", "Composite", "Subject", "composite", "network_like", "reduced", "subject"]

Array = NDArray[np.float32]

_FINER: Final = 4
"""How much larger the subject is drawn than it is shown."""
_STRANDS: Final = 900
_SOFT: Final = 1 / 220
"""The blur of the body's outline, which is out of focus, as a part of the height."""


class Subject(NamedTuple):
    """The subject of a picture: `alpha` (H, W) and the colours `foreground` (H, W, 3) of every pixel, 0…1."""

    alpha: Array
    foreground: Array


class Composite(NamedTuple):
    """A picture as a camera would store it, uint8 (H, W, 3), and what it is made of."""

    picture: NDArray[np.uint8]
    alpha: Array
    foreground: Array
    background: Array


def subject(size: tuple[int, int], number: int = 0) -> Subject:
    """Return a person of sorts in a frame of this width and height: head, shoulders, hair in the wind."""
    random = np.random.default_rng(number)
    width, height = size
    large = (width * _FINER, height * _FINER)
    body = Image.new("L", large)
    pen = ImageDraw.Draw(body)
    middle, top, unit = large[0] * random.uniform(0.45, 0.55), large[1] * 0.36, large[1]
    head = (0.13 * unit, 0.17 * unit)
    _ellipse(pen, middle, top, *head)
    pen.rectangle((middle - 0.06 * unit, top, middle + 0.06 * unit, top + 0.3 * unit), fill=255)
    _ellipse(pen, middle, top + 0.52 * unit, 0.33 * unit, 0.3 * unit)
    _arm(pen, middle + 0.36 * unit, top + 0.36 * unit, unit)
    soft = _blurred(_downsampled(body), height * _SOFT)
    hair = Image.new("L", large)
    _hair(ImageDraw.Draw(hair), random, (middle, top), head)
    strands = _downsampled(hair)
    alpha = 1 - (1 - soft) * (1 - strands)
    is_hair = np.clip(strands * 2, 0, 1)[..., None]
    return Subject(alpha, _cloth(random, size) * (1 - is_hair) + _hair_colours(random, size) * is_hair)


def composite(of: Subject, background: Array) -> Composite:
    """Put a subject over a background (H, W, 3), 0…1."""
    alpha = of.alpha[..., None]
    picture = of.foreground * alpha + background * (1 - alpha)
    return Composite(np.uint8(np.rint(picture * 255)), of.alpha, of.foreground, background)


# ---------------------------------------------------------------------------------------------------------------------
# The subject


def _ellipse(pen: Any, x: float, y: float, across: float, down: float) -> None:
    pen.ellipse((x - across, y - down, x + across, y + down), fill=255)


def _arm(pen: Any, x: float, y: float, unit: float) -> None:
    """Draw an arm akimbo: a ring, through which the background shows."""
    pen.ellipse((x - 0.15 * unit, y - 0.02 * unit, x + 0.15 * unit, y + 0.28 * unit), fill=255)
    pen.ellipse((x - 0.09 * unit, y + 0.05 * unit, x + 0.09 * unit, y + 0.21 * unit), fill=0)


def _hair(pen: Any, random: np.random.Generator, centre: tuple[float, float], head: tuple[float, float]) -> None:
    """Draw strands from the head outwards, each a curve of its own width that the wind bends to one side."""
    along = np.linspace(0, 1, 24)
    for _ in range(_STRANDS):
        angle = random.uniform(-1.15 * np.pi, 0.15 * np.pi)
        direction = np.array([np.cos(angle), np.sin(angle)])
        root = np.array(centre) + direction * head * random.uniform(0.6, 0.98)
        length = head[1] * random.uniform(0.3, 1.15)
        wind = np.array([random.normal(0.35, 0.2), random.normal(0.15, 0.25)]) * length
        curl = random.normal(0, 0.06) * length
        turned = np.array([-direction[1], direction[0]])
        points = (
            root
            + along[:, None] * direction * length
            + along[:, None] ** 2 * wind
            + np.sin(along * random.uniform(4, 9))[:, None] * turned * curl
        )
        width = max(1, round(random.uniform(0.3, 2.2) * _FINER * centre[1] / 1600))
        pen.line([(float(x), float(y)) for x, y in points], fill=255, width=width)


def _cloth(random: np.random.Generator, size: tuple[int, int]) -> Array:
    """Return colours of skin above and of cloth below, in patches and threads."""
    below = np.clip((np.linspace(0, 1, size[1], dtype=np.float32) - 0.6) * 60, 0, 1)[:, None, None]
    skin, cloth = (np.array(colour, np.float32) for colour in ((0.78, 0.58, 0.48), (0.42, 0.16, 0.24)))
    patches = np.stack([noise(random, size, (4, 40)) for _ in range(3)], axis=2)
    threads = noise(random, size, (200,))[..., None]
    return np.clip(skin * (1 - below) + cloth * below + (0.04 + 0.06 * below) * (patches + threads), 0, 1)


def _hair_colours(random: np.random.Generator, size: tuple[int, int]) -> Array:
    base = np.array([0.22, 0.13, 0.07], np.float32)
    return np.clip(base * (1 + 0.8 * noise(random, size, (12, 120))[..., None]), 0, 1)


# ---------------------------------------------------------------------------------------------------------------------
# Backgrounds


def sky(size: tuple[int, int], number: int = 0) -> Array:
    """Return a bright sky with clouds."""
    random = np.random.default_rng(1000 + number)
    down = np.linspace(0, 1, size[1], dtype=np.float32)[:, None, None]
    blue = np.array([0.35, 0.58, 0.93], np.float32) * (1 - down) + np.array([0.78, 0.88, 0.98], np.float32) * down
    clouds = np.clip(noise(random, size, (3, 7, 15, 31, 63)) * 1.6, 0, 1)[..., None]
    return blue * (1 - clouds) + np.array([0.97, 0.97, 0.98], np.float32) * clouds


def leaves(size: tuple[int, int], number: int = 0) -> Array:
    """Return foliage: dark and light at every scale, which is hard for every method."""
    random = np.random.default_rng(2000 + number)
    light = 0.5 + 0.3 * noise(random, size, (6, 24, 80, 200))[..., None]
    tint = 0.08 * np.stack([noise(random, size, (10, 50)) for _ in range(3)], axis=2)
    return np.clip(light * np.array([0.55, 0.95, 0.35], np.float32) + tint, 0, 1)


def wall(size: tuple[int, int], number: int = 0) -> Array:
    """Return a wall of bricks."""
    random = np.random.default_rng(3000 + number)
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32) / size[1]
    row = np.floor(y * 14)
    joint = ((y * 14) % 1 < 0.09) | ((x * 6 + 0.5 * (row % 2)) % 1 < 0.04)
    brick = np.array([0.55, 0.27, 0.2], np.float32) * (1 + 0.5 * noise(random, size, (20, 90))[..., None])
    return np.clip(np.where(joint[..., None], np.float32(0.72), brick), 0, 1)


BACKGROUNDS: Final[Mapping[str, Callable[[tuple[int, int], int], Array]]] = {"sky": sky, "leaves": leaves, "wall": wall}
"""Backgrounds that need no file."""


def photograph(picture: NDArray[np.uint8], size: tuple[int, int]) -> Array:
    """Return a picture, uint8 (H, W, 3), as a background that fills a frame of this size."""
    height, width = picture.shape[:2]
    larger = max(size[0] / width, size[1] / height)
    scaled = Image.fromarray(picture).resize(
        (max(size[0], round(width * larger)), max(size[1], round(height * larger))), Image.Resampling.BICUBIC
    )
    filled: Array = np.asarray(scaled, np.float32)[: size[1], : size[0]] / np.float32(255)
    return filled


def noise(random: np.random.Generator, size: tuple[int, int], cells: tuple[int, ...]) -> Array:
    """Return smooth noise of about -1…1: a sum over scales, given as cells in the height of the picture."""
    total = np.zeros((size[1], size[0]), np.float32)
    for place, count in enumerate(cells):
        shape = (count + 3, round(count * size[0] / size[1]) + 3)
        grid = Image.fromarray(random.standard_normal(shape).astype(np.float32))
        total += np.asarray(grid.resize(size, Image.Resampling.BICUBIC)) / (1 + 0.7 * place)
    return total / 1.7


# ---------------------------------------------------------------------------------------------------------------------
# Small alphas


def reduced(plane: Array, size: tuple[int, int]) -> Array:
    """Return a plane in another size: the mean of each area, as a perfect network of that size would see it."""
    return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BOX))


def network_like(small: Array, number: int = 0) -> Array:
    """Return a small alpha as networks make it: blurred over two pixels, uncertain at edges."""
    random = np.random.default_rng(number)
    blurred = _blurred(small, 1.0)
    uncertain = 4 * blurred * (1 - blurred)
    return np.clip(blurred + 0.08 * uncertain * random.standard_normal(small.shape).astype(np.float32), 0, 1)


def _blurred(plane: Array, sigma: float) -> Array:
    """Return a plane after a Gaussian blur. Its borders repeat."""
    reach = int(np.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1, dtype=np.float32) / np.float32(sigma)) ** 2)
    weights /= weights.sum()
    for _ in range(2):  # down, then across
        padded = np.pad(plane, ((reach, reach), (0, 0)), "edge")
        count = plane.shape[0]
        total = np.zeros_like(plane)
        for place, weight in enumerate(weights):
            total += weight * padded[place : place + count]
        plane = total.T
    return plane


def _downsampled(drawn: Image.Image) -> Array:
    """Return the area that is covered of each pixel, 0…1."""
    height, width = drawn.height // _FINER, drawn.width // _FINER
    cells = np.asarray(drawn).reshape(height, _FINER, width, _FINER)
    return cells.mean((1, 3), dtype=np.float32) / 255
