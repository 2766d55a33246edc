"""What the ops do, on a picture: a sharp matte of any size from coefficients that were made at an eighth of it.

    python examples/demo.py [PICTURE] [-o out/demo.png]

Without a picture it draws one: a subject with spines before a window. An alpha as coarse as a small network's is turned
into a guided filter's A and b, which `GuidedUpsample` applies to the full frame: RVM's last step, with the network
left out. The result shows, side by side: the frame, the coarse alpha merely enlarged, the guided alpha, and the
composite over green.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

import trtmatte
from trtmatte import ops

FRACTION = 8  # of the frame's size, where the coefficients are made
GREEN = (0.0, 0.6, 0.2)


def draw(width: int = 1920, height: int = 1080) -> tuple[np.ndarray, np.ndarray]:
    """A frame, and the alpha that it was made with."""
    y, x = np.mgrid[:height, :width].astype(np.float32) / height
    angle = np.arctan2(y - 0.6, x - width / height / 2)
    radius = np.hypot(y - 0.6, x - width / height / 2)
    strands = 0.30 + 0.05 * np.maximum(0, np.sin(angle * 90) * np.sin(angle * 37 + 1))
    alpha = np.clip((strands - radius) * 120, 0, 1)
    subject = np.stack([0.55 + 0.2 * np.sin(x * 9), 0.30 + 0.1 * y, 0.22 + 0.1 * np.cos(y * 12)], axis=-1)
    window = np.stack([0.75 + 0.15 * np.sin(x * 3), 0.82 - 0.1 * y, 0.95 - 0.15 * y], axis=-1)
    frame = subject * alpha[..., None] + window * (1 - alpha[..., None])
    return (np.clip(frame, 0, 1) * 255).astype(np.uint8), alpha


def box(x: np.ndarray) -> np.ndarray:
    """The mean over 3×3, borders repeated."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = x.shape[1:]
    return np.mean([padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=0)


def guided_coefficients(picture: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A and b of `alpha = A * grey + b` around each pixel; the colours' residual is left at zero."""
    grey = picture.mean(axis=0, keepdims=True)
    covariance = box(grey * alpha) - box(grey) * box(alpha)
    variance = box(grey * grey) - box(grey) ** 2
    slope = covariance / (variance + 1e-4)
    offset = box(alpha) - slope * box(grey)
    zeros = np.zeros((3, *alpha.shape[1:]), np.float32)
    return np.concatenate([zeros, slope]).astype(np.float32), np.concatenate([zeros, offset]).astype(np.float32)


def coarse(alpha: np.ndarray, height: int, width: int) -> np.ndarray:
    """What a small network would say of it."""
    grey = np.repeat(alpha[..., None], 3, axis=-1).astype(np.float32)
    return ops.frame_sample(grey, height, width, method="area")[0, :1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", type=Path, help="a picture; its brightness then stands for alpha")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/demo.png"))
    arguments = parser.parse_args()
    if arguments.picture:
        frame = np.asarray(Image.open(arguments.picture).convert("RGB"))
        alpha = frame.mean(axis=-1, dtype=np.float32) / 255
    else:
        frame, alpha = draw()
    height, width = frame.shape[:2]
    small = max(1, height // FRACTION), max(1, width // FRACTION)

    picture = ops.frame_sample(frame, *small)[0]
    small_alpha = coarse(alpha, *small)
    A, b = guided_coefficients(picture, small_alpha)
    composite, matte = ops.guided_upsample(frame, A, b, outputs=("composite", "pha"), background=GREEN)
    (plain,) = ops.matte_upsample(frame, small_alpha, outputs=("pha",))

    started = time.perf_counter()
    repeats = 20
    for _ in range(repeats):
        ops.guided_upsample(frame, A, b, outputs=("composite", "pha"), background=GREEN)
    milliseconds = (time.perf_counter() - started) / repeats * 1e3

    grey = [np.repeat(each, 3, axis=-1) for each in (plain, matte)]
    row_1, row_2 = np.hstack([frame, grey[0]]), np.hstack([grey[1], composite])
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack([row_1, row_2])).resize((width, height), Image.Resampling.LANCZOS).save(arguments.output)

    core = "with CUDA" if trtmatte.cuda_built() else "without CUDA"
    error = [float(np.abs(each[..., 0] / 255 - alpha).mean()) for each in (plain, matte)]
    print(f"trtmatte's core, built {core}, {trtmatte.get_num_threads()} threads")
    print(
        f"GuidedUpsample {width}x{height} from {small[1]}x{small[0]}, uint8 to composite and pha: {milliseconds:.1f} ms"
    )
    if not arguments.picture:
        print(f"mean error of alpha: enlarged {error[0]:.4f}, guided {error[1]:.4f}")
    print(f"written: {arguments.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
