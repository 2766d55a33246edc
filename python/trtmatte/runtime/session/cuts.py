"""Scene cuts, detected on the small frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, Any]

_SIDE: Final = 32  # pixels of a thumbnail's shorter side, about


class SceneCuts:
    """Compares each frame with the one before in its stream: a scene begins where they differ by more than `threshold`
    on average. A frame counts as the one before once `remember` is called, so that one that fails leaves no trace."""

    def __init__(self, samples: Sequence[Array], threshold: float) -> None:
        step = max(1, min(samples[0].shape[2:]) // _SIDE)
        self._thumbnails = [thumbnail for sample in samples for thumbnail in sample[:, :, ::step, ::step]]
        self._before = [thumbnail.copy() for thumbnail in self._thumbnails]
        self._difference = self._before[0].copy()
        self._threshold = threshold
        self._started = [False] * len(self._thumbnails)

    def detect(self, streams: Iterable[int]) -> list[int]:
        """Those of the streams in which a new scene begins with the frame that was sampled last."""
        return [stream for stream in streams if self._started[stream] and self._change(stream) > self._threshold]

    def remember(self, streams: Iterable[int]) -> None:
        """Let the frames of these streams count."""
        for stream in streams:
            np.copyto(self._before[stream], self._thumbnails[stream])
            self._started[stream] = True

    def _change(self, stream: int) -> float:
        np.subtract(self._thumbnails[stream], self._before[stream], out=self._difference)
        np.abs(self._difference, out=self._difference)
        return float(self._difference.mean())
