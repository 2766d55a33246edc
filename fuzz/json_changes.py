"""Random changes of JSON values that keep them JSON: what a checksum or a parser would let through."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

__all__ = ["changed"]

_HOSTILE = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    1 << 14,
    1 << 16,
    1 << 31,
    (1 << 31) - 1,
    1 << 32,
    1 << 63,
    10**400,
    0.5,
    1e308,
    1e-320,
    float("nan"),
    float("inf"),
    "",
    "frame",
    "plate",
    "background",
    "patches",
    "network-0",
    "fgr",
    "\x1b]0;title\x07",
    "\ud800",
    "../../x",
    "x" * 5000,
    [],
    {},
    [[]],
    [1, 1],
    ["patches", 3],
)


def changed(value: Any, random: random.Random, changes: int) -> Any:
    """The value with this many random changes, in place."""
    for _ in range(changes):
        places = list(_places(value))
        if not places:
            return random.choice(_HOSTILE)
        _change(*random.choice(places), places, random)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every list or object with each of its keys."""
    rest = [value]
    while rest:
        each = rest.pop()
        keys = each if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
        for key in keys:
            yield each, key
            rest.append(each[key])


def _change(holder: Any, key: Any, places: list[tuple[Any, Any]], random: random.Random) -> None:
    value, kind = holder[key], random.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        other, its_key = random.choice(places)
        holder[key] = copy.deepcopy(
            other.get(its_key) if isinstance(other, dict) else other[min(its_key, len(other) - 1)]
        )
    elif kind == 2 and isinstance(holder, list):
        holder.insert(random.randrange(len(holder) + 1), copy.deepcopy(value))
    elif kind == 3 and isinstance(holder, dict):
        holder[str(random.choice(_HOSTILE))[:20]] = holder.pop(key)
    elif kind == 4 and isinstance(value, list):
        random.shuffle(value)
    elif kind == 5 and type(value) in (int, float):
        holder[key] = value + random.choice((-1, 1, 0.5, value, -2 * value))
    elif kind == 6:
        for _ in range(random.choice((10, 40, 1200))):
            value = [value]
        holder[key] = value
    else:
        holder[key] = copy.deepcopy(random.choice(_HOSTILE))
