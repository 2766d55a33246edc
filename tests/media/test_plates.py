"""Plates of another size than the frame."""

from __future__ import annotations

import numpy as np
import pytest

from tests.media import films
from trtmatte.errors import InputError
from trtmatte.media.plates import fitted

pytest.importorskip("PIL")


def test_a_plate_of_the_same_size_is_itself() -> None:
    told: list[str] = []
    plate = films.picture(0, 32, 24)
    assert fitted(plate, (32, 24), "film", told.append) is plate
    assert not told


@pytest.mark.parametrize("size", [(32, 24), (320, 241), (31, 23)])
def test_a_plate_of_the_same_aspect_ratio_is_scaled(size: tuple[int, int]) -> None:
    told: list[str] = []
    plate = np.full((120, 160, 3), (10, 20, 30), np.uint8)
    if size == (31, 23):  # 1.1 % off
        with pytest.raises(InputError, match="160x120 and the film 31x23; expected the same aspect ratio: crop"):
            fitted(plate, size, "film", told.append)
        return
    found = fitted(plate, size, "film", told.append)
    assert found.shape == (size[1], size[0], 3)
    assert (found == (10, 20, 30)).all()
    assert told == [f"the plate is 160x120 and the film {size[0]}x{size[1]}: the plate is scaled"]


def test_a_plate_that_lies_on_its_side() -> None:
    with pytest.raises(InputError, match="the plate is 24x32 and the picture 32x24; expected the same aspect ratio"):
        fitted(films.picture(0, 24, 32), (32, 24), "picture", print)
