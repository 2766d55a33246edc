"""Frames and other arrays: every protocol, told truly and not, given to every op and to a session."""

from __future__ import annotations

import functools
from random import Random
from typing import Any, Final

import numpy as np

from fuzz.targets._strange import RECORD, Arena, Dlpack, make
from tests.runtime.session import engines
from trtmatte import TrtmatteError, ops

_HEAD: Final = 16
_MOST_ARRAYS: Final = 9
_HEIGHT, _WIDTH, _SMALL = engines.HEIGHT, engines.WIDTH, (3, 5)
_NUMBERS: Final = (0, -1, 1, 4, 65536, 2**31 - 1, 2**31, 2**40)


def _picture(channels: int = 3) -> np.ndarray[Any, Any]:
    return np.full((_HEIGHT, _WIDTH, channels), 99, np.uint8)


def _maps(channels: int, *size: int, images: int = 1) -> np.ndarray[Any, Any]:
    return np.full((images, channels, *(size or _SMALL)), 0.5, np.float32)


class Call:
    """One call: the arrays that its bytes stand for, and what became of their memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data.ljust(_HEAD + RECORD * _MOST_ARRAYS, b"\0")
        self._arenas: list[Arena] = []
        self._given: list[Any] = []

    def option(self, number: int, *choices: Any) -> Any:
        """One of these; the first one for a zero."""
        return choices[self._data[number] % len(choices)]

    def array(self, values: np.ndarray[Any, Any], *, written: bool = False) -> Any:
        start = _HEAD + RECORD * len(self._arenas)
        record = self._data[start : start + RECORD]
        self._arenas.append(Arena(values, written=written))
        self._given.append(make(record, self._arenas[-1]))
        if record[11] % 16 == 1 and len(self._given) > 1:  # the memory of the array before it
            self._given[-1] = self._given[-2]
        return self._given[-1]

    def matte(self) -> dict[str, Any]:
        """The arrays and settings of an op that writes a matte."""
        color, layout = self.option(2, "rgb", "bgr", "x"), self.option(3, "HWC", "CHW", "")
        outputs = self.option(4, ("fgr", "pha"), ("rgba",), ("composite", "pha"), ("fgr",), ("pha", "pha"), ("other",))
        channels = {"fgr": 3, "pha": 1, "rgba": 4, "composite": 3}
        background = self.array(np.full((1, 1, 3), 0.5, np.float32)) if "composite" in outputs else None
        out = {name: self.array(_picture(channels.get(name, 3)), written=True) for name in outputs}
        return {"color": color, "layout": layout, "outputs": outputs, "background": background, "out": out}

    def check(self) -> None:
        for arena in self._arenas:
            arena.check()
        for given in self._given:
            if isinstance(given, Dlpack):
                given.check(reads=16)


def _foreground_estimate(call: Call) -> None:
    out = call.array(_maps(6, 128, 128), written=True)
    alpha = call.array(_maps(call.option(3, 1, 4, 2)))
    ops.foreground_estimate(call.array(_picture()), alpha, color=call.option(2, "rgb", "bgr", "x"), out=out)


def _frame_sample(call: Call) -> None:
    frame, out = call.array(_picture()), call.array(_maps(3, 6, 8), written=True)
    height = call.option(3, 6, *_NUMBERS)
    ops.frame_sample(frame, height, 8, color=call.option(2, "rgb", "bgr", "x"), out=out)


def _guided_upsample(call: Call) -> None:
    ops.guided_upsample(call.array(_picture()), call.array(_maps(4)), call.array(_maps(4)), **call.matte())


def _matte_upsample(call: Call) -> None:
    colours = call.option(3, None, call.array(_maps(6, 4, 5)))
    ops.matte_upsample(call.array(_picture()), call.array(_maps(1)), colours, **call.matte())


def _patch_select(call: Call) -> None:
    indices = call.array(np.zeros((8, 3), np.int32), written=True)
    count = call.array(np.zeros(1, np.int32), written=True)
    ref = call.array(_maps(1, 6, 8), written=True)
    err = call.array(_maps(1))
    rows, columns, k = call.option(3, 6, *_NUMBERS), call.option(4, 8, *_NUMBERS), call.option(5, 4, *_NUMBERS)
    mode, threshold = call.option(6, "sampling", "thresholding", "x"), call.option(7, 0.1, float("nan"), -1e30)
    settings = {"mode": mode, "k": k, "threshold": threshold, "indices": indices, "count": count, "ref": ref}
    if all(each is not None for each in (indices, count, ref)) and max(map(abs, (rows, columns, k))) < 2**31:
        ops.patch_select(err, rows, columns, **settings)


def _patch_crop(call: Call) -> None:
    src, bgr, maps = call.array(_picture()), call.array(_picture()), call.array(_maps(5))
    indices = call.array(np.array([[0, 0, 0], [0, 5, 7], [-1, -1, -1], [2**31 - 1] * 3], np.int32))
    half = call.array(_maps(11, 8, 8, images=4), written=True)
    full = call.array(_maps(6, 8, 8, images=4), written=True)
    ops.patch_crop(maps, src, bgr, indices, kernel=call.option(3, 3, 1, 2), half=half, full=full)


def _patch_scatter(call: Call) -> None:
    indices = call.array(np.array([[0, 0, 0], [0, 5, 7], [-1, -1, -1], [2**31 - 1] * 3], np.int32))
    coarse, patches = call.array(_maps(4)), call.array(_maps(4, 4, 4, images=4))
    ops.patch_scatter(coarse, patches, indices, call.array(_picture()), **call.matte())


@functools.cache
def _open_session(outputs: tuple[str, ...]) -> Any:
    return engines.memory(with_plate=True).session(backend="onnxruntime", outputs=outputs)


def _run_session(call: Call) -> None:
    outputs = call.option(4, ("fgr", "pha"), ("composite", "pha"), ("rgba", "alpha"))
    channels = {"fgr": 3, "pha": 1, "rgba": 4, "composite": 3}
    session = _open_session(outputs)
    frame, plate = call.array(_picture()), call.array(_picture())
    background = call.array(_picture()) if "composite" in outputs else call.option(6, None, (0, 0, 0))
    out = None
    if call.option(5, True, False):
        small = _maps(1, _HEIGHT // 2, _WIDTH // 2)
        out = {
            name: call.array(_picture(channels[name]) if name in channels else small, written=True) for name in outputs
        }
    before = session.stats().frames if call.option(7, False, True) else None
    try:
        session(frame, plate, background=background, out=out)
    except TrtmatteError:
        if before is not None and session.stats().frames != before:
            raise AssertionError("a frame counted that was refused") from None
        raise


_CALLS: Final = (
    _frame_sample,
    _guided_upsample,
    _matte_upsample,
    _patch_select,
    _patch_crop,
    _patch_scatter,
    _run_session,
    _foreground_estimate,  # new ones at the end: the files of tests/hostile say which by number
)


def seeds() -> list[bytes]:
    """Right calls of each kind."""
    return [
        bytes([number, 0, 0, 0, outputs]).ljust(_HEAD, b"\0") for number in range(len(_CALLS)) for outputs in (0, 2)
    ]


def mutate(data: bytes, random: Random) -> bytes:
    """Another kind of one array, or another option."""
    changed = bytearray(data.ljust(_HEAD + RECORD * _MOST_ARRAYS, b"\0"))
    if random.random() < 0.3:
        changed[random.randrange(2, _HEAD)] = random.randrange(256)
        return bytes(changed)
    start = _HEAD + RECORD * random.randrange(_MOST_ARRAYS)
    changed[start : start + RECORD - 1] = random.randbytes(RECORD - 1)
    return bytes(changed)


def attack(data: bytes) -> bool:
    call = Call(data)
    try:
        _CALLS[call.option(0, *range(len(_CALLS)))](call)
    except TrtmatteError:
        return False
    finally:
        call.check()
    return True
