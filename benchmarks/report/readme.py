"""Make README's tables, between two marks, from the committed results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.report import tables
from benchmarks.report.marks import between
from benchmarks.report.results import read
from benchmarks.report.writing import about, warning

BEGIN: Final = "<!-- benchmarks:begin -->"
END: Final = "<!-- benchmarks:end -->"
_OPS: Final = (
    "frame_sample[linear",
    "guided_upsample",
    "matte_upsample[composite-linear",
    "matte_upsample[pha-linear",
    "patch_",
)


def write_readme(readme: Path, results: Path) -> None:
    readme.write_text(generated(readme.read_text(), results))


def generated(text: str, results: Path) -> str:
    """Return the text with new tables."""
    return between(BEGIN, END, text, _sections(results), "README")


def _sections(folder: Path) -> Iterator[str]:
    for each in sorted(path.parent for path in folder.glob("*/models.json")):
        results = read(each)
        more = f"[method, goals, races lost, all measurements](benchmarks/results/{each.name}/report.md)"
        yield (
            f"{about(results)}: milliseconds from a uint8 frame to a uint8 composite, and how many times longer other "
            f"runtimes take with the same weights and frames in the same run ({more})."
        )
        if busy := warning(results):
            yield busy
        yield tables.overview(results, "frame")
        if results.ops is not None:
            chosen = [op for op in results.ops["benchmarks"] if tables.op_name(op).startswith(_OPS)]
            yield "The ops on uint8 frames. % of copy speed: relative to a multithreaded memcpy of the same size."
            yield tables.ops({"benchmarks": chosen})
