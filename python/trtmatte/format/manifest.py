"""The manifest of an engine: complete, in today's format, and true of the members."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from trtmatte.errors import EngineError, ModelError
from trtmatte.format import values
from trtmatte.format.archive import BUILD_AGAIN
from trtmatte.format.stages import BACKGROUND, PLATE
from trtmatte.version import __version__

__all__ = ["FORMAT", "checked_manifest"]

FORMAT: Final = 2

_TARGET: Final = r"[a-z][a-z-]*"
_KEY: Final = r"[0-9A-Za-z][0-9A-Za-z_.-]*"
_MEMBER: Final = re.compile(rf"network-\d{{1,4}}\.onnx|plans/{_TARGET}/{_KEY}/network-\d{{1,4}}\.plan", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PRECISIONS: Final = ("fp32", "fp16", "tf32")
_MOST: Final = 10_000  # plans, networks, targets


def checked_manifest(manifest: Any, sizes: Mapping[str, int]) -> dict[str, Any]:
    """The manifest in today's format, with defaults for what older engines lack. `sizes` are those of the members.

    The program in it is checked by `Program.from_json`.
    """
    known = manifest.get("format") if isinstance(manifest, Mapping) else None
    if type(known) is not int or known < 1:
        raise EngineError(f"the engine's manifest has no format version: {BUILD_AGAIN}")
    if known > FORMAT:
        raise EngineError(
            f"the engine has format {known} (made by {manifest.get('made_by', 'a newer trtmatte')}), and trtmatte "
            f"{__version__} reads up to {FORMAT}: update trtmatte, or build the engine again with this one"
        )
    complete = {"key": "", "family": "", "made_by": "an unknown program", "not_built": {}, **manifest}
    try:
        values.require_shallow(complete, "it")
        for name in ("settings", "source", "program", "errors", "members"):
            values.members(complete.get(name), f"{name} in the engine's manifest")
        for name in ("key", "family", "made_by"):
            values.text(complete[name], f"{name} in the engine's manifest")
        _check_settings(complete["settings"])
        _check_plans(complete.get("plans"))
        _check_nodes(complete.get("keep_fp32", {}))
        _check_reasons(complete["not_built"], "not_built")
        _check_errors(complete["errors"])
        _check_members(complete["members"], sizes)
        return _from_format_1(complete) if known == 1 else complete
    except ModelError as error:
        raise EngineError(f"the engine's manifest is not as expected ({error}): {BUILD_AGAIN}") from error


def _check_settings(settings: Mapping[str, Any]) -> None:
    if "precision" in settings and settings["precision"] not in _PRECISIONS:
        found = values.shown(settings["precision"])
        raise ModelError(f"precision in settings is {found}; expected {', '.join(_PRECISIONS)}")


def _check_plans(plans: Any) -> None:
    for plan in values.entries(plans, "plans in the engine's manifest", _MOST):
        values.members(plan, "a plan in the engine's manifest", "target", "key", "info")
        for name, pattern in (("target", _TARGET), ("key", _KEY)):
            if not re.fullmatch(pattern, values.text(plan[name], f"{name} of a plan"), re.ASCII):
                raise ModelError(f"{name} of a plan is {values.shown(plan[name])}; expected letters and digits")
        environment = values.members(plan["info"], "info of a plan").get("environment", {})
        values.members(environment, "environment of a plan")
        if environment.get("target", plan["target"]) != plan["target"]:
            raise ModelError(f"a plan for {plan['target']} has the environment of another target")
        for each in values.entries(environment.get("compute_capabilities", []), "compute_capabilities", _MOST):
            values.text(each, "a compute capability")


def _check_nodes(kept: Any) -> None:
    for name, nodes in values.members(kept, "keep_fp32 in the engine's manifest").items():
        for node in values.entries(nodes, f"keep_fp32 of {values.shown(name)}", 1_000_000):
            if not isinstance(node, str):
                raise ModelError(f"keep_fp32 lists {values.shown(node)}; expected the name of a node's output")


def _check_reasons(reasons: Any, title: str) -> None:
    for name, reason in values.members(reasons, f"{title} in the engine's manifest").items():
        if not isinstance(reason, str):
            raise ModelError(f"{title} has {values.shown(reason)} for {values.shown(name)}; expected a reason")


def _check_errors(errors: Mapping[str, Any]) -> None:
    _check_reasons(errors.get("not_measured", {}), "not_measured")
    for outputs in values.members(errors.get("measured", {}), "measured errors").values():
        for found in values.members(outputs, "the errors of a backend").values():
            for value in values.members(found, "the errors of an output").values():
                if type(value) not in (int, float):
                    raise ModelError(f"an error is {values.shown(value)}; expected a number")


def _check_members(described: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    for name in sorted({*described, *sizes}):
        if not _MEMBER.fullmatch(name):
            raise EngineError(f"the engine has a member called {name!r}, which no engine has: {BUILD_AGAIN}")
        if name not in sizes:
            raise EngineError(f"the engine lacks {name}, which its manifest lists: {BUILD_AGAIN}")
        entry = described.get(name)
        sha256 = entry.get("sha256") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise EngineError(f"the engine's manifest has no hash of {name}: {BUILD_AGAIN}")
        if type(entry.get("size")) is not int or entry["size"] != sizes[name]:
            found = values.shown(entry.get("size"))
            raise EngineError(f"{name} in the engine has {sizes[name]} bytes, its manifest says {found}: {BUILD_AGAIN}")


def _from_format_1(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Format 1 called the plate `background`, and the background `backdrop`."""
    words = {"background": PLATE, "backdrop": BACKGROUND}
    program = values.members(manifest["program"], "the program", "stages")
    stages = []
    for stage in values.entries(program["stages"], "the list of stages", _MOST):
        values.members(stage, "a stage", "inputs")
        names = values.entries(stage["inputs"], "the list of inputs", _MOST)
        stages.append({**stage, "inputs": [words.get(values.text(name, "an input"), name) for name in names]})
    return {**manifest, "format": FORMAT, "program": {**program, "stages": stages}}
