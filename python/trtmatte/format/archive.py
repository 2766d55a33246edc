"""The zip archive around an engine's members: stored as they are, read with suspicion.

Members are not compressed and begin on pages. An archive that trtmatte cannot have written is refused. A member is read
when it is used, into memory of its own: what was checked stays as it is, whatever happens to the file. `format.file`
checks the members' hashes.
"""

from __future__ import annotations

import io
import json
import os
import re
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, cast

from trtmatte.errors import EngineError
from trtmatte.support.files import close_with, replacing

__all__ = ["BUILD_AGAIN", "Member", "begins_as_archive", "held", "read_archive", "write_archive"]

BUILD_AGAIN: Final = "build it again with trtmatte-build, or copy it again from where it comes from"

_MANIFEST: Final = "manifest.json"
_NAME_AT: Final = 30  # bytes from the beginning of a zip archive: the name of its first member
_LARGEST_MANIFEST: Final = 1 << 23
_LARGEST_DIRECTORY: Final = 1 << 20
_ALIGNMENT: Final = 4096  # a page: programs that map the file pass a plan on from there
_PADDING: Final = 0xD935  # the kind of a zip's extra field that readers skip
_ONE_AT_A_TIME: Final = threading.Lock()
_LOCAL_HEADER: Final = struct.Struct("<4s5H3I2H")


class Member(NamedTuple):
    """A file of an engine."""

    size: int
    read: Callable[[], bytes]
    """The content: from memory, or from the open file, in which it may have changed."""
    is_held: bool
    """It is in memory, and stays as it is."""


def held(data: bytes) -> Member:
    """A member in memory."""
    return Member(len(data), lambda: data, is_held=True)


def read_archive(path: Path, most_bytes: int | None = None) -> tuple[Any, dict[str, Member]]:
    """The parsed manifest of an engine file, and its other members. `most_bytes` limits the file."""
    file = _OpenFile(path)
    try:
        if most_bytes is not None and file.size > most_bytes:
            raise EngineError(
                f"it has {file.size} bytes; expected at most {most_bytes}: allow more (safe=Limits(file_bytes=…))"
            )
        members = dict(_members(file))
        return _parsed(members.pop(_MANIFEST, None)), members
    except EngineError as error:
        raise EngineError(f"{path} cannot be loaded: {error}") from error


def begins_as_archive(path: Path) -> bool:
    """Report if a file begins as `write_archive` writes it."""
    name = _MANIFEST.encode()
    try:
        with path.open("rb") as file:
            head = file.read(_NAME_AT + len(name))
    except (OSError, ValueError):
        return False
    return head.startswith(b"PK\3\4") and head.endswith(name)


def write_archive(path: Path, manifest: Mapping[str, Any], members: Iterable[tuple[str, bytes]]) -> None:
    """Writes an engine file under a temporary name and renames it. The same content gives the same bytes."""
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_MANIFEST), json.dumps(manifest, indent=1, ensure_ascii=False))
        for name, data in members:
            archive.writestr(_aligned(name, file.tell()), data)


# ---------------------------------------------------------------------------------------------------------------------
# Reading


class _OpenFile:
    """A file that stays open, so that another one of its name is never read in its place. It closes with its object."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = _Directory(path, opener=_open)
            close_with(self, self._file)
            state = os.fstat(self._file.fileno())
        except FileNotFoundError as error:
            raise EngineError(f"{path} does not exist; trtmatte-build MODEL -o {path.name} makes an engine") from error
        except (OSError, ValueError) as error:
            raise EngineError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
        if not stat.S_ISREG(state.st_mode):
            raise EngineError(f"{path} cannot be read: it is a folder, a pipe or a device; expected a file")
        self.size = state.st_size
        if not self.size:
            raise EngineError(f"{path} is empty (0 bytes): {BUILD_AGAIN}")

    def read(self, start: int, size: int, title: str) -> bytes:
        """A copy of a part of the file."""
        parts, missing = [], size
        try:
            while missing:
                parts.append(self._file.read_at(start + size - missing, missing))
                if not parts[-1]:
                    raise EngineError(f"{title} ends after the file does; the file is truncated: {BUILD_AGAIN}")
                missing -= len(parts[-1])
        except (OSError, MemoryError, OverflowError) as error:
            raise EngineError(
                f"{title}, {size} bytes, cannot be read: {error or 'there is no memory for it'}"
            ) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def entries(self) -> list[zipfile.ZipInfo]:
        """The files in the archive. They are read first, by one thread."""
        try:
            with zipfile.ZipFile(cast(IO[bytes], self._file)) as archive:
                return archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, OSError, struct.error) as error:
            if self.read(0, min(4, self.size), "its beginning") == b"PK\3\4":
                raise EngineError(f"it is truncated or damaged ({error}): {BUILD_AGAIN}") from error
            raise EngineError(
                "it is not an engine file, which is a zip archive; trtmatte-build makes engines"
            ) from error


class _Directory(io.FileIO):
    """A file whose zip directory is small: a large one would become millions of objects."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _LARGEST_DIRECTORY:
            raise EngineError(f"its directory has {size} bytes; expected at most {_LARGEST_DIRECTORY}: {BUILD_AGAIN}")
        return super().read(-1 if size is None else size) or b""

    def read_at(self, start: int, size: int) -> bytes:
        """Bytes from a place, perhaps fewer. Forks share the file's position, so it is not used where that can be."""
        if hasattr(os, "pread"):
            return os.pread(self.fileno(), size, start)
        with _ONE_AT_A_TIME:  # on Windows
            self.seek(start)
            return super().read(size) or b""


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # without it, a pipe would wait for a writer


