"""PatchCrop: the patch refiner's inputs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ops.place import Call
from benchmarks.ops.race import body, race, size_of
from tests.ops.specification import agree, maps, picture
from trtmatte import ops


@pytest.mark.parametrize("kernel", [3, 1])
def test_patch_crop(benchmark, place, kernel):
    """5,000 patches of an HD frame: at most a quarter of the body's time."""
    src, bgr, small = picture(1080, 1920), picture(1080, 1920, seed=1), maps(36, 270, 480)
    chosen = np.sort(np.random.default_rng(2).permutation(270 * 480)[:5000])
    indices = np.stack([np.zeros_like(chosen), chosen // 480, chosen % 480], 1).astype(np.int32)
    half_side, full_side = (8, 8) if kernel == 3 else (2, 4)
    shapes = {"half": (5000, 42, half_side, half_side), "full": (5000, 6, full_side, full_side)}
    inputs = {"maps": small, "src": src[None], "bgr": bgr[None], "indices": indices}
    reference = body("PatchCrop", inputs, kernel=kernel)

    def bind() -> Call:
        out = {name: place.put(np.empty(shape, np.float32)) for name, shape in shapes.items()}
        hidden, one, other, places = (place.put(each) for each in (small, src, bgr, indices))
        return lambda: ops.patch_crop(hidden, one, other, places, kernel=kernel, **out, **place.options)

    out = dict(zip(shapes, bind()(), strict=True))
    for output, value in reference().items():
        agree(place.get(out[output]), value, scale=1.6, what=output)
    moved = size_of(*out.values()) * 2  # each pixel of a patch is read somewhere
    times = race(benchmark, place, f"PatchCrop HD k=5000 kernel={kernel}", bind, {"body": reference}, moved)
    if "body" in times:
        assert times.ratio("trtmatte", "body") <= 1 / 4
