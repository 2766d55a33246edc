"""The same targets, with inputs that atheris guides by the code they reach: `pip install atheris`."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from pathlib import Path
from random import Random
from typing import Any, Final

__all__ = ["run"]

_FOREVER: Final = 1 << 31


def run(name: str, out: Path, *, tries: int | None, seconds: float | None, seed: int) -> int:
    """Attack until something is found, or after so many tries or seconds. Return 1 if something was found.

    What is reached grows a corpus in `out`/<target>/corpus, with which the next run begins.
    """
    process = multiprocessing.get_context("spawn").Process(target=_attack, args=(name, out, tries, seconds, seed))
    process.start()
    try:
        process.join()
    finally:
        process.kill()
    return 1 if process.exitcode else 0


def _attack(name: str, out: Path, tries: int | None, seconds: float | None, seed: int) -> None:
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        print("--coverage needs atheris: pip install atheris", file=sys.stderr)
        os._exit(2)
    with atheris.instrument_imports(include=["trtmatte"]):
        from fuzz.target import Target

        target = Target(name)
    corpus = out / target.name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.corpus):
        (corpus / f"seed-{number}").write_bytes(data)

    def mutated(data: bytes, longest: int, chance: int) -> bytes:
        """Libfuzzer's own changes, or ours, which keep a structure whole."""
        random = Random(chance)
        if random.random() < 0.3:
            return bytes(atheris.Mutate(data, longest))
        return target.again(data, random)[:longest]

    def attack(data: bytes) -> None:
        target.attack(data)

    options = [f"-runs={tries if tries is not None else _FOREVER}", f"-seed={seed + 1}", "-timeout=20"]
    options += [f"-max_total_time={int(seconds)}"] if seconds else []
    options += ["-rss_limit_mb=4096", f"-max_len={_longest(target)}", f"-artifact_prefix={out / target.name}/"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], attack, custom_mutator=mutated)
    atheris.Fuzz()


def _longest(target: Any) -> int:
    return 2 * max(map(len, target.corpus)) + 4096
