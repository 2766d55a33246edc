"""Align a plate to the frame, for hand-held cameras."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from trtmatte.media.opencv import opencv

Array = np.ndarray[Any, Any]

_LOG: Final = logging.getLogger("trtmatte")
_LONG_SIDE: Final = 1280  # features are searched at this size at most: more pixels add noise, not better corners
_FEATURES: Final = 2000
_PATCH: Final = 32  # pixels that a feature needs around it
_CLEARLY: Final = 0.8  # a match is used if its distance is below this part of the second best match's
_TOLERANCE: Final = 2.0  # pixels of the small pictures
_ENOUGH: Final = 20  # matches that must agree on one movement; a few agree by chance


class Aligner:
    """Warp the plate onto the frame by the homography between their features.

    >>> aligner = Aligner()
    >>> matte = session(frame, aligner(plate, frame))

    With `once`, the movement of the first frame is used for all frames, for a tripod that was pushed. Otherwise each
    frame has its own. Pixels that the warped plate does not cover are copied from the frame, so they count as
    background. If too few features agree, the plate is returned unchanged, and `tell` is called once for all such
    frames in a row.
    """

    def __init__(self, once: bool = False, *, tell: Callable[[str], object] = _LOG.warning) -> None:
        self._cv = cv = opencv("aligning the plate", "align")
        self._once, self._tell = once, tell
        self._detector = cv.ORB_create(_FEATURES)
        self._matcher = cv.BFMatcher(cv.NORM_HAMMING)
        self._movement: Array | None = None
        self._told = False

    def __call__(self, plate: Array, frame: Array) -> Array:
        """Both are uint8 (H, W, 3), of any sizes. The result has the frame's size, unless it is the plate itself."""
        if self._movement is None or not self._once:
            self._movement = self._found(plate, frame)
        if self._movement is None:
            return plate
        return self._warped(plate, frame, self._movement)

    def _found(self, plate: Array, frame: Array) -> Array | None:
        movement, agreeing = self._estimated(plate, frame)
        if movement is None and not self._told:
            self._tell(
                f"the plate is not aligned: {agreeing} of its features were found in the frame, expected at least "
                f"{_ENOUGH}; it is used unchanged"
            )
        self._told = movement is None
        return movement

    def _estimated(self, plate: Array, frame: Array) -> tuple[Array | None, int]:
        """The homography from the plate's pixels to the frame's, and the number of matches that agree on it."""
        there, here = self._small(plate), self._small(frame)
        movement, agreeing = self._matched(there, here)
        if movement is not None:
            movement, agreeing = self._refined(there, here, movement)
        if movement is None or not _is_plausible(movement, there.shape):
            return None, min(agreeing, _ENOUGH - 1)
        return np.linalg.inv(_shrinking(frame, here)) @ movement @ _shrinking(plate, there), agreeing

    def _matched(self, there: Array, here: Array) -> tuple[Array | None, int]:
        """Estimate the homography from matching features, however far they have moved."""
        (sources, whats), (targets, what) = self._features(there), self._features(here)
        if whats is None or what is None or len(what) < 2:
            return None, 0
        pairs = self._matcher.knnMatch(whats, what, k=2)
        clear = [best for best, second in pairs if best.distance < _CLEARLY * second.distance]
        return self._homography(sources[[m.queryIdx for m in clear]], targets[[m.trainIdx for m in clear]])

    def _refined(self, there: Array, here: Array, movement: Array) -> tuple[Array | None, int]:
        """Refine a homography to fractions of a pixel, by following corners from their expected places."""
        cv = self._cv
        moved = cv.warpPerspective(there, movement, here.shape[::-1], borderMode=cv.BORDER_REPLICATE)
        corners = cv.goodFeaturesToTrack(moved, 1000, 0.01, 8)
        if corners is None:
            return None, 0
        found, followed, _ = cv.calcOpticalFlowPyrLK(moved, here, corners, None, winSize=(15, 15), maxLevel=2)
        followed = followed.ravel() == 1
        correction, agreeing = self._homography(corners[followed, 0], found[followed, 0])
        return (None if correction is None else correction @ movement), agreeing

    def _homography(self, sources: Array, targets: Array) -> tuple[Array | None, int]:
        if len(sources) < _ENOUGH:
            return None, len(sources)
        movement, agree = self._cv.findHomography(sources, targets, self._cv.RANSAC, _TOLERANCE)
        agreeing = 0 if agree is None else int(agree.sum())
        return (None if agreeing < _ENOUGH else movement), agreeing

    def _small(self, picture: Array) -> Array:
        """Return the picture in grey, reduced to the size at which features are searched."""
        cv = self._cv
        grey: Array = cv.cvtColor(np.ascontiguousarray(picture), cv.COLOR_RGB2GRAY)
        height, width = grey.shape
        scale = min(1.0, _LONG_SIDE / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return cv.resize(grey, size, interpolation=cv.INTER_AREA) if scale < 1 else grey

    def _features(self, grey: Array) -> tuple[Array, Array | None]:
        if min(grey.shape) < _PATCH:
            return np.empty((0, 2), np.float32), None
        points, descriptors = self._detector.detectAndCompute(grey, None)
        return np.array([point.pt for point in points], np.float32).reshape(-1, 2), descriptors

    def _warped(self, plate: Array, frame: Array, movement: Array) -> Array:
        cv = self._cv
        size = frame.shape[1], frame.shape[0]
        warped = cv.warpPerspective(np.ascontiguousarray(plate), movement, size)
        seen = cv.warpPerspective(np.full(plate.shape[:2], 255, np.uint8), movement, size) == 255
        result: Array = np.where(seen[..., None], warped, frame)
        return result


def _is_plausible(movement: Array, shape: tuple[int, ...]) -> bool:
    """Report if the corners keep their order and none is behind the camera, so that the picture is not folded."""
    height, width = shape[:2]
    corners = np.array([(0, 0, 1), (width, 0, 1), (width, height, 1), (0, height, 1)], float) @ movement.T
    if (corners[:, 2] * corners[0, 2] <= 0).any():
        return False
    points = corners[:, :2] / corners[:, 2:]
    sides = np.roll(points, -1, 0) - points
    following = np.roll(sides, -1, 0)
    turns = sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0]
    return bool((turns > 0.05 * width * height).all())


def _shrinking(picture: Array, small: Array) -> Array:
    """The matrix from pixels of the picture to pixels of the small one. The centre of pixel i is at i + 0.5."""
    y, x = (little / large for little, large in zip(small.shape[:2], picture.shape[:2], strict=True))
    return np.array([(x, 0, (x - 1) / 2), (0, y, (y - 1) / 2), (0, 0, 1)])
