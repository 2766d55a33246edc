"""The catalogue of known models, which the families list."""

from __future__ import annotations

import difflib
from pathlib import Path

from trtmatte.compiler.families import registry
from trtmatte.errors import SettingError
from trtmatte.models.download import digest
from trtmatte.models.model import CATEGORIES, Model

__all__ = ["by_category", "find", "models", "of_file", "with_hash"]


def models() -> tuple[Model, ...]:
    """The known models of all families."""
    return tuple(model for family in registry.families() for model in family.models)


def by_category() -> list[Model]:
    """The known models in the order of the categories; within one, in that of the families."""
    return sorted(models(), key=lambda model: CATEGORIES.index(model.category))


def with_hash(digest: str) -> Model | None:
    """The known model whose file has this SHA-256, if there is one."""
    return next((model for model in models() if model.sha256 == digest), None)


def find(name: str) -> Model:
    """The model with this name, whose file has this name, or which another program calls so."""
    for model in models():
        if name in (model.name, model.file, *model.also):
            return model
    close = difflib.get_close_matches(name, [model.name for model in models()], n=3, cutoff=0.4)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    raise SettingError(f"no known model is called {name!r}; {meant}`trtmatte models` lists them all")


def of_file(path: Path, sha256: str) -> Model | None:
    """The known model whose file this is, whatever its name."""
    if (known := with_hash(sha256)) is not None:
        return known
    others = {model.md5: model for model in models() if model.sha256 is None and model.md5 is not None}
    return others.get(digest(path, "md5"))
