"""MatteUpsample: from a uint8 frame and a small alpha to uint8 outputs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ops.place import Call
from benchmarks.ops.race import body, race, size_of
from tests.ops.specification import METHODS, agree, maps, no_colours, picture
from trtmatte import ops


@pytest.mark.parametrize("method", ["linear", "area", "lanczos"])
@pytest.mark.parametrize("output", ["pha", "composite"])
def test_matte_upsample(benchmark, place, method, output):
    """Measured for information, without a goal."""
    frame, alpha = picture(1080, 1920), maps(1, 512, 896)
    colour = np.array([[[0, 0.6, 0.1]]], np.float32)
    inputs = {"frame": frame[None], "alpha": alpha, "colours": no_colours()}
    inputs["background"] = colour.transpose(2, 0, 1)[None]
    reference = body("MatteUpsample", inputs, (output,), method=METHODS.index(method))

    def bind() -> Call:
        out = {output: place.put(np.empty((1080, 1920, 1 if output == "pha" else 3), np.uint8))}
        on_place = [place.put(each) for each in (frame, alpha)]
        options = {"method": method, "background": place.put(colour), "outputs": (output,), **place.options}
        return lambda: ops.matte_upsample(*on_place, out=out, **options)

    out = dict(zip((output,), bind()(), strict=True))
    agree(place.get(out[output]), reference()[output][0])
    moved = size_of(frame, alpha, out[output])
    race(benchmark, place, f"MatteUpsample 1080p {method} {output}", bind, {"body": reference}, moved)
