"""Makes docs/portrait.jpg, the README's picture: a portrait, its alpha, and the portrait over green.

python tools/portrait.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import trtmatte
from trtmatte.models import download

PLACE = Path(__file__).resolve().parents[1] / "docs" / "portrait.jpg"
PORTRAIT = ("scikit-image==0.25.2", "skimage/data/astronaut.png")  # NASA's, in the public domain
ROWS = 352
FRAMES = 5  # RVM settles in a few: its states begin as zeros


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "portrait.png"
        download.from_wheel(*PORTRAIT, picture)
        frame = np.array(Image.open(picture).convert("RGB"))[:ROWS]
    engine = trtmatte.build("rvm-mobilenetv3", size=(frame.shape[1], ROWS))
    session = engine.session(outputs=("pha", "composite"), background="#00b140")
    for _ in range(FRAMES):
        alpha, composite = session(frame)
    Image.fromarray(np.hstack([frame, np.repeat(alpha, 3, axis=2), composite])).save(PLACE, quality=90)


if __name__ == "__main__":
    main()
