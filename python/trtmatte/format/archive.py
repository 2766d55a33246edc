"""The zip archive around an engine's members: stored as they are, mapped, read with suspicion.

Members are not compressed and begin on pages, so that networks and plans are mapped and not copied. An archive that
trtmatte cannot have written is refused. `format.file` checks the members' hashes.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, cast

from trtmatte.errors import EngineError
from trtmatte.support.files import replacing

__all__ = ["BUILD_AGAIN", "read_archive", "write_archive"]

BUILD_AGAIN: Final = "build it again with trtmatte-build --force, or copy it again from where it comes from"

_MANIFEST: Final = "manifest.json"
_LARGEST_MANIFEST: Final = 1 << 26
_ALIGNMENT: Final = 4096  # a page: a plan can be passed on from where it is mapped
_PADDING: Final = 0xD935  # the kind of a zip's extra field that readers skip
_LOCAL_HEADER: Final = struct.Struct("<4s5H3I2H")


def read_archive(path: Path) -> tuple[Any, dict[str, memoryview]]:
    """The parsed manifest of an engine file, and its other members, mapped."""
    data = _mapped(path)
    try:
        members = dict(_members(data))
        return _parsed(members.pop(_MANIFEST, None)), members
    except EngineError as error:
        raise EngineError(f"{path} cannot be loaded: {error}") from error


def write_archive(path: Path, manifest: Mapping[str, Any], members: Mapping[str, memoryview]) -> None:
    """Writes an engine file under a temporary name and renames it. The same content gives the same bytes."""
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_MANIFEST), json.dumps(manifest, indent=1, ensure_ascii=False))
        for name, data in members.items():
            archive.writestr(_aligned(name, file.tell()), data)


# ---------------------------------------------------------------------------------------------------------------------
# Reading


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise EngineError(f"{path} is empty (0 bytes): {BUILD_AGAIN}")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise EngineError(f"{path} does not exist; trtmatte-build MODEL -o {path.name} makes an engine") from error
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror or error}") from error


def _members(file: mmap.mmap) -> Iterator[tuple[str, memoryview]]:
    """The archive's files as parts of what is mapped. Whatever no engine of ours has is refused."""
    seen: set[str] = set()
    data = memoryview(file)
    for entry in _entries(file):
        name = entry.orig_filename
        if _leaves_the_archive(name):
            raise EngineError(f"it has a member {name!r}, whose path leaves the archive; do not use this file")
        if name in seen:
            raise EngineError(f"it has two members called {name!r}; do not use this file")
        seen.add(name)
        yield name, _stored(data, entry)


def _entries(file: mmap.mmap) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(cast(IO[bytes], file)) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, OSError, struct.error) as error:
        if file[:4] == b"PK\3\4":
            raise EngineError(f"it is truncated or damaged ({error}): {BUILD_AGAIN}") from error
        raise EngineError("it is not an engine file, which is a zip archive; trtmatte-build makes engines") from error


def _leaves_the_archive(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    return ".." in parts or parts[0] == "" or ":" in name or "\\" in name or "\0" in name


def _stored(data: memoryview, entry: zipfile.ZipInfo) -> memoryview:
    """The bytes of a member where they lie in the file."""
    name = entry.orig_filename
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
        raise EngineError(
            f"{name} is compressed or encrypted; an engine's members are stored as they are: {BUILD_AGAIN}"
        )
    start = entry.header_offset
    header = bytes(data[start : start + _LOCAL_HEADER.size]) if start >= 0 else b""
    if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\3\4":
        raise EngineError(f"{name} is not where the archive says; the file is truncated or damaged: {BUILD_AGAIN}")
    *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    start += _LOCAL_HEADER.size
    if bytes(data[start : start + name_length]) != name.encode():
        raise EngineError(f"{name} has another name where it lies in the archive; do not use this file")
    start += name_length + extra_length
    if start + entry.file_size > len(data):
        raise EngineError(f"{name} ends after the file does; the file is truncated: {BUILD_AGAIN}")
    member = data[start : start + entry.file_size]
    if name == _MANIFEST and zlib.crc32(member) != entry.CRC:  # the others have hashes in there
        raise EngineError(f"its manifest is damaged: {BUILD_AGAIN}")
    return member


def _parsed(manifest: memoryview | None) -> Any:
    if manifest is None:
        raise EngineError(f"it has no {_MANIFEST}; it is a zip archive, but not an engine")
    if manifest.nbytes > _LARGEST_MANIFEST:
        raise EngineError(
            f"its manifest has {manifest.nbytes} bytes, expected at most {_LARGEST_MANIFEST}: {BUILD_AGAIN}"
        )
    try:
        return json.loads(bytes(manifest))
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
