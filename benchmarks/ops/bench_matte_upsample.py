"""MatteUpsample: from a uint8 frame and a small alpha to uint8 outputs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ops.race import body, memcpy, race, size_of
from tests.ops.specification import METHODS, agree, maps, picture
from trtmatte import ops


@pytest.mark.parametrize("method", ["linear", "area"])
@pytest.mark.parametrize("output", ["pha", "composite"])
def test_matte_upsample(benchmark, method, output):
    """For information."""
    frame, alpha = picture(1080, 1920), maps(1, 512, 896)
    out = {output: np.empty((1080, 1920, 1 if output == "pha" else 3), np.uint8)}
    colour = np.array([[[0, 0.6, 0.1]]], np.float32)
    inputs = {"frame": frame[None], "alpha": alpha, "background": colour.transpose(2, 0, 1)[None]}
    reference = body("MatteUpsample", inputs, (output,), method=METHODS.index(method))

    def run() -> None:
        ops.matte_upsample(frame, alpha, method=method, outputs=(output,), background=colour, out=out)

    run()
    agree(out[output], reference()[output][0])
    moved = size_of(frame, alpha, out[output])
    rivals = {"body": reference, "memcpy": memcpy(moved)}
    race(benchmark, f"MatteUpsample 1080p {method} {output}", run, rivals, moved)
