"""The report of a machine's results: `report.md` beside them, with its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import plots, tables
from benchmarks.report.results import Results, read

_METHOD = """\
Each contender lives in a process of its own and is stopped while others have their turns. Before anyone is timed, its
output is compared with PyTorch's in float32. Rounds of alternating turns, forwards and backwards; a turn is a few
frames, of which the first is not counted. Medians over all rounds; ratios are taken within a round, and their
quartiles tell how much to trust them. All have the same weights, the same frames, and the
threads that their library takes by itself. Not in the times: reading and decoding of files, making of engines and ONNX
files, compilation, the first frames. Memory is the most that the process had once it had made one frame, libraries
included; loading is from the start of the process until it is ready, with what libraries keep on disk."""

_QUIET = 0.1  # share of the processors that others may use


def write(folder: Path) -> None:
    results = read(folder)
    pictures = plots.write(results)
    path = folder / "report.md"
    part = path.with_suffix(".part")
    part.write_text("\n\n".join(_sections(results, [picture.name for picture in pictures])) + "\n")
    part.replace(path)


def _sections(results: Results, pictures: list[str]) -> Iterator[str]:
    yield f"# Benchmarks: {about(results)}"
    yield "Made by `python -m benchmarks`; the numbers are in `models.json` and `ops.json` beside this page."
    yield tables.questions()
    yield _METHOD
    if busy := warning(results):
        yield busy
    if results.races:
        yield "## Goals"
        yield tables.goals(results)
    for question in ("frame", "tensor", "device"):
        races = [race for race in results.group("models") if question in race.questions]
        if races:
            yield f"## {question.capitalize()}: how many times as long others take"
            yield tables.overview(results, question)
            yield f"![{question}]({question}.png)"
    if lost := tables.losses(results):
        yield "## What lost"
        yield "\n".join(lost)
    if "scaling.png" in pictures:
        yield "## Scaling, frame to composite"
        for group in ("size", "streams", "batch"):
            if races := results.group(group):
                yield tables.curve(races, group)
        yield "![scaling](scaling.png)"
    if results.ops is not None:
        yield "## The ops against a copy of as many bytes"
        yield tables.ops(results.ops)
        yield "![ops](ops.png)"
    staged = [race for race in results.group("models") if race.facts["stages"]]
    if staged:
        yield "## Where a frame's time goes"
        for race in staged:
            yield f"### {race.subject.name}"
            yield tables.stages(race)
    if results.races:
        yield "## Everything"
    for race in results.races.values():
        for question in race.questions:
            kind = "published" if race.subject.real else "stand-in"
            yield f"### {race.subject.name}, {question}, {kind} weights, {race.facts['rounds']} rounds"
            yield tables.details(race, question)
    yield "## The machine"
    yield tables.table(["", ""], _machine(results))


def warning(results: Results) -> str:
    """The conditions that spoil a measurement."""
    if results.others <= _QUIET:
        return ""
    return (
        f"**Not to be quoted: others used up to {results.others:.0%} of the processors while this was measured.** "
        "Libraries whose threads spin suffer most from that. `make bench` on a quiet machine replaces it."
    )


def about(results: Results) -> str:
    machine = results.machine
    gpu = (machine["gpu"] or {}).get("name")
    return gpu or f"{machine['cpu']}, {machine['processors']} cores"


def _machine(results: Results) -> Iterator[list[str]]:
    for name, value in results.machine.items():
        if isinstance(value, dict):
            yield from ([key, str(each)] for key, each in value.items())
        elif value is not None and name != "name":
            yield [name.replace("_", " "), str(value)]
    yield ["commit", results.commit]
