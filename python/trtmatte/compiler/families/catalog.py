"""The catalogue of known models, which the families list."""

from __future__ import annotations

import difflib

from trtmatte.compiler.families import registry
from trtmatte.errors import SettingError
from trtmatte.models.model import CATEGORIES, Model

__all__ = ["by_category", "find", "models", "with_hash"]


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
    """The model with this name, or whose file has this name."""
    for model in models():
        if name in (model.name, model.file, *model.also):
            return model
    close = difflib.get_close_matches(name, [model.name for model in models()], n=3, cutoff=0.4)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    raise SettingError(f"no known model is called {name!r}; {meant}`trtmatte models` lists them all")
