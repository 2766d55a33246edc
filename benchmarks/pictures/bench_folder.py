"""The cost of a folder of pictures beside that of its network: JPEG in, PNG with alpha out, sizes mixed, on two cores.

    python -m benchmarks.pictures.bench_folder [--model u2netp] [--rounds 3] [--pictures 100] [--long-side 1600]

The session runs alone on all pictures, which are in memory; then `trtmatte image` mattes the folder, in the same
process. `share` is the time of the session, divided by that of the command: it is what decoding, encoding and writing
leave of the network's own rate. Both take turns, round by round, and the median of the rounds' shares counts, so that
what else the machine does falls on both alike. `share_of_work` is the same of the processor's time, which others on
the machine disturb less. Decoding and encoding alone are on one core. Before it is timed, the files are checked against
the session's cut-outs.

With `--cold`, the command builds its engines in each round: that is what models cost that follow the shape of the
picture, such as rvm.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

import trtmatte
from benchmarks import machine
from tests.real_models import photograph
from trtmatte.apps.matting import Matting
from trtmatte.cli.main import main as command
from trtmatte.media import still
from trtmatte.media.backgrounds import FrameBackground
from trtmatte.support.cache_folder import cache_folder

CORES: Final = 2
CLAIM: Final = 0.9
SHARES: Final = (0.3, 0.4, 0.5, 0.65, 0.8, 1.0)  # of the longest side
SHAPES: Final = ((3, 2), (4, 3), (1, 1), (16, 9), (3, 4), (9, 16), (2, 3))


class Subject:
    """The folder of pictures, and the work that is timed."""

    def __init__(self, folder: Path, model: str, count: int, long_side: int, cold: bool) -> None:
        self.model, self._folder, self._out, self._cold = model, folder / "in", folder / "out", cold
        self._folder.mkdir()
        scene = Image.fromarray(photograph())
        for number, size in enumerate(itertools.islice(_sizes(long_side), count)):
            scene.resize(size, Image.Resampling.BICUBIC).save(self._folder / f"{number:03}.jpg", quality=92)
        self._paths = sorted(self._folder.iterdir())
        self._pictures = [still.read(path).pixels for path in self._paths]
        self.megapixels = sum(each.shape[0] * each.shape[1] for each in self._pictures) / 1e6 / count
        self._matting = Matting(lambda size: trtmatte.build(model, size=size), ["rgba"], device="cpu")
        self._cutouts = [self._matting(each, None, FrameBackground(None))["rgba"] for each in self._pictures]

    def runs(self) -> dict[str, Callable[[], object]]:
        return {"session": self._matte, "decode": self._decode, "encode": self._encode, "whole": self._convert}

    def check(self) -> None:
        """Check that the files are what the session makes."""
        self._convert()
        for path, expected in zip(self._paths, self._cutouts, strict=True):
            with Image.open(self._out / f"{path.stem}.png") as picture:
                np.testing.assert_array_equal(np.asarray(picture), expected)

    def _matte(self) -> None:
        for picture in self._pictures:
            session = self._matting._session((picture.shape[1], picture.shape[0])).session
            session.reset()
            session(picture)

    def _decode(self) -> None:
        for path in self._paths:
            still.read(path)

    def _encode(self) -> None:
        for cutout in self._cutouts:
            still.encoded(cutout, "png")

    def _convert(self) -> None:
        words = ["image", str(self._folder), "-o", str(self._out), "-m", self.model, "--device", "cpu", "-y", "--quiet"]
        with tempfile.TemporaryDirectory() as cache, redirect_stderr(io.StringIO()) as told:
            before = os.environ.get("TRTMATTE_CACHE")
            if self._cold:
                (Path(cache) / "models").symlink_to(cache_folder() / "models")
                os.environ["TRTMATTE_CACHE"] = cache
            try:
                assert command(words) == 0, told.getvalue()
            finally:
                os.environ.pop("TRTMATTE_CACHE", None)
                os.environ.update({} if before is None else {"TRTMATTE_CACHE": before})


def _sizes(long_side: int) -> Iterator[tuple[int, int]]:
    """Sizes of pictures without an end, each share with each shape."""
    for number in itertools.count():
        share, (width, height) = SHARES[number % len(SHARES)], SHAPES[number % len(SHAPES)]
        scale = long_side * share / max(width, height)
        yield round(width * scale), round(height * scale)


def measure(subject: Subject, rounds: int, count: int) -> dict[str, Any]:
    subject.check()
    timed = [{name: _milliseconds(run, count) for name, run in subject.runs().items()} for _ in range(rounds)]
    taken, worked = ([{name: each[name][which] for name in each} for each in timed] for which in (0, 1))
    shares, works = ([each["session"] / each["whole"] for each in either] for either in (taken, worked))
    return {
        "question": f"{subject.model}: {count} pictures of mixed sizes, JPEG in, PNG out, on {CORES} cores",
        "megapixels": round(subject.megapixels, 2),
        "milliseconds_a_picture": _medians(taken),
        "of_the_processor": _medians(worked),
        "share": round(statistics.median(shares), 3),
        "share_of_work": round(statistics.median(works), 3),
        "shares": [round(share, 3) for share in shares],
        "claim": CLAIM,
        "holds": statistics.median(shares) >= CLAIM,
        "rounds": rounds,
        "machine": machine.facts("cpu"),
    }


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(each[name] for each in rounds), 1) for name in rounds[0]}


def _milliseconds(run: Callable[[], object], count: int) -> tuple[float, float]:
    """Return the time of a run for each picture, and that of the processor."""
    began, worked = time.perf_counter(), time.process_time()
    run()
    return (time.perf_counter() - began) * 1000 / count, (time.process_time() - worked) * 1000 / count


def main() -> int:
    """Return the exit status: 0 the goal is reached, 1 it is not."""
    parser = argparse.ArgumentParser("python -m benchmarks.pictures.bench_folder")
    parser.add_argument("--model", default="u2netp")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--long-side", type=int, default=1600)
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    trtmatte.set_num_threads(CORES)
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(Path(folder), options.model, options.pictures, options.long_side, options.cold)
        found = measure(subject, options.rounds, options.pictures)
    print(json.dumps(found, indent=2))
    return 0 if found["holds"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
