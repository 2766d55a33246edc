"""Write `report.md` and its charts beside the results of a machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import plots, tables
from benchmarks.report.results import Results, read

_METHOD = """\
Each contender runs in its own process, which is stopped while another contender runs. Before a contender is timed, its
output is compared with PyTorch's in float32. The contenders take turns in rounds, forwards and backwards. A turn is a
few frames, and its first frame is not counted. Times are medians over all rounds. Ratios are taken within a round;
their quartiles show the spread. All contenders have the same weights and the same frames, and the default number of
threads of their library. The times exclude file reading and decoding, building engines and ONNX files, compilation and
the first frames. Memory is the peak of the process after one frame, libraries included. Loading is measured from the
start of the process until it is ready, with the caches that libraries keep on disk."""

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
            yield f"## {question.capitalize()}: how many times longer other runtimes take"
            yield tables.overview(results, question)
            yield f"![{question}]({question}.png)"
    if lost := tables.losses(results):
        yield "## Races lost"
        yield "\n".join(lost)
    if "scaling.png" in pictures:
        yield "## Scaling, frame to composite"
        for group in ("size", "streams", "batch"):
            if races := results.group(group):
                yield tables.curve(races, group)
        yield "![scaling](scaling.png)"
    if results.ops is not None:
        yield "## The ops, relative to a multithreaded memcpy of the same size"
        yield tables.ops(results.ops)
        yield "![ops](ops.png)"
    staged = [race for race in results.group("models") if race.facts["stages"]]
    if staged:
        yield "## Time of a frame by stage"
        for race in staged:
            yield f"### {race.subject.name}"
            yield tables.stages(race)
    if results.races:
        yield "## All measurements"
    for race in results.races.values():
        for question in race.questions:
            kind = "published" if race.subject.real else "stand-in"
            yield f"### {race.subject.name}, {question}, {kind} weights, {race.facts['rounds']} rounds"
            yield tables.details(race, question)
    yield "## The machine"
    yield tables.table(["", ""], _machine(results))


def warning(results: Results) -> str:
    """A warning if other programs were busy during a measurement."""
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
