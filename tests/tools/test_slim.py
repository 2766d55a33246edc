"""One architecture's machine code is kept: on a small library made up of fat binaries."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tools.gpu_day import slim
from tools.gpu_day.slim import SlimError

PTX, CUBIN = 1, 2


def entry(kind: int, architecture: int, content: bytes) -> bytes:
    """An entry of a fat binary: a header of 64 bytes, and the code."""
    header = struct.pack("<HHIQ", kind, 1, 64, len(content)).ljust(28, b"\0") + struct.pack("<I", architecture)
    return header.ljust(64, b"\0") + content


def fat_binary(*entries: bytes) -> bytes:
    body = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def library(*sections: tuple[bytes, bytes]) -> bytes:
    """An ELF file with these sections, by name."""
    names = b"\0" + b"".join(name + b"\0" for name, _ in sections) + b".shstrtab\0"
    contents = [content for _, content in sections] + [names]
    data, headers = bytearray(64), [bytes(64)]
    for name, content in [*sections, (b".shstrtab", names)]:
        headers.append(
            struct.pack("<IIQQQQ", names.index(name + b"\0"), 1, 0, 0, len(data), len(content)).ljust(64, b"\0")
        )
        data += content
    struct.pack_into("<5s", data, 0, b"\x7fELF\x02")
    struct.pack_into("<Q", data, 0x28, len(data))
    struct.pack_into("<HHH", data, 0x3A, 64, len(contents) + 1, len(contents))
    return bytes(data + b"".join(headers))


OLD, NEW = entry(CUBIN, 75, b"seventy-five" * 4), entry(CUBIN, 90, b"ninety" * 4)
SECOND, LATER = entry(CUBIN, 90, b"the second" * 2), entry(PTX, 90, b"for later devices" * 2)
BOTH = fat_binary(OLD, NEW, LATER, SECOND)
OTHER = fat_binary(OLD, LATER)
LIBRARY = library((b".text", b"code of the processor"), (b".nv_fatbin", BOTH + bytes(16) + OTHER), (b".data", b"data"))


def test_entries_of_the_architecture_move_to_the_front() -> None:
    found, numbers = slim.slim(LIBRARY, 90)
    kept = NEW + SECOND
    at = LIBRARY.index(BOTH)
    assert found[at : at + 16] == struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(kept))
    assert found[at + 16 : at + len(BOTH)] == kept.ljust(len(BOTH) - 16, b"\0")
    assert numbers == (2, 1, len(BOTH) + len(OTHER) - 32, len(kept) + len(OTHER) - 16)


def test_everything_else_stays_where_it_is() -> None:
    found, _ = slim.slim(LIBRARY, 90)
    at = LIBRARY.index(BOTH)
    assert found[:at] == LIBRARY[:at]
    assert found[at + len(BOTH) :] == LIBRARY[at + len(BOTH) :], "the other has none, and a driver may compile its PTX"


def test_a_slimmed_library_can_be_slimmed_again() -> None:
    once, _ = slim.slim(LIBRARY, 90)
    assert slim.slim(once, 90)[0] == once


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"#!/bin/sh", "no 64-bit ELF file"),
        (library((b".text", b"code")), "no fat binary"),
        (library((b".nv_fatbin", BOTH[:-8])), "longer than its section"),
        (library((b".nv_fatbin", fat_binary(OLD, NEW + bytes(8)))), "expected 0x"),
    ],
)
def test_what_is_not_understood_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(SlimError, match=reason):
        slim.slim(data, 90)


def test_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.so").write_bytes(LIBRARY)
    monkeypatch.setattr("sys.argv", ["slim", str(tmp_path / "in.so"), str(tmp_path / "out.so"), "75"])
    assert slim.main() == 0
    assert (tmp_path / "out.so").read_bytes() == slim.slim(LIBRARY, 75)[0]
    assert "2 fat binaries, 0 of them without sm_75" in capsys.readouterr().out
