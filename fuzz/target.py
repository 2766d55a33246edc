"""A target: its seeds, its inputs by their numbers, and the attack."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

from fuzz.mutations import mutate

__all__ = ["HOSTILE", "Target", "names"]

HOSTILE: Final = Path(__file__).parents[1] / "tests" / "hostile"
"""Inputs that were findings once, in a folder for each target."""

_MOST_CHANGES: Final = 8


class Target:
    """What a module of `fuzz.targets` attacks. A name with dots is that of another module."""

    def __init__(self, name: str) -> None:
        module = importlib.import_module(name if "." in name else f"fuzz.targets.{name}")
        self.name = name.rpartition(".")[2]
        self.about: str = (module.__doc__ or "").strip()
        self.attack: Callable[[bytes], bool] = module.attack
        self.seeds: list[bytes] = module.seeds()
        self.corpus: list[bytes] = [*self.seeds, *(path.read_bytes() for path in hostile(self.name))]
        self._mutate: Callable[[bytes, Random], bytes] | None = getattr(module, "mutate", None)

    def input(self, seed: int, number: int) -> bytes:
        """The input with this number, which depends on nothing else. The first ones are the corpus as it is."""
        if number < len(self.corpus):
            return self.corpus[number]
        return self.changed(Random(f"{self.name} {seed} {number}"))

    def changed(self, chance: Random) -> bytes:
        """A seed after changes that keep its structure, or an input of the corpus after damage, or both."""
        structured = self._mutate is not None and chance.random() < 0.75
        data = chance.choice(self.seeds if structured else self.corpus)
        changes = 1
        while changes < _MOST_CHANGES and chance.random() < 0.5:
            changes += 1
        for _ in range(changes):
            data = self.again(data, chance) if structured else mutate(data, chance, self.corpus)
        return mutate(data, chance, self.corpus) if structured and chance.random() < 0.1 else data

    def again(self, data: bytes, chance: Random) -> bytes:
        """One more change: of the structure where the target knows one, and as long as earlier changes left it."""
        if self._mutate is not None:
            with suppress(Exception):
                return self._mutate(data, chance)
        return mutate(data, chance, self.corpus)


def hostile(name: str) -> list[Path]:
    return sorted(path for path in (HOSTILE / name).glob("*") if path.is_file() and not path.name.startswith("."))


def names() -> list[str]:
    """The names of all targets."""
    return sorted(path.stem for path in (Path(__file__).parent / "targets").glob("*.py") if path.stem[0] != "_")
