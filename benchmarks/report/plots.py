"""Charts of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from benchmarks.models.contenders import ENTRIES
from benchmarks.report.results import Race, Results
from benchmarks.report.tables import OURS, op_name

_AXES: Final = {
    "size": "megapixels of a frame",
    "streams": "streams, on threads of their own",
    "batch": "streams in lockstep",
}


def write(results: Results) -> list[Path]:
    """Write the charts that the results allow. Returns their paths."""
    import matplotlib

    matplotlib.use("Agg")
    made = []
    for question in ("frame", "tensor", "device"):
        races = [race for race in results.group("models") if question in race.questions]
        if races:
            made.append(_bars(results.folder / f"{question}.png", races, question))
    groups = [group for group in _AXES if results.group(group)]
    if groups:
        made.append(_curves(results, groups))
    if results.ops is not None:
        made.append(_roofline(results.folder / "ops.png", results.ops))
    return made


def _bars(path: Path, races: list[Race], question: str) -> Path:
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    names = [name for name in ENTRIES if any(name in race.names(question) for race in races)]
    figure, axes = plt.subplots(figsize=(9, 1 + 0.18 * sum(1 + len(race.names(question)) for race in races)))
    palette: Any = plt.colormaps["tab20"]
    colours = dict(zip(names, palette.colors, strict=False))
    place, ticks = 0.0, []
    for race in races:
        here = race.names(question)
        ticks.append((place + (len(here) - 1) / 2, race.subject.name))
        for name in here:
            ratio = race.ratio(question, name, OURS)
            errors = [[ratio.median - ratio.low], [ratio.high - ratio.median]]
            axes.barh(place, ratio.median, 0.9, color=colours[name], xerr=errors, error_kw={"lw": 0.8})
            axes.text(ratio.high, place, f" {race.median(question, name):.0f} ms", va="center", fontsize=6)
            place += 1
        place += 1
    axes.axvline(1, color="black", lw=0.8)
    axes.set_yticks(*zip(*ticks, strict=True))
    axes.invert_yaxis()
    axes.set_xlabel("times as long as trtmatte, with quartiles; beside the bars milliseconds a frame")
    handles = [Rectangle((0, 0), 1, 1, color=colours[name]) for name in names]
    axes.legend(
        handles,
        [ENTRIES[name].what for name in names],
        fontsize=7,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncol=3,
    )
    return _saved(figure, path)


def _curves(results: Results, groups: list[str]) -> Path:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(groups), figsize=(4.5 * len(groups), 3.8), squeeze=False)
    for panel, group in zip(panels[0], groups, strict=True):
        races = results.group(group)
        for name in ENTRIES:
            points = [
                (_place(race, group), race.median("frame", name)) for race in races if name in race.names("frame")
            ]
            if points:
                panel.plot(*zip(*points, strict=True), marker="o", label=ENTRIES[name].what)
        panel.set_xlabel(_AXES[group])
        panel.set_ylabel("ms a frame")
        panel.set_ylim(bottom=0)
        panel.legend(fontsize=7)
    return _saved(figure, results.folder / "scaling.png")


def _place(race: Race, group: str) -> float:
    subject = race.subject
    return {"size": subject.width * subject.height / 1e6, "streams": subject.streams, "batch": subject.batch}[group]


def _roofline(path: Path, ops: dict[str, Any]) -> Path:
    """The rates of the ops beside that of a copy, their upper limit, since they compute little."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 5.5))
    for rival, style in (("memcpy", "-"), ("memcpy, one thread", ":")):
        points = {
            each["extra_info"]["bytes"]: each["extra_info"][rival]["min"]
            for each in ops["benchmarks"]
            if rival in each["extra_info"]
        }
        if points:
            axes.plot(
                [count / 1e6 for count in sorted(points)],
                [count / points[count] / 1e9 for count in sorted(points)],
                style,
                color="grey",
                label=rival.replace("memcpy", "a copy"),
            )
    families = sorted({op_name(each).split("[")[0] for each in ops["benchmarks"]})
    for family in families:
        points_of = [
            (facts["bytes"] / 1e6, facts["bytes"] / facts["trtmatte"]["min"] / 1e9)
            for each in ops["benchmarks"]
            if op_name(each).split("[")[0] == family and (facts := each["extra_info"])
        ]
        axes.scatter(*zip(*points_of, strict=True), label=family)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("MB moved by a call")
    axes.set_ylabel("GB/s")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _saved(figure, path)


def _saved(figure: Any, path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return path
