"""Keep one GPU architecture's machine code in a shared library, so that it compresses to a fraction.

    python -m tools.gpu_day.slim LIBRARY OUT 90

CUDA's machine code lies in *fat binaries* in the section `.nv_fatbin`: a header, then an entry for each architecture. A
fat binary that has entries for the architecture keeps only those: they move to its front, its header says how long they
are, and the rest becomes zero. One without any stays whole, since a driver may compile its PTX. Nothing else moves.
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_MAGIC: Final = 0xBA55ED50
_HEADER: Final = struct.Struct("<IHHQ")  # magic, version, size of the header, size of the entries
_ENTRY: Final = struct.Struct("<HHIQ")  # kind, version, size of the entry's header, size of its content
_ENTRY_HEADER: Final = 64  # the smallest
_ARCHITECTURE: Final = 28  # offset in an entry's header
_CUBIN: Final = 2  # the kind of machine code; 1 is PTX


class SlimError(Exception):
    """A file is not a shared library with fat binaries of the known form."""


class Slimmed(NamedTuple):
    """How many fat binaries there were, how many of them stayed whole, and bytes of machine code before and after."""

    binaries: int
    whole: int
    before: int
    after: int


def slim(library: bytes, architecture: int) -> tuple[bytes, Slimmed]:
    """The library with the machine code of one architecture, as in 90 for sm_90."""
    data = bytearray(library)
    binaries = whole = before = after = 0
    for start, end in _sections(library, b".nv_fatbin"):
        for at, header, size in _fat_binaries(library, start, end):
            first, stop = at + header, at + header + size
            entries = _entries(library, first, stop)
            kept = b"".join(entry for kind, found, entry in entries if (kind, found) == (_CUBIN, architecture))
            binaries += 1
            before += size
            after += len(kept) or size
            if not kept:
                whole += 1
                continue
            data[first:stop] = kept.ljust(size, b"\0")
            struct.pack_into("<Q", data, at + 8, len(kept))
    if not binaries:
        raise SlimError("there is no fat binary in it; expected a shared library with CUDA's machine code")
    return bytes(data), Slimmed(binaries, whole, before, after)


def _sections(data: bytes, wanted: bytes) -> Iterator[tuple[int, int]]:
    """Where the ELF sections of this name begin and end."""
    if data[:5] != b"\x7fELF\x02":
        raise SlimError("it is no 64-bit ELF file")
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", data, table + index * size) for index in range(count)]
    first = headers[names][4]
    for name, _, _, _, offset, length in headers:
        if data[first + name : data.index(b"\0", first + name)] == wanted:
            yield offset, offset + length


def _fat_binaries(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Where each begins, the size of its header and that of its entries. There may be padding between them."""
    at = start
    while at + _HEADER.size <= end:
        magic, _, header, size = _HEADER.unpack_from(data, at)
        if magic != _MAGIC:
            at += 8
            continue
        if at + header + size > end:
            raise SlimError(f"the fat binary at {at:#x} is longer than its section")
        yield at, header, size
        at += header + size


def _entries(data: bytes, at: int, stop: int) -> Iterator[tuple[int, int, bytes]]:
    """The kind, the architecture and the bytes of each entry."""
    while at + _ENTRY_HEADER <= stop:
        kind, _, header, size = _ENTRY.unpack_from(data, at)
        (architecture,) = struct.unpack_from("<I", data, at + _ARCHITECTURE)
        yield kind, architecture, data[at : at + header + size]
        at += header + size
    if at != stop:
        raise SlimError(f"the entries of a fat binary end at {at:#x}; expected {stop:#x}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Keep one GPU architecture's machine code in a shared library.")
    parser.add_argument("library", type=Path, help="the shared library")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("architecture", type=int, help="as in 90 for sm_90")
    arguments = parser.parse_args()
    data, found = slim(arguments.library.read_bytes(), arguments.architecture)
    arguments.out.write_bytes(data)
    print(
        f"{found.binaries} fat binaries, {found.whole} of them without sm_{arguments.architecture} and left whole: "
        f"{found.before / 1e6:.0f} MB of code became {found.after / 1e6:.0f} MB"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
