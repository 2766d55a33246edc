"""Folders in pieces of limited size: packed and split here, put together and checked there."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

_BLOCK = 1 << 20
_UNPACK = "import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.stdin.buffer), sys.stdout.buffer)"


class ArchiveError(Exception):
    """The pieces of an archive are not what was packed."""


@dataclass(frozen=True)
class Archive:
    """A packed folder: its name, and the number of its pieces and the SHA256 of all of them together."""

    name: str
    pieces: int
    sha256: str

    def paths(self, folder: Path) -> list[Path]:
        return [folder / f"{self.name}.tar.xz.{index:02}" for index in range(self.pieces)]


def pack(source: Path, name: str, out: Path, limit: int, level: str = "-6") -> Archive:
    """Pack a folder into pieces of at most `limit` bytes, each in a folder of its own: `out/<name>-0`, …"""
    digest = hashlib.sha256()
    count = 0
    with (
        subprocess.Popen(["tar", "-C", source, "-cf", "-", "."], stdout=subprocess.PIPE) as tar,
        subprocess.Popen(["xz", "-T0", level], stdin=tar.stdout, stdout=subprocess.PIPE) as packer,
    ):
        assert packer.stdout is not None
        for piece in _pieces(packer.stdout, limit):
            digest.update(piece)
            folder = out / f"{name}-{count}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / f"{name}.tar.xz.{count:02}").write_bytes(piece)
            count += 1
    if tar.returncode or packer.returncode:
        raise ArchiveError(f"{source}: tar ended with {tar.returncode}, xz with {packer.returncode}; expected 0")
    return Archive(name, count, digest.hexdigest())


def _pieces(stream: IO[bytes], limit: int) -> Iterator[bytes]:
    while piece := stream.read(limit):
        yield piece


def join(archive: Archive, pieces: Path, target: Path) -> None:
    """Put the pieces in a folder together as a new folder `target`: all of it or nothing."""
    paths = archive.paths(pieces)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise ArchiveError(f"of {archive.pieces} pieces of {archive.name}, bring these as well: {', '.join(missing)}")
    digest = hashlib.sha256()
    for block in _blocks(paths):
        digest.update(block)
    if digest.hexdigest() != archive.sha256:
        raise ArchiveError(
            f"the pieces of {archive.name} have the SHA256 {digest.hexdigest()}; expected {archive.sha256}: prepare "
            "and bring all of them again"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
        part = Path(scratch) / "part"
        _unpack(paths, part)
        part.rename(target)


def _unpack(paths: Sequence[Path], folder: Path) -> None:
    """With all processors where the program xz is there; it takes several times as long with Python's own."""
    xz = shutil.which("xz")
    command = [xz, "-dc", "-T0"] if xz else [sys.executable, "-c", _UNPACK]
    whole = folder.with_name("whole.tar.xz")
    with whole.open("wb") as file:
        for block in _blocks(paths):
            file.write(block)
    with whole.open("rb") as packed, subprocess.Popen(command, stdin=packed, stdout=subprocess.PIPE) as unpacker:
        with tarfile.open(fileobj=unpacker.stdout, mode="r|") as tar:
            tar.extractall(folder, filter="tar")
        assert unpacker.stdout is not None
        unpacker.stdout.read()
    if unpacker.returncode:
        raise ArchiveError(f"{whole.name} could not be unpacked: {command[0]} ended with {unpacker.returncode}")


def _blocks(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block


def write_list(archives: Sequence[Archive], path: Path) -> None:
    path.write_text(json.dumps([asdict(each) for each in archives], indent=1) + "\n")


def read_list(path: Path) -> list[Archive]:
    return [Archive(**each) for each in json.loads(path.read_text())] if path.is_file() else []
