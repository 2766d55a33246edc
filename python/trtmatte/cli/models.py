"""`trtmatte models`: list the known models, and download them."""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from trtmatte.cli import values
from trtmatte.cli.arguments import described
from trtmatte.cli.process import log, tell
from trtmatte.compiler.families import catalog
from trtmatte.models import store
from trtmatte.models.model import CATEGORIES, Model

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_COLUMNS: Final = ("name", "size", "licence", "state")
_ADVICE: Final = "take it for"
_NARROWEST: Final = 48  # letters of the column of advice; where fewer are left, it is below the others
_BELOW: Final = 4  # spaces before it there
_ENDLESS: Final = 1 << 16  # letters of a line where there is no terminal
_MARK: Final = "*"  # of a licence that forbids commercial use
_ONLINE: Final = "online"
_BY_HAND: Final = "by hand"


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("models", **described("list or download the known models"))
    parser.set_defaults(run=run, action="list", category=None, long=False, json=False)
    actions = parser.add_subparsers(dest="action", metavar="list | pull")
    listing = actions.add_parser("list", **described("list the known models (the default)"))
    for each in (parser, listing):
        _add_flags(each)
    pulling = actions.add_parser("pull", **described("download models into the cache and print their paths"))
    pulling.add_argument("names", nargs="+", type=values.name, metavar="NAME", help="the name of a known model")


def _add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the list. They have no defaults, which would replace what stands before `list`."""
    default = argparse.SUPPRESS
    parser.add_argument("--category", choices=CATEGORIES, default=default, help="list the models for these subjects")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--long", action="store_true", default=default, help="show families, hashes, paths and addresses as well"
    )
    form.add_argument("--json", action="store_true", default=default, help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 done, 1 a download failed, 2 no such model."""
    log("trtmatte models")
    if args.action == "pull":
        for model in [catalog.find(each) for each in args.names]:
            tell(str(store.pull(model)))
        return 0
    models = [model for model in catalog.by_category() if args.category in (None, model.category)]
    if args.json:
        tell(json.dumps([_facts(model) for model in models], indent=2))
    else:
        tell("\n\n".join(map(_details, models)) if args.long else "\n".join(_table(models)))
    return 0


def _table(models: Sequence[Model]) -> Iterator[str]:
    """Return the lines of a table by category, in the width of the terminal; without one, a line for each model."""
    rows = [(f"  {model.name}", _size(model), _licence(model), _state(model)) for model in models]
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    left = sum(width + 2 for width in widths)
    terminal = shutil.get_terminal_size((_ENDLESS, 0)).columns
    is_beside = terminal - left >= _NARROWEST
    indent = left if is_beside else _BELOW

    def lines(row: Sequence[str], advice: str) -> str:
        cells = "".join(f"{cell:{width}}  " for cell, width in zip(row, widths, strict=True)).rstrip()
        text = textwrap.wrap(advice, max(terminal - indent, _NARROWEST))
        if text and is_beside:
            cells = f"{cells:{left}}{text.pop(0)}"
        return "\n".join([cells, *(" " * indent + each for each in text)])

    yield lines(_COLUMNS, _ADVICE if is_beside else "")
    category = ""
    for model, row in zip(models, rows, strict=True):
        if model.category != category:
            yield (category := model.category)
        yield lines(row, model.advice)
    for note in _notes(models):
        yield f"\n{textwrap.fill(note, max(terminal, _NARROWEST))}"


def _notes(models: Sequence[Model]) -> Iterator[str]:
    """Return what the states and the mark mean."""
    states = {_state(model) for model in models}
    if _ONLINE in states:
        yield "Models that are online are downloaded at their first use, or by `trtmatte models pull NAME`."
    if _BY_HAND in states:
        yield "`trtmatte models --long` has the addresses of those that are downloaded by hand."
    if not all(model.commercial for model in models):
        yield f"{_MARK} The licence forbids commercial use."


def _size(model: Model) -> str:
    return f"{model.size / 1e6:.1f} MB" if model.size else "?"


def _licence(model: Model) -> str:
    return model.licence if model.commercial else f"{model.licence} {_MARK}"


def _state(model: Model) -> str:
    return "here" if model.is_here else _ONLINE if model.sources else _BY_HAND


def _details(model: Model) -> str:
    kind, value = model.hash or ("sha256", "not known")
    lines = [
        f"{model.name}: {model.file}, {_size(model)}, {_licence_in_words(model)}",
        f"  for     {model.category}: {model.advice}",
        *([f"  also    {', '.join(model.also)}"] if model.also else []),
        f"  family  {model.family}",
        f"  {kind:6}  {value}",
        f"  place   {model.path}{'' if model.is_here else ' (not here yet)'}",
        *(f"  source  {source}" for source in model.sources),
    ]
    if not model.sources:
        lines.append(f"  by hand download it from {model.page}, then pass its path or put it at the place above")
    return "\n".join(lines)


def _licence_in_words(model: Model) -> str:
    return model.licence if model.commercial else f"{model.licence}, which forbids commercial use"


def _facts(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "also": list(model.also),
        "category": model.category,
        "advice": model.advice,
        "family": model.family,
        "licence": model.licence,
        "commercial": model.commercial,
        "file": model.file,
        "size": model.size,
        "sha256": model.sha256,
        "md5": model.md5,
        "page": model.page,
        "sources": [str(source) for source in model.sources],
        "path": str(model.path),
        "is_here": model.is_here,
    }
