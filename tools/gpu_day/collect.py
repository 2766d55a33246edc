"""Put the results of a day into the repository, and write README's tables anew.

    python -m tools.gpu_day.collect [FOLDER…]

A FOLDER has what came back from a call: PIECE.json and files.tar.gz. The results go to benchmarks/results/<device>:
`day/PIECE.json` has the steps, with device, driver and versions; `ops.json` and `models.json` are the benchmarks' own.
Steps that were run again replace the earlier ones. Without a folder, only README is written.
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import report
from benchmarks.report.readme import write_readme
from tools.gpu_day import ran
from tools.gpu_day.pieces import PIECES

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = ROOT / "benchmarks" / "results"


class CollectError(Exception):
    """A file is not the result of a day on a GPU."""


def collect(folder: Path, results: Path) -> Path | None:
    """Add what came back from a call. Returns the folder of the device; None if there were only rehearsals."""
    pieces = [piece for path in sorted(folder.glob("*.json")) if (piece := _piece(path)) is not None]
    if not pieces:
        return None
    names = {piece["machine"]["name"] for piece in pieces}
    if len(names) != 1:
        raise CollectError(f"{folder} has results of {', '.join(sorted(names))}; expected those of one device")
    device = results / str(names.pop())
    day = device / ran.FOLDER
    day.mkdir(parents=True, exist_ok=True)
    for piece in pieces:
        _add(piece, day / f"{piece['piece']}.json")
    if (folder / "files.tar.gz").is_file():
        _add_files(folder / "files.tar.gz", device)
    return device


def _piece(path: Path) -> dict[str, Any] | None:
    """The content of PIECE.json; None of a rehearsal."""
    piece: dict[str, Any] = json.loads(path.read_text())
    if piece.get("piece") not in PIECES:
        raise CollectError(f"{path} is not the result of a piece; expected one of {', '.join(PIECES)}")
    if piece["rehearsal"]:
        print(f"{path.name} is a rehearsal: left out", file=sys.stderr)
        return None
    if not (piece["machine"] or {}).get("gpu"):
        raise CollectError(f"{path} names no GPU: complete its machine by hand, as benchmarks/machine.py describes one")
    return piece


def _add(piece: dict[str, Any], path: Path) -> None:
    """Write the steps of a piece; of those that are there already, the new ones count."""
    before = json.loads(path.read_text())["steps"] if path.is_file() else []
    steps = {step["name"]: step for step in (*before, *piece["steps"])}
    path.write_text(json.dumps({**piece, "steps": list(steps.values())}, indent=1) + "\n")


def _add_files(archive: Path, device: Path) -> None:
    """The results of benchmarks, and the layers of plans."""
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(archive) as tar:
        tar.extractall(scratch, filter="data")
        for pattern, to in (("benchmarks/*.json", device), ("files/*.json", device / ran.FOLDER)):
            for path in Path(scratch).glob(pattern):
                (to / path.name).write_bytes(path.read_bytes())


def write(results: Path, readme: Path, devices: Sequence[Path] = ()) -> None:
    """Write the reports of these devices and README's tables."""
    for device in devices:
        if (device / "models.json").is_file() or (device / "ops.json").is_file():
            report.write(device)
    write_readme(readme, results)
    ran.write_readme(readme, results)


def main() -> int:
    parser = argparse.ArgumentParser(description="Put the results of a day into the repository.")
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="what came back from a call")
    arguments = parser.parse_args()
    try:
        devices = [device for folder in arguments.folders if (device := collect(folder, RESULTS)) is not None]
    except CollectError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write(RESULTS, ROOT / "README.md", devices)
    for device in dict.fromkeys(devices):
        print(f"the results are in {device.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
