"""`trtmatte doctor`: report what this machine can run and what is missing."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from trtmatte.cli.arguments import described
from trtmatte.cli.process import FAILED, tell
from trtmatte.reports import doctor as diagnosis

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "doctor", **described("report what this machine can run, and how to install what is missing")
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Return the exit status: 0 engines can run here, 1 no backend is installed."""
    report = diagnosis.doctor()
    tell(json.dumps(report.to_json(), indent=2) if args.json else str(report))
    return 0 if report.can_run else FAILED
