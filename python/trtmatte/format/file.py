"""The engine file, `*.trtm`, in which the two wings meet (`docs/engine.md`).

It holds a manifest, the networks in ONNX and the plans compiled from them. `format.archive` is the zip around them.
What is read is checked: the archive and the manifest at once, each member against its hash before its first use.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from trtmatte.errors import BackendError, EngineError, FrameError, ModelError
from trtmatte.format.archive import BUILD_AGAIN, Member, begins_as_archive, held, read_archive, write_archive
from trtmatte.format.manifest import FORMAT, checked_manifest
from trtmatte.format.onnx_file import check_network
from trtmatte.format.program import Program
from trtmatte.support.limits import Limits
from trtmatte.version import __version__

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "CPU_PLAN",
    "CUDA_PLAN",
    "DEFORM_CONV",
    "FORMAT",
    "SUFFIX",
    "EngineFile",
    "Plan",
    "is_engine",
    "read",
    "read_as",
    "write",
]

SUFFIX: Final = ".trtm"
_LARGE: Final = 1 << 20

CPU_PLAN: Final = ("onnxruntime", "cpu")
"""Target and key of the plan that holds the networks in the form that CPUs run fastest, which is ONNX as well."""

DEFORM_CONV: Final = "deform_conv"
"""In the info of a CPU plan whose networks have DeformConv: the bytes of the largest one's columns."""

CUDA_PLAN: Final = ("onnxruntime", "cuda")
"""Target and key of the plan that holds the networks in float16, as ONNX, for GPUs without TensorRT."""

_ONNX_TARGET: Final = CPU_PLAN[0]
"""The target whose plans are no code, but ONNX."""


@dataclass(frozen=True)
class Plan:
    """An engine's networks as compiled by one target, for the machines that `key` stands for."""

    target: str
    key: str
    networks: Mapping[str, bytes]
    info: Mapping[str, Any] = field(default_factory=dict)


