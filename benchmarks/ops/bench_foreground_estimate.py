"""ForegroundEstimate, and what the clean foreground costs in MatteUpsample. The goal is 3 ms together at 1080p."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ops.place import Call
from benchmarks.ops.race import body, race, size_of
from tests.ops.specification import agree, maps, picture
from trtmatte import ops

HD, SMALL = (1080, 1920), {320: (320, 320), 1024: (1024, 1024)}


@pytest.mark.parametrize("small", SMALL)
def test_foreground_estimate(benchmark, place, small):
    """The goal counts with the next test's difference."""
    frame, alpha = picture(*HD), maps(1, *SMALL[small])
    reference = body("ForegroundEstimate", {"frame": frame[None], "alpha": alpha})

    def bind() -> Call:
        out = place.put(np.empty((1, 6, 128, 128), np.float32))
        on_place = [place.put(each) for each in (frame, alpha)]
        options = {**place.options, **place.workspace(ops.foreground_estimate_workspace())}
        return lambda: ops.foreground_estimate(*on_place, out=out, **options)

    agree(place.get(bind()()), reference()["colours"], scale=8.0)
    moved = size_of(frame, alpha)
    race(benchmark, place, f"ForegroundEstimate 1080p alpha {small}", bind, {"body": reference}, moved)


@pytest.mark.parametrize("small", SMALL)
@pytest.mark.parametrize("output", ["rgba", "composite"])
def test_clean_foreground(benchmark, place, output, small):
    """MatteUpsample with colours; the rival `raw` is the same without."""
    frame, alpha, channels = picture(*HD), maps(1, *SMALL[small]), {"rgba": 4, "composite": 3}[output]
    colours = ops.foreground_estimate(frame, alpha)
    background = np.array([[[0, 0.6, 0.1]]], np.float32)

    def bind(*estimated: np.ndarray) -> Call:
        out = {output: place.put(np.empty((*HD, channels), np.uint8))}
        on_place = [place.put(each) for each in (frame, alpha, *estimated)]
        options = {"background": place.put(background), "outputs": (output,), **place.options}
        return lambda: ops.matte_upsample(*on_place, out=out, **options)

    moved = size_of(frame, alpha) + HD[0] * HD[1] * channels
    title = f"MatteUpsample 1080p clean {output} alpha {small}"
    race(benchmark, place, title, lambda: bind(colours), {"raw": bind()}, moved)
