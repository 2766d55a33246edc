"""A zip archive of a stranger: how much is read of it is bounded, and nothing of it is written anywhere."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Final

from trtmatte.compiler.weights.tensors import UnreadableError
from trtmatte.support.files import close_with
from trtmatte.support.text import shown

__all__ = ["Archive"]

_LARGEST_DIRECTORY: Final = 4 << 20  # bytes; the largest known network has 1,000 entries of 80 bytes
_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,  # an encrypted entry
    UnicodeDecodeError,
    ValueError,
)


class _File(io.FileIO):
    """A file that gives no more than `most` bytes at once, so that a directory of any size is not read."""

    most: int | None = _LARGEST_DIRECTORY

    def read(self, size: int | None = -1, /) -> bytes:
        if self.most is not None and size is not None and size > self.most:
            raise zipfile.BadZipFile(f"its directory has {size} bytes; expected at most {self.most}")
        return super().read(-1 if size is None else size) or b""


class Archive:
    """The entries of a zip file by name, without the folder that all names of PyTorch's archives begin with.

    The file closes with this object.
    """

    def __init__(self, path: Path, limit: int) -> None:
        """Open the file, whose entries may have `limit` bytes together. Raises `UnreadableError`."""
        try:
            file = _File(path)
            close_with(self, file)
            self._zip = zipfile.ZipFile(file)
            file.most = None
        except _ERRORS as error:
            raise UnreadableError(shown(error)) from error
        listed = self._zip.infolist()
        self._folder = listed[0].filename.partition("/")[0] + "/" if listed else ""
        self._entries = {entry.filename: entry for entry in listed}
        if len(self._entries) < len(listed):
            raise UnreadableError("two entries of the archive have the same name")
        self._check_sizes(limit)

    def _check_sizes(self, limit: int) -> None:
        for entry in self._entries.values():
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise UnreadableError(f"{shown(entry.filename)} is compressed in a way that PyTorch does not read")
            if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
                raise UnreadableError(f"{shown(entry.filename)} is stored with two sizes")
        total = sum(entry.file_size for entry in self._entries.values())
        if total > limit:
            raise UnreadableError(f"is an archive of {total} bytes; expected at most {limit}", whole=True)

    def __contains__(self, name: str) -> bool:
        return self._folder + name in self._entries

    def read(self, name: str) -> bytes:
        """The bytes of an entry, checked against their checksum. Raises `UnreadableError`."""
        try:
            return self._zip.read(self._entries[self._folder + name])
        except KeyError as error:
            raise UnreadableError(f"it has no entry {shown(name)}") from error
        except _ERRORS as error:
            raise UnreadableError(shown(error)) from error
