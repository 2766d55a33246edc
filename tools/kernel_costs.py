"""Reports what each CUDA kernel costs, from its machine code for sm_90 (H100); needs no GPU.

    python tools/install_nvcc.py build/nvcc
    python tools/kernel_costs.py [--out FILE] [--limits]

It compiles csrc/ops/*/*_cuda.cu, reads registers and spilled bytes from ptxas and the instructions from nvdisasm, and
compares the time to issue them for one 4K frame with the time to copy the frame's bytes. `--limits` records the numbers
that tests/native/test_kernel_costs.py holds.

Note [Counted instructions]
`fewest` is the shortest way through a kernel that stores something, `most` the longest way, for one thread. A loop
counts once, and calls count what they call. A thread that writes sixteen pixels of a matte skips the branches that
fetch the next column of the maps, unless a pixel reaches it: one pixel in eight for RVM at 4K. What counts is therefore
`fewest` plus an eighth of the difference. Left out are idle lanes, waiting and bank conflicts: the result is a floor,
not a forecast.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NVCC = ROOT / "build/nvcc"  # where `make kernels` installs it
LIMITS = ROOT / "tests/native/kernel_limits.json"
ARCHITECTURE = "sm_90"
EXACT = ("patch_select",)  # compiled without contracted multiply-adds, as in csrc/ops/list.h

PIXELS = 3840 * 2160
LANES_A_SECOND = 132 * 4 * 32 * 1.755e9  # multiprocessors, issue slots, lanes, hertz
BYTES_A_SECOND = 3.35e12 * 0.9
PIXELS_A_THREAD = {"matte_blocks": 16}
CHANNELS = {"fgr": 3, "pha": 1, "rgba": 4, "composite": 3}  # in the order of csrc/ops/math/outputs.h
FETCHING = 1 / 8  # of all pixels: Note [Counted instructions]


@dataclass
class Kernel:
    """The costs of one kernel for one thread."""

    name: str
    registers: int
    spilled: int  # bytes stored and loaded
    fewest: int
    most: int

    def limits(self) -> dict[str, int]:
        return {name: value for name, value in asdict(self).items() if name != "name"}

    @property
    def pixels(self) -> int:
        return PIXELS_A_THREAD.get(self.name.split(": ")[1].split("<")[0], 1)

    @property
    def instructions(self) -> float:
        """A pixel's, as in Note [Counted instructions]."""
        return (self.fewest + FETCHING * (self.most - self.fewest)) / self.pixels

    def issue_seconds(self) -> float:
        """The time to issue the instructions for a 4K frame."""
        return self.instructions * PIXELS / LANES_A_SECOND

    def copy_seconds(self) -> float:
        """The time to copy the bytes of a 4K frame."""
        return (self.bytes or 0) * PIXELS / BYTES_A_SECOND

    @property
    def bytes(self) -> int | None:
        """A pixel's bytes in frame, background and outputs; None if the kernel does not write whole packed frames."""
        found = re.search(r"matte_blocks<.*?, (?P<outputs>[a-z+]+)(?:, (?P<background>\w+)Background)?>", self.name)
        if not found:
            return None
        outputs = found["outputs"].split("+")
        frame = 0 if outputs == ["pha"] and not self.name.startswith("guided") else 3  # only there alpha depends on it
        return frame + sum(CHANNELS[name] for name in outputs) + (3 if found["background"] == "Packed" else 0)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stderr or done.stdout}")
    return done


# ---------------------------------------------------------------------------------------------------------------------
# The ways through a kernel

INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?P<predicate>@!?U?P\w+\s+)?(?P<code>[A-Z][\w.]*)(?P<rest>.*?);?$")
TARGET = re.compile(r"`\(([^)]+)\)")


@dataclass
class Instruction:
    code: str
    conditional: bool
    targets: list[str]


