"""`python -m fuzz TARGET…`: attack, and keep what is found (docs/testing.md)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fuzz import coverage, report
from fuzz.runner import Limits, run
from fuzz.target import Target, names

_OUT: Final = Path("out/fuzz")
_SECONDS: Final = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 nothing found, 1 something found, 130 stopped."""
    args = _parser().parse_args(arguments)
    if args.input is not None:
        return _attack_once(args.targets, args.input)
    try:
        return max(_attack(name, args) for name in args.targets or names())
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _attack(name: str, args: argparse.Namespace) -> int:
    if args.coverage:
        return coverage.run(name, args.out, tries=args.tries, seconds=args.seconds, seed=args.seed)
    seconds = args.seconds if args.seconds or args.tries else _SECONDS
    limits = Limits(seconds=args.hang, memory=args.memory << 20)
    result = run(
        name, tries=args.tries, seconds=seconds, seed=args.seed, jobs=args.jobs, out=args.out, limits=limits, tell=print
    )
    print(report.line(result))
    for problem in result.problems.values():
        print(f"  {problem.kind}: {problem.where}")
    report.keep(result, args.out)
    return 1 if result.findings else 0


def _attack_once(targets: Sequence[str], file: Path) -> int:
    """Without a child, so that a debugger sees everything."""
    if len(targets) != 1:
        print("--input is for one TARGET", file=sys.stderr)
        return 2
    print("accepted" if Target(targets[0]).attack(file.read_bytes()) else "refused")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Attack trtmatte with hostile inputs.")
    add = parser.add_argument
    add("targets", nargs="*", metavar="TARGET", help=f"what is attacked: {', '.join(names())} (default: all)")
    add("--tries", type=int, metavar="N", help="stop after this many inputs")
    add("--seconds", type=float, metavar="S", help=f"stop after this time (default without --tries: {_SECONDS:g})")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same inputs (default: 0)")
    add("--jobs", type=int, default=2, metavar="N", help="processes that attack (default: 2)")
    add("--hang", type=float, default=20.0, metavar="S", help="an input that takes longer is a finding (default: 20)")
    add("--memory", type=int, default=1024, metavar="MB", help="growth that is a finding (default: 1024)")
    add("--out", type=Path, default=_OUT, metavar="DIR", help=f"folder of the findings (default: {_OUT})")
    add("--coverage", action="store_true", help="let atheris guide the inputs by the code they reach")
    add("--input", type=Path, metavar="FILE", help="attack with this file alone, in this process")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
