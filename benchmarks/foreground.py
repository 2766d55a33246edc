"""The foreground's colours against known ones: the frame's own, pymatting's, and ours.

`python -m benchmarks.foreground` prints the table and the times.

A subject is put over a background, and its colours are estimated from the picture and an alpha: the true one, or one
as a network of 1024 or of 320 pixels would see it. The error is the sum of absolute differences, in thousands, between
composites with the estimated and with the true foreground and alpha, as a mean over black, white and green behind it.
No estimate can be better than `truth`: the true colours with the same alpha. pymatting is not needed by anything else
here; requirements/peers.txt has its version.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import composites
from trtmatte import ops

__all__ = ["BEHIND", "METHODS", "Scene", "error", "ours", "photographs", "pymatting_ml", "scenes", "times"]

Array = NDArray[np.float32]

HD: Final = (1920, 1080)
ALPHAS: Final = (None, 1024, 320)
BEHIND: Final = ((0, 0, 0), (1, 1, 1), (0, 1, 0))


class Scene(NamedTuple):
    """A picture, what it was made of, and the small alpha that an estimate is given."""

    name: str
    picture: NDArray[np.uint8]
    foreground: Array
    alpha: Array
    small: Array

    @property
    def seen(self) -> Array:
        """The small alpha in the size of the picture, as `matte_upsample` samples it."""
        return upsampled(self.picture, self.small)


def scenes(size: tuple[int, int] = HD, side: int | None = None) -> Iterator[Scene]:
    """Yield drawn subjects over drawn backgrounds. `side` is that of the small alpha; None stands for the true one."""
    for number, (name, background) in enumerate(composites.BACKGROUNDS.items()):
        made = composites.composite(composites.subject(size, number), background(size, number))
        yield _scene(name, made, side)


def photographs(size: tuple[int, int] = HD, side: int | None = None) -> Iterator[Scene]:
    """Yield photographs of scikit-image as subjects, cut out by U-2-NetP, over a bright sky."""
    from skimage import data

    import trtmatte

    session = trtmatte.build("u2netp").session(outputs=("pha",), dtype="float32")
    for number, name in enumerate(("astronaut", "cat", "coffee", "rocket")):
        picture = np.asarray(Image.fromarray(getattr(data, name)()).resize(size, Image.Resampling.BICUBIC))
        subject = composites.Subject(np.array(session(picture)["pha"][..., 0]), picture.astype(np.float32) / 255)
        yield _scene(name, composites.composite(subject, composites.BACKGROUNDS["sky"](size, number)), side)


def _scene(name: str, made: composites.Composite, side: int | None) -> Scene:
    small = made.alpha if side is None else composites.reduced(made.alpha, (side, side))
    return Scene(name, made.picture, made.foreground, made.alpha, np.ascontiguousarray(small[None, None]))


def upsampled(picture: NDArray[np.uint8], small: Array) -> Array:
    alpha: Array = ops.matte_upsample(picture, small, outputs=("pha",), dtype="float32")[0][..., 0]
    return alpha


def raw(scene: Scene) -> Array:
    """Return the picture's own colours."""
    return scene.picture.astype(np.float32) / np.float32(255)


def ours(scene: Scene) -> Array:
    """Return the foreground that a session would show."""
    colours = ops.foreground_estimate(scene.picture, scene.small)
    fgr: Array = ops.matte_upsample(scene.picture, scene.small, colours, outputs=("fgr",), dtype="float32")[0]
    return fgr


def pymatting_ml(scene: Scene) -> Array:
    """Return the estimate of pymatting's multi-level method."""
    from pymatting import estimate_foreground_ml

    estimate: Array = estimate_foreground_ml(raw(scene), scene.seen)
    return estimate


METHODS: Final[dict[str, Callable[[Scene], Array]]] = {
    "truth": lambda scene: scene.foreground,
    "raw": raw,
    "pymatting": pymatting_ml,
    "trtmatte": ours,
}


def error(scene: Scene, foreground: Array) -> float:
    """Return the error of composites with these colours, in thousands."""
    alpha, true = scene.seen[..., None], scene.alpha[..., None]
    total = 0.0
    for colour in BEHIND:
        behind = np.array(colour, np.float32)
        got, expected = foreground * alpha + behind * (1 - alpha), scene.foreground * true + behind * (1 - true)
        total += float(np.abs(got - expected).sum(dtype=np.float64))
    return total / len(BEHIND) / 1000


def times(scene: Scene, rounds: int = 20) -> dict[str, float]:
    """Return the fastest seconds of each: pymatting, our estimate, and what it adds to the matte, round by round."""
    colours = ops.foreground_estimate(scene.picture, scene.small)
    matte: dict[str, Any] = {"outputs": ("rgba",), "out": {"rgba": np.empty((*scene.alpha.shape, 4), np.uint8)}}
    picture, seen = raw(scene), scene.seen
    calls: dict[str, Callable[[], Any]] = {
        "estimate": lambda: ops.foreground_estimate(scene.picture, scene.small, out=colours),
        "raw matte": lambda: ops.matte_upsample(scene.picture, scene.small, **matte),
        "clean matte": lambda: ops.matte_upsample(scene.picture, scene.small, colours, **matte),
    }
    if pymatting := _pymatting():
        calls["pymatting"] = lambda: pymatting(picture, seen)
    fastest = dict.fromkeys(calls, float("inf"))
    for number in range(rounds):
        for name, call in calls.items():
            if name == "pymatting" and number % 5:
                continue
            start = time.perf_counter()
            call()
            fastest[name] = min(fastest[name], time.perf_counter() - start)
    return fastest


def _pymatting() -> Callable[..., Any] | None:
    try:
        from pymatting import estimate_foreground_ml
    except ImportError:
        return None
    estimate: Callable[..., Any] = estimate_foreground_ml
    return estimate


def main() -> None:
    methods = {name: method for name, method in METHODS.items() if name != "pymatting" or _pymatting()}
    print(f"{'alpha':10}{'picture':12}" + "".join(f"{name:>12}" for name in methods))
    for side in ALPHAS:
        for scene in itertools.chain(scenes(side=side), photographs(side=side)):
            errors = (error(scene, method(scene)) for method in methods.values())
            print(f"{side or 'true':<10}{scene.name:12}" + "".join(f"{value:12.2f}" for value in errors), flush=True)
    for side in (320, 1024):
        found = times(next(scenes(side=side)))
        print(f"alpha {side}: " + ", ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in found.items()))
        own = found["estimate"] + found["clean matte"] - found["raw matte"]
        print(f"alpha {side}: clean foreground {own * 1e3:.2f} ms", end="")
        print(f", pymatting takes {found['pymatting'] / own:.0f} times as long" if "pymatting" in found else "")


if __name__ == "__main__":
    main()