def functions(sass: str) -> dict[str, tuple[list[Instruction], dict[str, int]]]:
    """The instructions of each section, and the positions of its labels."""
    found: dict[str, tuple[list[Instruction], dict[str, int]]] = {}
    for line in sass.splitlines():
        if start := re.match(r"\.text\.(\w+):", line):
            instructions, labels = found[start[1]] = [], {}
        elif label := re.match(r"\s*(?:\.type\s+)?([.$\w]+)(?::|,@function)$", line):
            if found and not line.lstrip().startswith(".type"):
                labels[label[1]] = len(instructions)
        elif found and (parts := INSTRUCTION.match(line)):
            branches = re.search(r"BRANCH_TARGETS ([^\"]+)", parts["rest"])
            targets = branches[1].split(",") if branches else TARGET.findall(parts["rest"])
            conditional = bool(parts["predicate"]) or bool(re.match(r"\s*!?U?P\d", parts["rest"]))
            instructions.append(Instruction(parts["code"].split(".")[0], conditional, targets))
    return found


STORES = ("STG", "RED", "ATOM", "ATOMG", "ATOMS")
Lengths = tuple[float, float, float]  # of the shortest way, of the shortest that stores, of the longest
NO_WAY: Lengths = (inf, inf, -inf)


class Ways:
    """The ways from an instruction to the end of its function."""

    def __init__(self, instructions: list[Instruction], labels: dict[str, int]) -> None:
        self.instructions, self.labels = instructions, labels
        self.known: dict[int, Lengths] = {}

    def fewest_and_most(self) -> tuple[int, int]:
        shortest, storing, longest = self._from(0)
        return int(shortest if storing == inf else storing), int(longest)

    def _next(self, at: int) -> list[int]:
        """The instructions that may follow; none at the end."""
        here = self.instructions[at]
        if here.code in ("EXIT", "RET") and not here.conditional:
            return []
        if here.code not in ("BRA", "BRX"):
            return [at + 1]
        jumps = [self.labels[target] for target in here.targets]
        return [*jumps, at + 1] if here.conditional else jumps

    def _from(self, first: int) -> Lengths:
        """Depth first without recursion; a way back to where the search is now (a loop) is no way."""
        stack = [(first, self._next(first))]
        self.known[first] = NO_WAY
        while stack:
            at, ahead = stack[-1]
            fresh = next((each for each in ahead if each not in self.known), None)
            if fresh is not None:
                self.known[fresh] = NO_WAY
                stack.append((fresh, self._next(fresh)))
                continue
            stack.pop()
            self.known[at] = self._with(at, [self.known[each] for each in ahead])
        return self.known[first]

    def _with(self, at: int, ahead: list[Lengths]) -> Lengths:
        here = self.instructions[at]
        least = most = 1.0
        if here.code == "CALL":
            called = Ways(self.instructions, self.labels)._from(self.labels[here.targets[0]])
            least, most = 1 + called[0], 1 + called[2]
        shortest, storing, longest = 0.0, inf, 0.0
        if ahead:
            shortest, storing = (min(way[which] for way in ahead) for which in (0, 1))
            longest = max(way[2] for way in ahead)
        if here.code in STORES:
            storing = shortest
        return least + shortest, least + storing, most + longest


# ---------------------------------------------------------------------------------------------------------------------
# Compiling and reading


def plain_name(op: str, demangled: str) -> str:
    """`guided_upsample: matte_blocks<NearMaps<float>, fgr+pha>`."""
    text = demangled.replace("trtmatte::", "").replace("(anonymous namespace)::", "")
    name = text.removeprefix("void ").partition("(")[0].replace("<Form, ", "<").replace("> >", ">>")
    return f"{op}: " + re.sub(r"\b\d+\b", lambda number: outputs_of(int(number[0])), name)


def outputs_of(number: int) -> str:
    return "+".join(name for bit, name in enumerate(CHANNELS) if number >> bit & 1)


