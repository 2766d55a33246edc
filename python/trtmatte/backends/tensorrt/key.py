"""The key of a plan: a hash over everything that it depends on. Also checks if a plan fits this machine."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from trtmatte.backends import driver
from trtmatte.backends.tensorrt import bindings, targets
from trtmatte.errors import SettingError

Bounds = Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]
"""The smallest, the usual and the largest shape of each input that has no fixed one."""

PORTABLE: Final = ("8.6", "8.9", "12.0")
"""The compute capabilities that TensorRT-RTX builds for by default."""


class Flags(NamedTuple):
    """Flags of the builder by their names, since their numbers differ from version to version."""

    on: tuple[str, ...]
    off: tuple[str, ...]


def flags(target: str, *, tf32: bool = False) -> Flags:
    """The flags of a build. TF32 has no more mantissa than float16, so it is on only if it is asked for."""
    on = ("REQUIRE_USER_ALLOCATION",) if target == "tensorrt-rtx" else ()
    return Flags((*on, "TF32"), ()) if tf32 else Flags(on, ("TF32",))


def environment(
    target: str, *, compute_capabilities: Sequence[str] | None = None, gpu: int = 0, plugins: Path | None = None
) -> dict[str, Any]:
    """The environment that a plan built here depends on, as JSON values."""
    place: dict[str, Any] = {
        "target": target,
        "version": bindings.version(target),
        "system": platform.system(),
        "machine": platform.machine(),
    }
    if plugins is not None:
        place["plugins"] = hashlib.sha256(plugins.read_bytes()).hexdigest()
    if target == "tensorrt":
        return {**place, "gpu": driver.gpu(gpu).to_json()}
    return {**place, "compute_capabilities": list(checked_capabilities(compute_capabilities) or PORTABLE)}


def plan_key(
    model: bytes,
    *,
    target: str,
    bounds: Bounds | None = None,
    compute_capabilities: Sequence[str] | None = None,
    gpu: int = 0,
    plugins: Path | None = None,
    tf32: bool = False,
) -> str:
    """The key of the plan that `build_plan` makes of the same arguments: 32 digits."""
    ingredients = {
        "environment": environment(target, compute_capabilities=compute_capabilities, gpu=gpu, plugins=plugins),
        "model": hashlib.sha256(model).hexdigest(),
        "bounds": {name: [list(shape) for shape in shapes] for name, shapes in (bounds or {}).items()},
        "typing": "strong",
        "on": sorted(flags(target, tf32=tf32).on),
        "off": sorted(flags(target, tf32=tf32).off),
        "portable": not compute_capabilities,
    }
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()[:32]


def plan_unavailable_reason(built: Mapping[str, Any], gpu: int = 0) -> str | None:
    """Why a plan that was built in the environment `built` does not run here; None if it does."""
    target = built["target"]
    reason = targets.run_unavailable_reason(target, gpu)
    if reason is not None:
        return reason
    here = environment(target, gpu=gpu)
    portable_to = here.pop("compute_capabilities", [])
    for name, found in here.items():
        if found != built.get(name):
            return f"the plan was built for {name} {_text(built.get(name))}, and here is {_text(found)}: build it again"
    capability, allowed = driver.gpu(gpu).capability, built.get("compute_capabilities", [])
    if portable_to and capability not in allowed:
        return (
            f"the plan was built for compute capability {', '.join(allowed)}, and here is {capability}: build it again"
        )
    return None


def checked_capabilities(wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Sort compute capabilities and remove duplicates."""
    known = targets.capabilities() if wanted else ()
    unknown = [each for each in wanted or () if each not in known]
    if unknown:
        raise SettingError(f"compute capability {', '.join(unknown)} is not among {', '.join(known)} of TensorRT-RTX")
    return tuple(each for each in known if each in (wanted or ()))


def _text(value: Any) -> str:
    return ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else str(value)
