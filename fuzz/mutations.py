"""Small damage to bytes, as any format can have it."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

__all__ = ["mutate"]

_NUMBERS: Final = (0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 1000, 1024, 4095, 4096, 32767)
_EDGES: Final = tuple(edge + step for edge in (1 << 15, 1 << 16, 1 << 31, 1 << 32, 1 << 63) for step in (-1, 0, 1))
_LAYOUTS: Final = ("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")
_FLOATS: Final = (0.0, -0.0, 1.0, -1.0, 1e-45, 3.4e38, float("inf"), float("-inf"), float("nan"))
_MAGIC: Final = (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"\x80\4", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"\0" * 8)
_TEXTS: Final = (
    *("0", "-1", "1", "2147483647", "2147483648", "4294967296", "9223372036854775807", "1" * 400, "1e999", "-0.0"),
    *("0.5", "NaN", "Infinity", "null", "true", "[]", "{}", '""', '"../x"', '"\\u0000"', "[[[[[[[[]]]]]]]]"),
)
_NUMBER: Final = re.compile(rb"-?\d+(?:\.\d+)?")
_LONGEST: Final = 64
_LARGEST: Final = 1 << 20

Mutation = Callable[[bytes, Random, Sequence[bytes]], bytes]


def mutate(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Damage `data` once. `others` are inputs that parts are taken from."""
    return random.choice(_MUTATIONS)(data, random, others)[:_LARGEST]


def _flip(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    if changed:
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _set_bytes(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    return _over(data, random, random.randbytes(random.randint(1, 8)))


def _set_number(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    layout = random.choice(_LAYOUTS)
    number = random.choice(_NUMBERS + _EDGES) * random.choice((1, 1, 1, -1))
    return _over(data, random, struct.pack(layout, number % (1 << 8 * struct.calcsize(layout))))


def _set_float(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    return _over(data, random, struct.pack(random.choice(("<f", "<d")), random.choice(_FLOATS)))


def _set_magic(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    return _over(data, random, random.choice(_MAGIC))


def _insert(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    place = random.randint(0, len(data))
    return data[:place] + random.randbytes(random.randint(1, _LONGEST)) + data[place:]


def _delete(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    start, end = _part(data, random)
    return data[:start] + data[end:]


def _duplicate(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    start, end = _part(data, random)
    return data[:end] + data[start:end] * random.choice((1, 1, 2, 16)) + data[end:]


def _move(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    start, end = _part(data, random)
    return _over(data, random, data[start:end])


def _truncate(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    return data[: random.randint(0, len(data))]


def _splice(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    other = random.choice(others) if others else b""
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


def _set_text(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """Another value in place of a number in a text, such as JSON."""
    found = list(_NUMBER.finditer(data, *sorted(random.choices(range(len(data) + 1), k=2))))
    if not found:
        return _set_number(data, random, ())
    chosen = random.choice(found)
    return data[: chosen.start()] + random.choice(_TEXTS).encode() + data[chosen.end() :]


_MUTATIONS: Final[Sequence[Mutation]] = (
    *(_flip, _set_bytes, _set_number, _set_float, _set_magic, _insert),
    *(_delete, _duplicate, _move, _truncate, _splice, _set_text, _set_text),
)


def _over(data: bytes, random: Random, new: bytes) -> bytes:
    place = random.randint(0, max(0, len(data) - len(new)))
    return data[:place] + new + data[place + len(new) :]


def _part(data: bytes, random: Random) -> tuple[int, int]:
    start = random.randint(0, len(data))
    longest = random.choice((1, 4, 16, _LONGEST, len(data)))
    return start, min(len(data), start + random.randint(0, longest))
