"""The validator of programs: damaged JSON is refused, and what it accepts runs."""

from __future__ import annotations

import functools
import json
import random
import zlib

import numpy as np

from fuzz.json_changes import changed
from fuzz.tiny_engines import all_engines
from trtmatte.api import Engine
from trtmatte.errors import FrameError, TrtmatteError
from trtmatte.format.program import Program
from trtmatte.format.stages import PLATE

__all__ = ["attack", "mutate", "seeds"]

_ONE_SESSION_IN = 16
_SIZES = ((1, 1), (64, 40), (1920, 1080), (65536, 65536), (1 << 31, 4), (0, -1))


def seeds() -> list[bytes]:
    return [json.dumps(engine.program.to_json()).encode() for engine in all_engines()]


def mutate(data: bytes, random: random.Random) -> bytes:
    try:
        return json.dumps(changed(json.loads(data), random, random.choice((1, 1, 2, 4)))).encode()
    except (ValueError, RecursionError):
        return data


def attack(data: bytes) -> bool:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return False  # the archive's reader refuses it
    try:
        program = Program.from_json(found)
        assert Program.from_json(program.to_json()) == program
        for size in _SIZES:
            try:
                program.for_frame(*size)
            except FrameError:
                continue
        if zlib.crc32(data) % _ONE_SESSION_IN == 0:
            run(Engine.of(program, _networks(program)))
    except TrtmatteError:
        return False
    return True


def run(engine: Engine) -> None:
    """One frame through a session."""
    program = engine.program
    width, height = (min(side, 64) for side in program.size)
    frame = np.zeros((program.batch, height, width, 3), np.uint8)
    plate = frame if PLATE in program.pictures else None
    with engine.session(backend="onnxruntime", plate=plate) as session:
        matte = session(frame)
        assert len(matte) == len(session.outputs)


def _networks(program: Program) -> dict[str, bytes]:
    """The networks that fit a program, if any do."""
    for engine in all_engines():
        stages = engine.program.networks
        if [stage.inputs for stage in stages] == [stage.inputs for stage in program.networks]:
            return {own.name: _network(engine, stage.name) for own, stage in zip(program.networks, stages, strict=True)}
    return {stage.name: b"" for stage in program.networks}


@functools.cache
def _network(engine: Engine, name: str) -> bytes:
    return engine.network(name)
