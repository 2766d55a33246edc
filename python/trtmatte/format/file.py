"""The engine file, `*.trtm`, in which the two wings meet (`docs/engine.md`).

It holds a manifest, the networks in ONNX and the plans compiled from them. `format.archive` is the zip around them.
What is read is checked: the archive and the manifest at once, each member against its hash before its first use.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trtmatte.errors import BackendError, EngineError, ModelError
from trtmatte.format.archive import BUILD_AGAIN, read_archive, write_archive
from trtmatte.format.program import BACKGROUND, PLATE, Program
from trtmatte.version import __version__

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CPU_PLAN", "CUDA_PLAN", "FORMAT", "SUFFIX", "EngineFile", "Plan", "read", "write"]

FORMAT: Final = 2
SUFFIX: Final = ".trtm"

CPU_PLAN: Final = ("onnxruntime", "cpu")
"""Target and key of the plan that holds the networks in the form that CPUs run fastest, which is ONNX as well."""

CUDA_PLAN: Final = ("onnxruntime", "cuda")
"""Target and key of the plan that holds the networks in float16, as ONNX, for GPUs without TensorRT."""

_MEMBER: Final = re.compile(
    r"network-\d{1,4}\.onnx|plans/[a-z][a-z-]*/[0-9A-Za-z][0-9A-Za-z_.-]*/network-\d{1,4}\.plan"
)


@dataclass(frozen=True)
class Plan:
    """An engine's networks as compiled by one target, for the machines that `key` stands for."""

    target: str
    key: str
    networks: Mapping[str, bytes]
    info: Mapping[str, Any] = field(default_factory=dict)


class EngineFile:
    """A program with all that is needed to run it: its networks in ONNX, and plans compiled from them."""

    def __init__(self, manifest: Mapping[str, Any], members: Mapping[str, memoryview], path: Path | None = None):
        """`members` are all files of the engine but the manifest. `of` and `read` make engines."""
        self.manifest: dict[str, Any] = _checked_manifest(manifest, members)
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
        files = {_network_member(name): memoryview(data) for name, data in networks.items()}
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
            "members": {name: _described(data) for name, data in files.items()},
        }
        return cls(json.loads(json.dumps(manifest)), files).with_plans(plans, key)

    def with_plans(self, plans: Sequence[Plan], key: str = "") -> Self:
        """The same engine with these plans besides its own."""
        members, described = dict(self._members), dict(self.manifest["members"])
        for plan in plans:
            for name, data in plan.networks.items():
                member = _plan_member(plan.target, plan.key, name)
                members[member] = memoryview(data)
                described[member] = _described(members[member])
        entries = [{"target": plan.target, "key": plan.key, "info": dict(plan.info)} for plan in plans]
        new = {(plan.target, plan.key) for plan in plans}
        kept = [each for each in self.manifest["plans"] if (each["target"], each["key"]) not in new]
        changes = {"plans": [*kept, *json.loads(json.dumps(entries))], "members": described, "key": key}
        return type(self)({**self.manifest, **changes}, members)

    def with_errors(self, errors: Mapping[str, Any], key: str = "") -> Self:
        """The same engine with the errors that were measured."""
        return type(self)({**self.manifest, "errors": json.loads(json.dumps(errors)), "key": key}, self._members)

    def network(self, name: str) -> memoryview:
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

    def plan(self, target: str, key: str, name: str) -> memoryview | None:
        """The plan of one network; None where the engine holds none."""
        member = _plan_member(target, key, name)
        return self._verified_member(member) if member in self._members else None

    @property
    def members(self) -> dict[str, int]:
        """All files but the manifest, and their sizes."""
        return {name: data.nbytes for name, data in self._members.items()}

    def verify(self) -> None:
        """Checks every member against its hash; raises an EngineError where one differs."""
        for name in self._members:
            self._verified_member(name)

    def with_plan_for(self, target: str, gpu: int) -> EngineFile:
        """The engine with a plan of `target` for this GPU, which is the last one of that target.

        A file cannot compile: a BackendError says so. `trtmatte.Engine` compiles.
        """
        raise BackendError(f"{self} has no {target} plan for cuda:{gpu}: build it again on this machine")

    def _verified_member(self, name: str) -> memoryview:
        if name not in self._members:
            raise EngineError(f"{self} has no {name}; it has {', '.join(sorted(self._members))}")
        data = self._members[name]
        if name not in self._verified:
            found, expected = _sha256(data), self.manifest["members"][name]["sha256"]
            if found != expected:
                raise EngineError(f"{name} in {self} has the sha256 {found}, expected {expected}: {BUILD_AGAIN}")
            self._verified.add(name)
        return data

    def __str__(self) -> str:
        return f"the engine {self.path}" if self.path else "the engine in memory"

    def __repr__(self) -> str:
        width, height = self.program.size
        targets = ", ".join(self.plans) or "no plans"
        return f"<Engine {self.program.family} {self.program.variant} {width}x{height}, {targets}: {self.path}>"


