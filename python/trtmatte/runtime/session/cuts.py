"""Scene cuts, detected on the small frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, Any]

_SIDE: Final = 32  # pixels of a thumbnail's shorter side, about


class SceneCuts:
    """Compares each frame with the one before: a scene begins where they differ by more than `threshold` on average."""

    def __init__(self, samples: Sequence[Array], threshold: float) -> None:
        step = max(1, min(samples[0].shape[2:]) // _SIDE)
        self._thumbnails = [sample[:, :, ::step, ::step] for sample in samples]
        self._before = [thumbnail.copy() for thumbnail in self._thumbnails]
        self._difference = self._before[0].copy()
        self._threshold = threshold
        self._started = False

    def detect(self) -> list[int]:
        """The streams in which a new scene begins with the frame that was sampled last."""
        slots = []
        for lane, (now, before) in enumerate(zip(self._thumbnails, self._before, strict=True)):
            np.subtract(now, before, out=self._difference)
            np.abs(self._difference, out=self._difference)
            np.copyto(before, now)
            means = self._difference.mean(axis=(1, 2, 3))
            slots += [lane * len(now) + int(slot) for slot in np.flatnonzero(means > self._threshold)]
        started, self._started = self._started, True
        return slots if started else []
