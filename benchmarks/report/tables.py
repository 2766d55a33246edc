"""Results as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from benchmarks.goals import COPY_SHARE, GOALS, WHOLE_FRAME, Goal
from benchmarks.models.contenders import ENTRIES
from benchmarks.models.subjects import QUESTIONS
from benchmarks.report.results import Race, Results
from trtmatte.reports.profile import Latency, StageProfile

OURS: Final = "trtmatte"
_HEADS: Final = {
    "trtmatte": "trtmatte",
    "trtmatte-onnxruntime": "on ONNX Runtime",
    "torch-eager": "PyTorch eager",
    "torch-script": "TorchScript",
    "torch-compile": "torch.compile",
    "onnxruntime-loop": "ONNX Runtime loop",
    "onnxruntime-bound": "I/O binding",
    "openvino": "OpenVINO",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def overview(results: Results, question: str) -> str:
    """The milliseconds of trtmatte, and how many times longer the others take."""
    races = [race for race in results.group("models") if question in race.questions]
    names = [name for name in ENTRIES if any(name in race.names(question) for race in races)]
    names = [name for name in names if not name.startswith("network")]
    rows = []
    for race in races:
        cells = [_ratio(race, question, name) for name in names if name != OURS]
        rows.append([race.subject.name, f"{_digits(race.median(question, OURS))} ms", *cells])
    return table(["", *(_HEADS.get(name, ENTRIES[name].what) for name in names)], rows)


def details(race: Race, question: str) -> str:
    """All measurements of one subject."""
    has_device_memory = any("device_memory" in race.contender(name) for name in race.names(question))
    has_energy = any(race.energy(question, name) is not None for name in race.names(question))
    head = ["", "p50 ms", "p95", "p99", "frames/s", "times as long as trtmatte (quartiles)", "host MiB"]
    head += ["device MiB"] * has_device_memory + ["J a frame"] * has_energy
    head += ["s to load", "first frame ms", "mean error"]
    rows = []
    for name in race.names(question):
        facts = race.contender(name)
        ratio = race.ratio(question, name, OURS)
        row = [facts["what"] + (f" ({facts['backend']})" if facts.get("backend") and name == OURS else "")]
        row += [_digits(each) for each in race.percentiles(question, name)]
        row += [f"{1000 / race.median(question, name):.1f}"]
        row += ["" if name == OURS else f"{ratio.median:.2f} ({ratio.low:.2f} … {ratio.high:.2f})"]
        row += [f"{facts['host_memory'] / 2**20:.0f}"]
        row += [f"{facts.get('device_memory', 0) / 2**20:.0f}"] * has_device_memory
        row += [f"{race.energy(question, name) or 0:.2f}"] * has_energy
        row += [f"{facts['load']:.1f}", f"{facts['first_ms']:.0f}", _error(race, question, name)]
        rows.append(row)
    rows += [
        [ENTRIES[name].what, f"cannot run: {_one_line(why)}", *[""] * (len(head) - 2)]
        for name, why in race.failed.items()
    ]
    return table(head, rows)


def losses(results: Results) -> list[str]:
    """The races that trtmatte lost, and the reason."""
    lines = []
    for race in results.races.values():
        for question in race.questions:
            for name in race.names(question):
                if name.startswith((OURS, "network")):
                    continue
                ratio = race.ratio(question, name, OURS)
                if ratio.median < 1:
                    what = f"{race.subject.name}, {question}: {ENTRIES[name].what}"
                    times = f"{ratio.median:.2f} times as long ({ratio.low:.2f} … {ratio.high:.2f})"
                    why = _reason(race, question, name) if ratio.high < 1 else "Level: it is not ahead in all rounds."
                    lines.append(f"- {what} takes {times}. {why}")
    return lines


def _reason(race: Race, question: str, name: str) -> str:
    """The reason, from the time of each stage."""
    found = race.facts["stages"].get(OURS)
    if not found:
        return ""
    networks = sum(stage["ms"]["p50"] for stage in found["stages"] if stage["copy"] is None)
    theirs = race.median(question, name)
    share = networks / (sum(stage["ms"]["p50"] for stage in found["stages"]) + found["rest"])
    ours = f"Our network stages take {_digits(networks)} ms, {share:.0%} of our frame"
    says = f"{ours}; its frame takes {_digits(theirs)} ms"
    if networks >= 0.9 * theirs:
        return f"{says}: what is lost is lost in the convolutions, which another library does."
    return f"{says}: what is lost is lost around the network."


# ---------------------------------------------------------------------------------------------------------------------
# Goals


def goals(results: Results) -> str:
    rows = [row for goal in GOALS if goal.device == results.machine["device"] for row in _goal(results, goal)]
    rows += _copy_goals(results)
    return table(["goal", "wanted", "measured", ""], rows)


def _goal(results: Results, goal: Goal) -> Iterator[list[str]]:
    wanted = f"≥ {goal.least:g}×" if goal.least is not None else f"≤ {goal.most:g}×"
    than = ENTRIES[goal.than].what if goal.than in ENTRIES else goal.than
    title = f"{goal.subject}, {goal.question}: {ENTRIES[goal.contender].what} against {than}"
    measured = _measured(results, goal)
    if measured is None:
        yield [title, wanted, "not measured", ""]
        return
    held = measured >= goal.least if goal.least is not None else measured <= (goal.most or 0)
    yield [title, wanted, f"{measured:.2f}×", "held" if held else "**not held**"]


def _measured(results: Results, goal: Goal) -> float | None:
    """The measured ratio of a goal: how many times faster (`least`) or how many times as long (`most`)."""
    race = results.races.get(goal.subject)
    if race is None or goal.contender not in race.names(goal.question):
        return None
    if goal.than in ENTRIES:
        if goal.than not in race.names(goal.question):
            return None
        pair = (goal.contender, goal.than) if goal.least is None else (goal.than, goal.contender)
        return race.ratio(goal.question, *pair).median
    other_race = results.races.get(goal.than)
    if other_race is None or goal.contender not in other_race.names(goal.question):
        return None
    return race.median(goal.question, goal.contender) / other_race.median(goal.question, goal.contender)


def _copy_goals(results: Results) -> Iterator[list[str]]:
    least = COPY_SHARE.get(results.machine["device"])
    if least is None or results.ops is None:
        return
    for each in results.ops["benchmarks"]:
        name = op_name(each)
        if name.startswith(WHOLE_FRAME):
            share = each["extra_info"]["memcpy"]["min"] / each["extra_info"]["trtmatte"]["min"]
            held = "held" if share >= least else "**not held**"
            yield [f"{name}: % of copy speed", f"≥ {least:.0%}", f"{share:.0%}", held]


# ---------------------------------------------------------------------------------------------------------------------
# Stages and ops


def stages(race: Race, name: str = OURS) -> str:
    found = race.facts["stages"][name]
    flops = race.facts["flops"]
    peak = race.facts["limits"]["flops"]
    whole = sum(stage["ms"]["p50"] for stage in found["stages"]) + found["rest"]
    rows = []
    for stage in found["stages"]:
        ms = stage["ms"]["p50"]
        rate = StageProfile(**{**stage, "ms": Latency(**stage["ms"])}).rate
        row = [stage["name"], _digits(ms), f"{ms / whole:.0%}", f"{stage['bytes'] / 1e6:.1f}"]
        if rate:
            row += [f"{rate / 1e9:.1f} GB/s", f"{stage['copy'] / ms:.0%} of copy speed"]
        elif stage["name"] in flops:
            rate = flops[stage["name"]] / ms * 1000
            row += [f"{rate / 1e9:.0f} Gflop/s", f"{rate / peak:.0%} of a matrix product's rate" if peak else ""]
        else:
            row += ["", ""]
        rows.append(row)
    rows.append(["other", _digits(found["rest"]), f"{found['rest'] / whole:.0%}", "", "", ""])
    return table(["stage", "ms", "share", "MB", "rate", "how close to the limit"], rows)


def ops(measured: dict[str, Any]) -> str:
    rows = []
    for each in measured["benchmarks"]:
        facts = each["extra_info"]
        own = facts["trtmatte"]["min"]
        rate = facts["bytes"] / own / 1e9
        share = f"{facts['memcpy']['min'] / own:.0%}" if "memcpy" in facts else ""
        one = f"{facts['memcpy, one thread']['min'] / own:.0%}" if "memcpy, one thread" in facts else ""
        ratios = [
            f"{facts[rival]['min'] / own:.1f}×" if rival in facts else "" for rival in ("body", "numpy and Resize")
        ]
        rows.append(
            [op_name(each), f"{own * 1e3:.3g}", f"{facts['bytes'] / 1e6:.1f}", f"{rate:.1f}", share, one, *ratios]
        )
    head = [
        "",
        "ms",
        "MB",
        "GB/s",
        "% of copy speed",
        "% of one-thread copy speed",
        "ONNX Runtime, function body",
        "numpy and ONNX Runtime's Resize",
    ]
    return table(head, rows)


def op_name(benchmark: dict[str, Any]) -> str:
    return str(benchmark["name"]).removeprefix("bench_").removeprefix("test_")


# ---------------------------------------------------------------------------------------------------------------------
# Curves


def curve(races: Sequence[Race], column: str) -> str:
    """A curve in milliseconds per frame."""
    names = [name for name in ENTRIES if any(name in race.names("frame") for race in races)]
    rows = []
    for race in races:
        subject = race.subject
        first = {"size": f"{subject.width}x{subject.height}", "streams": str(subject.streams)}.get(
            column, str(subject.batch)
        )
        rows.append(
            [first, *(_digits(race.median("frame", name)) if name in race.names("frame") else "" for name in names)]
        )
    return table([column, *(f"{ENTRIES[name].what}, ms" for name in names)], rows)


def questions() -> str:
    return "\n".join(f"- **{name}**: {about}" for name, about in QUESTIONS.items())


# ---------------------------------------------------------------------------------------------------------------------


def _ratio(race: Race, question: str, name: str) -> str:
    if name in race.failed:
        return "cannot run"
    if name not in race.names(question):
        return ""
    return f"{race.ratio(question, name, OURS).median:.2f}×"


def _error(race: Race, question: str, name: str) -> str:
    outputs = race.facts["errors"].get(name, {}).get(question)
    if outputs is None:
        return "the reference" if name == "torch-eager" else ""
    return ", ".join(f"{output} {error['mean']:.1g}" for output, error in outputs.items())


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _one_line(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")[:160]