def _network_member(name: str) -> str:
    return f"{name}.onnx"


def _plan_member(target: str, key: str, name: str) -> str:
    return f"plans/{target}/{key}/{name}.plan"


def _described(data: memoryview) -> dict[str, Any]:
    return {"size": data.nbytes, "sha256": _sha256(data)}


def _sha256(data: memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def _checked_manifest(manifest: Any, members: Mapping[str, memoryview]) -> dict[str, Any]:
    """The manifest in today's format, if it is complete and describes the members."""
    known = manifest.get("format") if isinstance(manifest, Mapping) else None
    if not isinstance(known, int) or known < 1:
        raise EngineError(f"the engine's manifest has no format version: {BUILD_AGAIN}")
    if known > FORMAT:
        raise EngineError(
            f"the engine has format {known} (made by {manifest.get('made_by', 'a newer trtmatte')}), and trtmatte "
            f"{__version__} reads up to {FORMAT}: update trtmatte, or build the engine again with this one"
        )
    expected = {"settings": dict, "source": dict, "program": dict, "plans": list, "errors": dict, "members": dict}
    for name, kind in expected.items():
        if not isinstance(manifest.get(name), kind):
            raise EngineError(f"{name} in the engine's manifest is not as expected: {BUILD_AGAIN}")
    for plan in manifest["plans"]:
        if not (isinstance(plan, dict) and isinstance(plan.get("info"), dict)) or not all(
            isinstance(plan.get(name), str) for name in ("target", "key")
        ):
            raise EngineError(f"plans in the engine's manifest are not as expected: {BUILD_AGAIN}")
    if not isinstance(manifest.get("keep_fp32", {}), dict):
        raise EngineError(f"keep_fp32 in the engine's manifest is not as expected: {BUILD_AGAIN}")
    _check_members(manifest["members"], members)
    return _from_format_1(manifest) if known == 1 else dict(manifest)


def _from_format_1(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Format 1 called the plate `background`, and the background `backdrop`."""
    words = {"background": PLATE, "backdrop": BACKGROUND}
    try:
        stages = [
            {**stage, "inputs": [words.get(name, name) for name in stage["inputs"]]}
            for stage in manifest["program"]["stages"]
        ]
    except (KeyError, TypeError) as error:
        raise EngineError(f"the engine's program is not as expected ({error}): {BUILD_AGAIN}") from error
    return {**manifest, "format": FORMAT, "program": {**manifest["program"], "stages": stages}}


def _check_members(described: Mapping[str, Any], members: Mapping[str, memoryview]) -> None:
    for name in sorted({*described, *members}):
        if not _MEMBER.fullmatch(name):
            raise EngineError(f"the engine has a member called {name!r}, which no engine has: {BUILD_AGAIN}")
        if name not in members:
            raise EngineError(f"the engine lacks {name}, which its manifest lists: {BUILD_AGAIN}")
        entry = described.get(name)
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
            raise EngineError(f"the engine's manifest has no hash of {name}: {BUILD_AGAIN}")
        size = members[name].nbytes
        if entry.get("size") != size:
            raise EngineError(
                f"{name} in the engine has {size} bytes, its manifest says {entry.get('size')}: {BUILD_AGAIN}"
            )


# ---------------------------------------------------------------------------------------------------------------------
# Files


def read(path: str | Path) -> EngineFile:
    """The engine in a file. Networks and plans are mapped; each is checked against its hash before its first use.

    Plans are code for the device: load only engines that you built, or whose maker you trust.
    """
    path = Path(path)
    manifest, members = read_archive(path)
    try:
        return EngineFile(manifest, members, path)
    except (EngineError, ModelError) as error:
        raise EngineError(f"{path} cannot be loaded: {error}") from error


def write(engine: EngineFile, path: str | Path) -> EngineFile:
    """Writes an engine and returns the engine in the file. An interrupted write leaves nothing behind."""
    path = Path(path)
    engine.verify()
    write_archive(path, engine.manifest, engine._members)
    return read(path)
