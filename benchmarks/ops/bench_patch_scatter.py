"""PatchScatter: from coarse maps and refined patches to uint8 foreground and alpha."""

from __future__ import annotations

import numpy as np

from benchmarks.ops.place import Call
from benchmarks.ops.race import body, race, size_of
from tests.ops.specification import agree, maps, picture
from trtmatte import ops


def test_patch_scatter(benchmark, place):
    """5,000 patches on an HD frame: at most a quarter of the body's time."""
    frame, coarse, patches = picture(1080, 1920), maps(4, 270, 480), maps(4, 4, 4, 5000, seed=2)
    chosen = np.sort(np.random.default_rng(2).permutation(270 * 480)[:5000])
    indices = np.stack([np.zeros_like(chosen), chosen // 480, chosen % 480], 1).astype(np.int32)
    inputs = {"coarse": coarse, "patches": patches, "indices": indices, "frame": frame[None]}
    reference = body("PatchScatter", {**inputs, "background": np.zeros((1, 3, 1, 1), np.float32)}, ("fgr", "pha"))

    def bind() -> Call:
        out = {"fgr": place.put(np.empty_like(frame)), "pha": place.put(np.empty((1080, 1920, 1), np.uint8))}
        on_place = [place.put(each) for each in (coarse, patches, indices, frame)]
        options = {**place.options, **place.workspace(ops.patch_scatter_workspace(1, 1080, 1920))}
        return lambda: ops.patch_scatter(*on_place, out=out, **options)

    out = dict(zip(("fgr", "pha"), bind()(), strict=True))
    for output, value in reference().items():
        agree(place.get(out[output]), value[0], what=output)
    moved = size_of(frame, coarse, patches, *out.values())
    times = race(benchmark, place, "PatchScatter HD k=5000", bind, {"body": reference}, moved)
    if "body" in times:
        assert times.ratio("trtmatte", "body") <= 1 / 4
