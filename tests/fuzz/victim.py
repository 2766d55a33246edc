"""A program with every kind of fault, for the tests of the runner."""

from __future__ import annotations

import os
import time

from trtmatte.errors import ModelError

_kept: list[bytearray] = []


def seeds() -> list[bytes]:
    """Two that do no harm, and those of a test."""
    return [b"ok 1 2 3", b"no 4 5 6", *map(bytes.fromhex, os.environ.get("VICTIM_SEEDS", "").split())]


def attack(data: bytes) -> bool:
    """The first bytes choose what happens."""
    if data.startswith(b"!!A"):
        os.abort()
    if data.startswith(b"!!H"):
        time.sleep(3600)
    if data.startswith(b"!!E"):
        raise KeyError("not ours")
    if data.startswith(b"!!W"):
        raise AssertionError("accepted what is wrong")
    if data.startswith(b"!!M"):
        _kept.append(bytearray(b"x" * (64 << 20)))
        time.sleep(1)
    if data.startswith(b"!!X"):
        raise SystemExit(3)
    try:
        if data.startswith(b"no"):
            raise ModelError("refused")
    except ModelError:
        return False
    return True
