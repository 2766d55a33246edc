"""Circles of files that include or import each other."""

from __future__ import annotations

from collections.abc import Mapping


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The files of one circle that name each other, or nothing."""
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph.get(name, ())):
            if circle := visit(target, [*trail, name]):
                return circle
        done.add(name)
        return []

    return next((circle for name in graph if (circle := visit(name, []))), [])
