"""`trtmatte cache`: show and prune the cache folder."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from trtmatte.cli import values
from trtmatte.cli.arguments import described
from trtmatte.cli.process import FAILED, complain, tell
from trtmatte.compiler.families import catalog
from trtmatte.support import cache_contents
from trtmatte.support.cache_contents import ENGINES, MODELS, Entry
from trtmatte.support.cache_folder import cache_folder
from trtmatte.support.quantities import size_text

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_OLD: Final = "engines of older code"
_NAMES: Final = {"openvino": "networks compiled by OpenVINO", "timings": "timings of TensorRT"}
_DAY: Final = 86_400.0


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("cache", **described("show or prune the cache folder"), allow_abbrev=False)
    parser.set_defaults(run=run, action="show", json=False)
    actions = parser.add_subparsers(dest="action", metavar="show | prune")
    showing = actions.add_parser("show", **described("show what is in the cache (the default)"), allow_abbrev=False)
    showing.add_argument("--json", action="store_true", help="print JSON")
    pruning = actions.add_parser(
        "prune",
        help="remove engines of older code, and what was not used for longest",
        description="Remove engines of older code, then what was not used for longest, until the rest has the size of "
        "--size. What is removed is made again when it is needed.",
        allow_abbrev=False,
    )
    add = pruning.add_argument
    add("--size", type=values.byte_count, metavar="SIZE", help=_SIZE)
    add("--age", type=values.age, metavar="AGE", help="remove what was not used for this long, such as 30d or 12h")
    add("--all", action="store_true", help="remove all that can be made again")
    add("--models", action="store_true", help="count and remove known models as well, which are then downloaded again")
    add("--dry-run", action="store_true", help="print what would be removed, and remove nothing")


_SIZE: Final = "such as 2GiB or 500MB (default: TRTMATTE_CACHE_SIZE, or 4GiB)"


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 done, 1 something could not be removed, 2 a flag is wrong."""
    if args.action == "prune":
        return _prune(args)
    found = cache_contents.entries()
    tell(json.dumps(_facts(found), indent=2) if args.json else _text(found))
    return 0


def _prune(args: argparse.Namespace) -> int:
    names = {model.file for model in catalog.models()} if args.models else set()
    found = [entry for entry in cache_contents.entries() if entry.is_made or _is_model(entry, names)]
    size = 0 if args.all else cache_contents.limit() if args.size is None else args.size
    age = None if args.age is None else time.time() - args.age * _DAY
    if args.age is not None and args.size is None and not args.all:
        size = None
    gone = cache_contents.prune(found, size, older_than=age, dry=args.dry_run)
    for entry in gone:
        tell(f"{entry.path}")
    left = len(found) - len(gone)
    total, rest = (size_text(sum(entry.size for entry in each)) for each in (gone, set(found) - set(gone)))
    verb = "would be removed" if args.dry_run else "removed"
    complain("trtmatte cache", f"{len(gone)} files of {total} {verb}; {left} of {rest} are left")
    return FAILED if args.all and left and not args.dry_run else 0


def _is_model(entry: Entry, names: Iterable[str]) -> bool:
    return entry.kind == MODELS and entry.path.name.removesuffix(".part") in names


def _kinds(found: Iterable[Entry]) -> dict[str, list[Entry]]:
    """The files by their kinds, as they are shown."""
    kinds: dict[str, list[Entry]] = {}
    for entry in sorted(found, key=lambda entry: entry.is_old):
        kinds.setdefault(_OLD if entry.is_old else entry.kind, []).append(entry)
    return kinds


def _facts(found: Iterable[Entry]) -> dict[str, Any]:
    kinds = {
        kind: {
            "files": len(entries),
            "bytes": sum(entry.size for entry in entries),
            "oldest": min(entry.used for entry in entries),
            "newest": max(entry.used for entry in entries),
        }
        for kind, entries in _kinds(found).items()
    }
    return {"folder": str(cache_folder()), "limit": cache_contents.limit(), "kinds": kinds}


def _text(found: list[Entry]) -> str:
    limit = cache_contents.limit()
    most = "without a limit" if limit is None else f"at most {size_text(limit)} without the models"
    head = f"{cache_folder()}: {size_text(sum(entry.size for entry in found))}, {most}"
    rows = [("kind", "files", "size", "last used")]
    for kind, entries in _kinds(found).items():
        days = sorted({datetime.fromtimestamp(entry.used).date().isoformat() for entry in entries})
        span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        rows.append((_NAMES.get(kind, kind), str(len(entries)), size_text(sum(entry.size for entry in entries)), span))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}" for a, b, c, d in rows]
    old = any(entry.is_old for entry in found)
    hint = [f"trtmatte cache prune removes the {ENGINES} of older code"] if old else []
    return "\n".join([head, *(lines if found else []), *hint])