def _members(file: _OpenFile) -> Iterator[tuple[str, Member]]:
    """The archive's files. Whatever no engine of ours has is refused."""
    seen: set[str] = set()
    for entry in file.entries():
        name = entry.orig_filename
        if _leaves_the_archive(name):
            raise EngineError(f"it has a member {name!r}, whose path leaves the archive; do not use this file")
        if name in seen:
            raise EngineError(f"it has two members called {name!r}; do not use this file")
        seen.add(name)
        yield name, _stored(file, entry)


def _leaves_the_archive(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    return ".." in parts or parts[0] == "" or ":" in name or "\\" in name or "\0" in name


def _stored(file: _OpenFile, entry: zipfile.ZipInfo) -> Member:
    """A member where it lies in the file."""
    name, start, size = entry.orig_filename, entry.header_offset, entry.file_size
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != size or entry.flag_bits & 1:
        raise EngineError(
            f"{name} is compressed or encrypted; an engine's members are stored as they are: {BUILD_AGAIN}"
        )
    encoded = name.encode(errors="replace")
    needed = _LOCAL_HEADER.size + len(encoded)
    header = file.read(start, needed, name) if 0 <= start <= file.size - needed else b""
    if header[:4] != b"PK\3\4":
        raise EngineError(f"{name} is not where the archive says; the file is truncated or damaged: {BUILD_AGAIN}")
    *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(header)
    if name_length != len(encoded) or header[_LOCAL_HEADER.size :] != encoded:
        raise EngineError(f"{name} has another name where it lies in the archive; do not use this file")
    start += needed + extra_length
    if start + size > file.size:
        raise EngineError(f"{name} ends after the file does; the file is truncated: {BUILD_AGAIN}")
    if name == _MANIFEST:  # the others have hashes in there
        return held(_manifest(file, start, entry))
    return Member(size, lambda: file.read(start, size, name), is_held=False)


def _manifest(file: _OpenFile, start: int, entry: zipfile.ZipInfo) -> bytes:
    if entry.file_size > _LARGEST_MANIFEST:
        raise EngineError(
            f"its manifest has {entry.file_size} bytes, expected at most {_LARGEST_MANIFEST}: {BUILD_AGAIN}"
        )
    content = file.read(start, entry.file_size, _MANIFEST)
    if zlib.crc32(content) != entry.CRC:
        raise EngineError(f"its manifest is damaged: {BUILD_AGAIN}")
    return content


def _parsed(manifest: Member | None) -> Any:
    if manifest is None:
        raise EngineError(f"it has no {_MANIFEST}; it is a zip archive, but not an engine")
    try:
        return json.loads(manifest.read())
    except (ValueError, RecursionError) as error:
        raise EngineError(f"its manifest is damaged ({error}): {BUILD_AGAIN}") from error


# ---------------------------------------------------------------------------------------------------------------------
# Writing


def _aligned(name: str, offset: int) -> zipfile.ZipInfo:
    """The member's entry, padded so that its data begin on a page."""
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o644 << 16
    padding = -(offset + _LOCAL_HEADER.size + len(name) + 4) % _ALIGNMENT
    info.extra = struct.pack("<HH", _PADDING, padding) + bytes(padding)
    return info