class EngineFile:
    """A program with all that is needed to run it: its networks in ONNX, and plans compiled from them."""

    limits: Limits | None = None
    """The limits of `restricted`."""

    def __init__(self, manifest: Mapping[str, Any], members: Mapping[str, Member], path: Path | None = None):
        """`members` are all files of the engine but the manifest. `of` and `read` make engines."""
        sizes = {name: member.size for name, member in members.items()}
        self.manifest: dict[str, Any] = checked_manifest(manifest, sizes)
        self.program: Program = Program.from_json(self.manifest["program"])
        self.path = path
        self._members = members
        self._verified: set[str] = set()
        for stage in self.program.networks:
            if _network_member(stage.name) not in members:
                raise EngineError(f"{self} lacks {_network_member(stage.name)}: {BUILD_AGAIN}")

    @classmethod
    def of(
        cls,
        program: Program,
        networks: Mapping[str, bytes],
        *,
        plans: Sequence[Plan] = (),
        settings: Mapping[str, Any] | None = None,
        source: Mapping[str, Any] | None = None,
        not_built: Mapping[str, str] | None = None,
        keep_fp32: Mapping[str, Sequence[str]] | None = None,
        errors: Mapping[str, Any] | None = None,
        key: str = "",
    ) -> Self:
        """An engine in memory. `networks` are the program's by their names, in ONNX; `source` is the model it is of.

        `not_built` gives the reason for each target without a plan. `keep_fp32` lists, for each network, the nodes that
        an fp16 plan computes in float32, by their first outputs. `key` stands for all that the engine depends on, so
        that the same engine is not built twice.
        """
        files = {_network_member(name): held(bytes(data)) for name, data in networks.items()}
        manifest = {
            "format": FORMAT,
            "made_by": f"trtmatte {__version__}",
            "family": program.family,
            "key": key,
            "settings": dict(settings or {}),
            "source": dict(source or {}),
            "program": program.to_json(),
            "plans": [],
            "not_built": dict(not_built or {}),
            "keep_fp32": {name: list(nodes) for name, nodes in (keep_fp32 or {}).items()},
            "errors": dict(errors or {}),
            "members": {name: _described(member.read()) for name, member in files.items()},
        }
        return cls(json.loads(json.dumps(manifest)), files).with_plans(plans, key)

    def with_plans(self, plans: Sequence[Plan], key: str = "") -> Self:
        """The same engine with these plans besides its own."""
        members, described = dict(self._members), dict(self.manifest["members"])
        for plan in plans:
            for name, data in plan.networks.items():
                member = _plan_member(plan.target, plan.key, name)
                members[member] = held(bytes(data))
                described[member] = _described(members[member].read())
        entries = [{"target": plan.target, "key": plan.key, "info": dict(plan.info)} for plan in plans]
        new = {(plan.target, plan.key) for plan in plans}
        kept = [each for each in self.manifest["plans"] if (each["target"], each["key"]) not in new]
        changes = {"plans": [*kept, *json.loads(json.dumps(entries))], "members": described, "key": key}
        return self._changed(changes, members)

    def with_errors(self, errors: Mapping[str, Any], key: str = "") -> Self:
        """The same engine with the errors that were measured."""
        return self._changed({"errors": json.loads(json.dumps(errors)), "key": key}, self._members)

    def _changed(self, changes: Mapping[str, Any], members: Mapping[str, Member]) -> Self:
        """Another engine, with the same limits."""
        engine = type(self)({**self.manifest, **changes}, members)
        engine.limits = self.limits
        return engine

    def restricted(self, limits: Limits) -> Self:
        """The engine for a service: without compiled plans, which are code, and with limits on frames.

        Its networks run instead, or plans that are compiled from them here.
        """
        code = [plan for plan in self.manifest["plans"] if plan["target"] != _ONNX_TARGET]
        reasons = {plan["target"]: "the file's plan is code, which safe mode does not run" for plan in code}
        changes = {
            "plans": [plan for plan in self.manifest["plans"] if plan not in code],
            "not_built": {**self.manifest["not_built"], **reasons},
            "members": {name: each for name, each in self.manifest["members"].items() if not _is_code(name)},
        }
        members = {name: member for name, member in self._members.items() if not _is_code(name)}
        engine = self._changed(changes, members)
        engine.path, engine.limits = self.path, limits
        return engine

    def for_frame(self, width: int, height: int) -> Program:
        """The program for frames of this size, if the limits allow it."""
        if self.limits is not None and width * height > self.limits.pixels:
            raise FrameError(
                f"a frame is {width}x{height} pixels, {width * height} in all; expected at most {self.limits.pixels}: "
                "give smaller frames, or allow more (safe=Limits(pixels=…))"
            )
        return self.program.for_frame(width, height)

    def network(self, name: str) -> bytes:
        """The network of this name: an ONNX model in float32."""
        return self._verified_member(_network_member(name))

    @property
    def keep_fp32(self) -> dict[str, list[str]] | None:
        """The nodes of each network that stay in float32 in an fp16 plan; None if the engine does not list them."""
        found: dict[str, list[str]] | None = self.manifest.get("keep_fp32")
        return found

    @property
    def uses_tf32(self) -> bool:
        """Report if the networks may round what they multiply to TF32, on a GPU."""
        return bool(self.manifest["settings"].get("precision") == "tf32")

    @property
    def plans(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The facts about each plan: by target, then by key."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for plan in self.manifest["plans"]:
            found.setdefault(plan["target"], {})[plan["key"]] = plan["info"]
        return found

    def plan(self, target: str, key: str, name: str) -> bytes | None:
        """The plan of one network; None where the engine holds none."""
        member = _plan_member(target, key, name)
        return self._verified_member(member) if member in self._members else None

    @property
    def members(self) -> dict[str, int]:
        """All files but the manifest, and their sizes."""
        return {name: member.size for name, member in self._members.items()}

    def verify(self) -> None:
        """Checks every member against its hash; raises an EngineError where one differs."""
        for _ in self.contents():
            pass

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """The names and the contents of all members, checked, one after another."""
        return ((name, self._verified_member(name)) for name in self._members)

    def with_plan_for(self, target: str, gpu: int) -> EngineFile:
        """The engine with a plan of `target` for this GPU, which is the last one of that target.

        A file cannot compile: a BackendError says so. `trtmatte.Engine` compiles.
        """
        raise BackendError(f"{self} has no {target} plan for cuda:{gpu}: build it again on this machine")

    def _verified_member(self, name: str) -> bytes:
        """The content of a member: a copy that has the hash and, for ONNX, may be given to a runtime."""
        if name not in self._members:
            raise EngineError(f"{self} has no {name}; it has {', '.join(sorted(self._members))}")
        member = self._members[name]
        data = member.read()
        if member.is_held and name in self._verified:
            return data
        hashed = _hashed_meanwhile(data)
        refusal = None if _is_code(name) else self._refusal(name, data)
        found, expected = hashed(), self.manifest["members"][name]["sha256"]
        if found != expected:
            raise EngineError(f"{name} in {self} has the sha256 {found}, expected {expected}: {BUILD_AGAIN}")
        if refusal is not None:
            raise EngineError(f"{name} in {self} cannot be used: {refusal}; do not use this file") from refusal
        self._verified.add(name)
        return data

    def _refusal(self, name: str, data: bytes) -> ModelError | None:
        """The reason to refuse a network: it reaches out of the file, or the program is not made for it."""
        stages = {stage.name: stage for stage in self.program.networks}
        narrow = name.startswith("plans/" + "/".join(CUDA_PLAN))
        try:
            check_network(data, stages.get(Path(name).stem), self.program.tensors, narrow=narrow)
        except ModelError as error:
            return error
        return None

    def __str__(self) -> str:
        return f"the engine {self.path}" if self.path else "the engine in memory"

    def __repr__(self) -> str:
        width, height = self.program.size
        targets = ", ".join(self.plans) or "no plans"
        place = self.path or "in memory"
        return f"<Engine {self.program.family} {self.program.variant} {width}x{height}, {targets}: {place}>"


def _network_member(name: str) -> str:
    return f"{name}.onnx"


def _plan_member(target: str, key: str, name: str) -> str:
    return f"plans/{target}/{key}/{name}.plan"


def _is_code(member: str) -> bool:
    """Report if a member is a compiled plan, and not ONNX."""
    return member.startswith("plans/") and not member.startswith(f"plans/{_ONNX_TARGET}/")


def _described(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "sha256": _sha256(data)}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hashed_meanwhile(data: bytes) -> Callable[[], str]:
    """The hash. For much data it is computed on another thread until it is asked for: hashing lets Python run."""
    if len(data) < _LARGE:
        return lambda: _sha256(data)
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(_sha256(data)), daemon=True)
    try:
        thread.start()
    except RuntimeError:  # there is no further thread
        return lambda: _sha256(data)

    def result() -> str:
        thread.join()
        return found[0] if found else _sha256(data)

    return result