def measure(nvcc: Path, source: Path, scratch: Path) -> list[Kernel]:
    op = source.parent.name
    cubin = scratch / f"{op}.cubin"
    flags = ["-std=c++17", "-O3", f"-arch={ARCHITECTURE}", "-Xptxas=-v", *(["-fmad=false"] if op in EXACT else [])]
    notes = run(nvcc, *flags, "-I", ROOT / "csrc", "-cubin", "-o", cubin, source).stderr
    code = functions(run(nvcc.with_name("nvdisasm"), "-c", cubin).stdout)
    names = run("c++filt", *code).stdout.splitlines()
    kernels = []
    for mangled, demangled in zip(code, names, strict=True):
        about = notes[notes.index(f"entry function '{mangled}'") :]
        spilled = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", about)
        registers = re.search(r"Used (\d+) registers", about)
        assert spilled
        assert registers
        fewest, most = Ways(*code[mangled]).fewest_and_most()
        name = plain_name(op, demangled)
        kernels.append(Kernel(name, int(registers[1]), int(spilled[1]) + int(spilled[2]), fewest, most))
    return sorted(kernels, key=lambda kernel: kernel.name)


def measure_all(nvcc: Path) -> list[Kernel]:
    """All kernels of csrc/ops, two files at a time."""
    sources = sorted((ROOT / "csrc/ops").glob("*/*_cuda.cu"))
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda source: measure(nvcc, source, Path(scratch)), sources)
        return [kernel for kernels in found for kernel in kernels]


# ---------------------------------------------------------------------------------------------------------------------
# Reporting


LEGEND = """\
Costs of the CUDA kernels for one thread, and for a 4K frame on an H100 (tools/kernel_costs.py). `less`: the copy takes
less time, so that instructions limit the kernel.
"""


def table(kernels: Sequence[Kernel]) -> str:
    lines = [
        LEGEND,
        "| kernel | registers | spilled | instructions, fewest…most | a pixel | µs to issue at 4K | µs to copy |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in kernels:
        times = ""
        if each.bytes is not None:
            issue, copy = each.issue_seconds() * 1e6, each.copy_seconds() * 1e6
            times = f"{issue:.1f} | {copy:.1f}{'' if issue < copy else ' (less)'}"
        ways = f"{each.fewest}…{each.most}"
        pixel = f"{each.instructions:.1f}" if times else ""
        lines.append(f"| {each.name} | {each.registers} | {each.spilled} | {ways} | {pixel} | {times or ' | '} |")
    return "\n".join(lines) + "\n"


def find_nvcc(folder: Path = NVCC) -> Path | None:
    """Return the nvcc that tools/install_nvcc.py installed in a folder, if nvdisasm is there too."""
    found = (each / "bin" for each in folder.glob("nvidia/cu*"))
    return next((each / "nvcc" for each in found if (each / "nvcc").exists() and (each / "nvdisasm").exists()), None)


def write_limits(kernels: Sequence[Kernel]) -> None:
    lines = (f" {json.dumps(each.name)}: {json.dumps(each.limits())}" for each in kernels)
    LIMITS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="Report what each CUDA kernel costs on an H100.")
    parser.add_argument("--nvcc", type=Path, default=NVCC, help="where tools/install_nvcc.py put it (build/nvcc)")
    parser.add_argument("--out", type=Path, help="write the table to this file too")
    parser.add_argument("--limits", action="store_true", help="record the limits of the test")
    arguments = parser.parse_args()
    nvcc = find_nvcc(arguments.nvcc)
    if nvcc is None:
        parser.error(f"nvcc and nvdisasm are not in {arguments.nvcc}; python tools/install_nvcc.py {arguments.nvcc}")
    kernels = measure_all(nvcc)
    text = table(kernels)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text)
    if arguments.limits:
        write_limits(kernels)
    return 0


if __name__ == "__main__":
    sys.exit(main())
