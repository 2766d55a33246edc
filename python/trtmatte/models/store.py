"""The store of model files: downloaded once into the cache, checked against their hashes before every use."""

from __future__ import annotations

import os
from pathlib import Path

from trtmatte.errors import DownloadError, TrtmatteError
from trtmatte.models.download import md5, sha256
from trtmatte.models.model import FOLDER, Model, Source
from trtmatte.support import files
from trtmatte.support.cache_folder import private_folder

__all__ = ["pull"]


def pull(model: Model) -> Path:
    """The file of a known model, downloaded from the first of its sources that has it unless it is in the cache."""
    try:
        return _pulled(model)
    except TrtmatteError:
        raise
    except OSError as error:
        why = f"{model.path} cannot be kept: {error.strerror or error}"
        raise DownloadError(f"{why}; free some space, or set TRTMATTE_CACHE to another folder") from error


def _pulled(model: Model) -> Path:
    if _is_good(model):
        return model.path
    _refuse(model)
    private_folder(FOLDER)
    with files.alone(model.path.with_name(f"{model.file}.lock")):
        if not _is_good(model):
            _fetch(model)
    return model.path


def _is_good(model: Model) -> bool:
    """Report if the file is there and right.

    Without a known hash, a file put there by hand is accepted from a folder that nobody else can write.
    """
    if not model.is_here:
        return False
    if not model.sha256 and not model.md5:
        return private_folder(FOLDER) == model.path.parent
    return not _difference(model, model.path)


def _difference(model: Model, path: Path) -> str:
    """The hash of a file and the one that it should have; empty if it is right. The better hash decides."""
    name, expected, digest = ("sha256", model.sha256, sha256) if model.sha256 else ("md5", model.md5, md5)
    found = digest(path)
    return "" if found == expected else f"{name} {found}, expected {expected}"


def _refuse(model: Model) -> None:
    """Raise an error with the remedy if the model cannot be downloaded."""
    wrong = f"The file at {model.path} has another hash. " if model.is_here else ""
    if not model.sources:
        raise DownloadError(
            f"{model.name} is not downloaded automatically. {wrong}"
            f"Download {model.file} from {model.page}, then pass its path, or put it at {model.path}"
        )
    if os.environ.get("TRTMATTE_OFFLINE", "0") not in ("", "0"):
        raise DownloadError(
            f"{model.name} is not in the cache and TRTMATTE_OFFLINE is set. {wrong}"
            f"Unset it, or put {model.file} from {model.page} at {model.path}"
        )


def _fetch(model: Model) -> None:
    reasons = []
    for source in model.sources:
        try:
            _fetch_from(source, model)
            return
        except DownloadError as error:
            reasons.append(str(error))
    raise DownloadError(
        f"{model.name} could not be fetched: {'; '.join(reasons)}. "
        f"Check the network, or download {model.file} from {model.page} and put it at {model.path}"
    )


def _fetch_from(source: Source, model: Model) -> None:
    """Download under a temporary name, check, rename. A resumed file that is wrong is downloaded once more, whole."""
    part = model.path.with_name(f"{model.file}.part")
    resumed = part.exists()
    source.fetch(model, part)
    difference = _difference(model, part)
    if not difference:
        os.replace(part, model.path)
        return
    part.unlink()
    if resumed:
        _fetch_from(source, model)
        return
    raise DownloadError(f"{source} has another content than expected ({difference})")