# ---------------------------------------------------------------------------------------------------------------------
# Files

E = TypeVar("E", bound=EngineFile)


def read(path: str | Path, limits: Limits | None = None) -> EngineFile:
    """The engine in a file. Each network and plan is read at its use, and checked against its hash.

    Plans are code for the device: load only engines that you built, or whose maker you trust. With `limits` the plans
    are left out (`EngineFile.restricted`).
    """
    return read_as(EngineFile, path, limits)


def is_engine(path: str | Path) -> bool:
    """Report if a file is an engine by its suffix, or else by its content."""
    path = Path(path)
    return path.suffix == SUFFIX or (os.path.isfile(path) and begins_as_archive(path))


def read_as(kind: type[E], path: str | Path, limits: Limits | None = None) -> E:
    """The engine in a file, of a class that can do more."""
    path = Path(path)
    manifest, members = read_archive(path, None if limits is None else limits.file_bytes)
    try:
        engine = kind(manifest, members, path)
        return engine if limits is None else engine.restricted(limits)
    except (EngineError, ModelError) as error:
        raise EngineError(f"{path} cannot be loaded: {error}") from error


def write(engine: EngineFile, path: str | Path) -> EngineFile:
    """Writes an engine and returns the engine in the file. An interrupted write leaves nothing behind."""
    path = Path(path)
    write_archive(path, engine.manifest, engine.contents())
    written = read(path)
    written.verify()
    return written
