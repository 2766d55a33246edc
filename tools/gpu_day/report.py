"""How the steps of a piece went: a JSON file that is complete after each of them, so that a hard stop loses nothing."""

from __future__ import annotations

import json
import os
import re
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

OK: Final = "ok"
FAILED: Final = "failed"
TIMEOUT: Final = "timeout"
NOT_RUN: Final = "not run"  # no time was left
NO_DEVICE: Final = "no device"  # in a rehearsal: all went well up to the point where a device is needed

_PARTS: Final = "GPU_DAY_PARTS"  # the file to which a step reports its parts
_LONGEST: Final = 600


@dataclass(frozen=True)
class Result:
    """How a step, or a part of one, went."""

    name: str
    status: str
    seconds: float
    numbers: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""


def part(name: str, work: Callable[[], Mapping[str, Any]]) -> bool:
    """Do a part of a step, and report what it returns or raises. Returns if it went well."""
    began = time.monotonic()
    try:
        result = Result(name, OK, _since(began), dict(work()))
    except Exception as error:
        traceback.print_exc()
        result = Result(name, FAILED, _since(began), {}, shortened(f"{type(error).__name__}: {error}"))
    print(f"{result.status}: {name} {dict(result.numbers) or ''} {result.message}", flush=True)
    if path := os.environ.get(_PARTS):
        with Path(path).open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")
    return result.status == OK


def parts_environment(path: Path) -> dict[str, str]:
    """The environment in which a step reports its parts to this file."""
    return {_PARTS: str(path)}


def parts(path: Path) -> list[Result]:
    """The parts that have been reported so far."""
    if not path.is_file():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [Result(**json.loads(line)) for line in lines if line.endswith("\n")]


def shortened(text: str) -> str:
    """A message for a report: one line, not too long, without the name of the host and the folder of the checkout."""
    text = re.sub(r"hostname=\S+ ;? ?", "", " ".join(text.split())).replace(f"{Path.cwd()}/", "")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"


class Report:
    """The JSON file of one piece."""

    def __init__(self, path: Path, **about: Any) -> None:
        self._path, self._about = path, about
        self._done: list[Result] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self.write()

    def describe(self, **about: Any) -> None:
        self._about |= about
        self.write()

    def add(self, *results: Result) -> None:
        self._done += results
        self.write()

    def write(self, *unfinished: Result) -> None:
        """Write all steps, and those parts of a step that is still running."""
        content = {**self._about, "steps": [asdict(each) for each in (*self._done, *unfinished)]}
        written = self._path.with_suffix(".part")
        written.write_text(json.dumps(content, indent=1, default=str) + "\n")
        written.replace(self._path)

    @property
    def failed(self) -> list[str]:
        return [each.name for each in self._done if each.status not in (OK, NO_DEVICE)]


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)
