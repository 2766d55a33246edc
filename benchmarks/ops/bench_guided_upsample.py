"""GuidedUpsample: from a uint8 frame to uint8 foreground and alpha."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ops.place import Call
from benchmarks.ops.race import body, race, size_of
from tests.ops.specification import agree, maps, picture
from trtmatte import ops


@pytest.mark.parametrize(
    ("name", "size", "small", "copies"),
    [
        ("1080p", (1080, 1920), (270, 480), 15),
        ("1080p portrait", (1920, 1080), (480, 270), 15),
        ("1081 wide", (1920, 1081), (480, 270), 15),
        ("4K", (2160, 3840), (270, 480), 8),
    ],
)
def test_guided_upsample(benchmark, place, name, size, small, copies):
    """At least 8 times as fast as the body; at most so many copies of as many bytes (at 1080p they lie in cache)."""
    frame, A, b = picture(*size), maps(4, small[0], small[1], seed=0), maps(4, small[0], small[1], seed=1)
    black = np.zeros((1, 3, 1, 1), np.float32)
    reference = body("GuidedUpsample", {"frame": frame[None], "A": A, "b": b, "background": black}, ("fgr", "pha"))

    def bind() -> Call:
        out = {"fgr": place.put(np.empty_like(frame)), "pha": place.put(np.empty((*size, 1), np.uint8))}
        inputs = [place.put(each) for each in (frame, A, b)]
        return lambda: ops.guided_upsample(*inputs, out=out, **place.options)

    out = dict(zip(("fgr", "pha"), bind()(), strict=True))
    for output, value in reference().items():
        agree(place.get(out[output]), value[0], what=output)

    moved = size_of(frame, A, b, *out.values())
    times = race(benchmark, place, f"GuidedUpsample {name}", bind, {"body": reference}, moved)
    if "body" in times:
        assert times.ratio("body", "trtmatte") >= 8
        assert times.ratio("trtmatte", "memcpy") <= copies
