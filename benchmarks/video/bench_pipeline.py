"""The cost of a whole conversion beside its parts: decoding, matting and encoding a clip at 720p on two cores.

    python -m benchmarks.video.bench_pipeline [--model rvm-mobilenetv3] [--rounds 5] [--frames 60]

A frame's parts are measured alone, each with both cores to itself: the session on frames in memory, the decoder with
its conversion to RGB, the encoder with its conversion from RGB and the writing of the file. If nothing overlapped and
nothing were lost, a frame of `convert_video` would take their sum. `share` is that sum, divided by what it takes, the
opening of sessions and files included; the claim is that it is 0.85 at least. Parts and whole take turns, round by
round, and the median of the rounds' shares counts, so that what else the machine does falls on all alike. Before it is
timed, the whole is checked against the parts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

import trtmatte
from benchmarks import machine
from tests.real_models import clip_file
from trtmatte.media.formats import encoding
from trtmatte.media.video import VideoSource
from trtmatte.media.writing import VideoSink

SIZE: Final = (1280, 720)
CORES: Final = 2
CLAIM: Final = 0.85
BACKGROUND: Final = "greenscreen"


class Subject:
    """The enlarged clip, and the work of each part of a conversion."""

    def __init__(self, folder: Path, model: str, count: int) -> None:
        self.engine = trtmatte.build(model, size=SIZE)
        self.film, self._out, self._count = folder / "in.mp4", folder / "out.mp4", count
        small = VideoSource(clip_file(), resize=SIZE)
        sink = VideoSink(self.film, encoding(self.film), small.facts)
        for frame, _ in zip(small.frames(), range(count), strict=False):
            sink.write(frame.picture, frame.pts, frame.duration)
        sink.close(whole=False)
        self._source = VideoSource(self.film)
        self._frames = list(self._source.frames())
        self._session = self.engine.session(outputs="composite", background=BACKGROUND, device="cpu")
        self._composites = [self._session(frame.picture)[0].copy() for frame in self._frames]

    def parts(self) -> dict[str, Callable[[], object]]:
        return {"session": self._matte, "decode": self._decode, "encode": self._encode, "whole": self._convert}

    def check(self) -> None:
        """Check that every frame was written and looks like that of the session."""
        self._session.reset()
        self._composites = [self._session(frame.picture)[0].copy() for frame in self._frames]
        self._convert()
        found = [frame.picture for frame in VideoSource(self._out).frames()]
        errors = [float(np.abs(a.astype(int) - b).mean()) for a, b in zip(found, self._composites, strict=True)]
        assert max(errors) < 4, f"a frame differs by {max(errors):.1f} on average"

    def _matte(self) -> None:
        for frame in self._frames:
            self._session(frame.picture)

    def _decode(self) -> None:
        for _ in VideoSource(self.film).frames():
            pass

    def _encode(self) -> None:
        sink = VideoSink(self._out, encoding(self._out), self._source.facts)
        for frame, picture in zip(self._frames, self._composites, strict=True):
            sink.write(picture, frame.pts, frame.duration)
        sink.close()

    def _convert(self) -> None:
        trtmatte.convert_video(
            self.engine,
            self.film,
            output=self._out,
            overwrite=True,
            background=BACKGROUND,
            device="cpu",
            progress=False,
        )


def measure(model: str, rounds: int, count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(Path(folder), model, count)
        subject.check()
        taken = [{name: _milliseconds(run, count) for name, run in subject.parts().items()} for _ in range(rounds)]
    shares = [(each["session"] + each["decode"] + each["encode"]) / each["whole"] for each in taken]
    medians = {name: statistics.median(each[name] for each in taken) for name in taken[0]}
    return {
        "question": f"{model}, {SIZE[0]}x{SIZE[1]}, H.264 in, a composite as H.264 out, on {CORES} cores",
        "milliseconds_a_frame": {name: round(value, 2) for name, value in medians.items()},
        "frames_a_second": {name: round(1000 / medians[name], 1) for name in ("session", "whole")},
        "share": round(statistics.median(shares), 3),
        "shares": [round(share, 3) for share in shares],
        "claim": CLAIM,
        "holds": statistics.median(shares) >= CLAIM,
        "rounds": rounds,
        "frames": count,
        "machine": machine.facts("cpu"),
    }


def _milliseconds(run: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1000 / count


def main() -> int:
    """Return the exit status: 0 the goal is reached, 1 it is not."""
    parser = argparse.ArgumentParser("python -m benchmarks.video.bench_pipeline")
    parser.add_argument("--model", default="rvm-mobilenetv3")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    trtmatte.set_num_threads(CORES)
    found = measure(options.model, options.rounds, options.frames)
    print(json.dumps(found, indent=2))
    return 0 if found["holds"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
