"""`trtmatte models`: list the known models, and download them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from trtmatte.cli import values
from trtmatte.cli.arguments import described
from trtmatte.cli.process import tell
from trtmatte.compiler.families import catalog
from trtmatte.models import store
from trtmatte.models.model import Model

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("models", **described("list or download the known models"))
    parser.set_defaults(run=run, action="list", long=False)
    actions = parser.add_subparsers(dest="action", metavar="list | pull")
    listing = actions.add_parser("list", **described("list the known models (the default)"))
    listing.add_argument("--long", action="store_true", help="show hashes, paths and addresses as well")
    pulling = actions.add_parser("pull", **described("download models into the cache and print their paths"))
    pulling.add_argument("names", nargs="+", type=values.name, metavar="NAME", help="the name of a known model")


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 done, 1 a download failed, 2 no such model."""
    if args.action != "pull":
        tell(_long() if args.long else _table())
        return 0
    for model in [catalog.find(each) for each in args.names]:
        tell(str(store.pull(model)))
    return 0


def _table() -> str:
    rows = [("name", "family", "size", "licence", "state")]
    rows += [(m.name, m.family, _size(m), m.licence, _state(m)) for m in catalog.models()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    )


def _size(model: Model) -> str:
    return f"{model.size / 1e6:.1f} MB" if model.size else "?"


def _state(model: Model) -> str:
    if model.is_here:
        return "here"
    return f"trtmatte models pull {model.name}" if model.sources else f"by hand, from {model.page}"


def _long() -> str:
    return "\n\n".join(_details(model) for model in catalog.models())


def _details(model: Model) -> str:
    kind, value = model.hash or ("sha256", "not known")
    lines = [
        f"{model.name}: {model.file}, {_size(model)}, {model.licence}",
        f"  {kind:6}  {value}",
        f"  place   {model.path}{'' if model.is_here else ' (not here yet)'}",
        *(f"  source  {source}" for source in model.sources),
    ]
    if not model.sources:
        lines.append(f"  by hand download it from {model.page}, then pass its path or put it at the place above")
    return "\n".join(lines)
