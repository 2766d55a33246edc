"""The memory that this process has, and the most that it may have."""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["give_back", "of_the_machine", "resident"]

_STATM: Final = Path("/proc/self/statm")
_OF_A_CONTAINER: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def resident() -> int:
    """The bytes of this process that are in memory; 0 where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def of_the_machine() -> int:
    """The bytes of memory that the machine has, or the container that this process is in."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for place in _OF_A_CONTAINER:
        with suppress(OSError, ValueError):  # there is none, or it has no limit ("max")
            found.append(int(place.read_text()))
    return min(found)


def give_back() -> None:
    """Return to the system what was freed: the C library keeps it otherwise."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library than that of GNU
        ctypes.CDLL(None).malloc_trim(0)
