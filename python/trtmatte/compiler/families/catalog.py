"""The catalogue of known models, which the families list."""

from __future__ import annotations

import difflib
from pathlib import Path

from trtmatte.compiler.families import registry
from trtmatte.errors import SettingError
from trtmatte.models.download import md5
from trtmatte.models.model import Model

__all__ = ["find", "models", "of_file"]


def models() -> tuple[Model, ...]:
    """The known models of all families."""
    return tuple(model for family in registry.families() for model in family.models)


def find(name: str) -> Model:
    """The model with this name, whose file has this name, or which another program calls so."""
    for model in models():
        if name in model.names:
            return model
    close = difflib.get_close_matches(name, [model.name for model in models()], n=3, cutoff=0.4)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    raise SettingError(f"no known model is called {name!r}; {meant}`trtmatte models` lists them all")


def of_file(path: Path, sha256: str) -> Model | None:
    """The known model whose file this is, whatever its name, if it needs settings that the file does not show."""
    known = [model for model in models() if model.settings]
    for model in known:
        if sha256 == model.sha256:
            return model
    others = {model.md5: model for model in known if model.sha256 is None and model.md5 is not None}
    return others.get(md5(path)) if others else None
