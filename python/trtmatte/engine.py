"""The engine file, `*.trtm`, where the wing that compiles and the wing that runs meet (`docs/engine.md`).

It is a zip whose members are stored as they are, so that networks and plans are mapped and not copied. What is read is
checked: the archive and the manifest at once, each member against its hash before its first use.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import trtmatte
from trtmatte.errors import EngineError, ModelError
from trtmatte.files import replacing
from trtmatte.program import Program

if TYPE_CHECKING:
    from trtmatte.session import Session

__all__ = ["FORMAT", "Engine", "Plan", "load", "write"]

FORMAT: Final = 1
SUFFIX: Final = ".trtm"

_MANIFEST: Final = "manifest.json"
_LARGEST_MANIFEST: Final = 1 << 26
_MEMBER: Final = re.compile(
    r"network-\d{1,4}\.onnx|plans/[a-z][a-z-]*/[0-9A-Za-z][0-9A-Za-z_.-]*/network-\d{1,4}\.plan"
)
_ALIGNMENT: Final = 4096  # a page: what maps a plan can hand it on as it lies
_PADDING: Final = 0xD935  # the kind of a zip's extra field that is there to be skipped
_LOCAL_HEADER: Final = struct.Struct("<4s5H3I2H")

_AGAIN: Final = "build it again with trtmatte-build --force, or copy it again from where it comes from"


@dataclass(frozen=True)
class Plan:
    """What an inference engine compiled of an engine's networks, for the machines that `key` stands for."""

    target: str
    key: str
    networks: Mapping[str, bytes]
    info: Mapping[str, Any] = field(default_factory=dict)


class Engine:
    """A program with all that is needed to run it: its networks in ONNX, and plans compiled from them."""

    def __init__(self, manifest: Mapping[str, Any], members: Mapping[str, memoryview], path: Path | None = None):
        """`members` are all files of the engine but the manifest. `Engine.of` and `load` make engines."""
        self.manifest: dict[str, Any] = _checked_manifest(manifest, members)
        self.program: Program = Program.from_json(self.manifest["program"])
        self.path = path
        self._members = members
        self._verified: set[str] = set()
        for stage in self.program.networks:
            if _network_member(stage.name) not in members:
                raise EngineError(f"{self} lacks {_network_member(stage.name)}: {_AGAIN}")

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
        errors: Mapping[str, Any] | None = None,
        key: str = "",
    ) -> Engine:
        """An engine in memory. `networks` are the program's by their names, in ONNX; `source` is the model it is of.

        `not_built` says of targets why there is no plan for them. `key` stands for all that the engine depends on, so
        that the same engine need not be built twice.
        """
        files = {_network_member(name): memoryview(data) for name, data in networks.items()}
        manifest = {
            "format": FORMAT,
            "made_by": f"trtmatte {trtmatte.__version__}",
            "family": program.family,
            "key": key,
            "settings": dict(settings or {}),
            "source": dict(source or {}),
            "program": program.to_json(),
            "plans": [],
            "not_built": dict(not_built or {}),
            "errors": dict(errors or {}),
            "members": {name: _described(data) for name, data in files.items()},
        }
        return cls(json.loads(json.dumps(manifest)), files).with_plans(plans, key)

    def with_plans(self, plans: Sequence[Plan], key: str = "") -> Engine:
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
        return Engine({**self.manifest, **changes}, members)

    def with_errors(self, errors: Mapping[str, Any], key: str = "") -> Engine:
        """The same engine with the errors that were measured."""
        return Engine({**self.manifest, "errors": json.loads(json.dumps(errors)), "key": key}, self._members)

    def network(self, name: str) -> memoryview:
        """The network of this name: an ONNX model in float32."""
        return self._verified_member(_network_member(name))

    @property
    def plans(self) -> dict[str, dict[str, dict[str, Any]]]:
        """What is known of the plans: target, then key."""
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
        """Holds every member against its hash; an EngineError where one differs."""
        for name in self._members:
            self._verified_member(name)

    def session(self, **options: Any) -> Session:
        """A session that runs this engine."""
        from trtmatte.session import Session

        return Session(self, **options)

    def _verified_member(self, name: str) -> memoryview:
        if name not in self._members:
            raise EngineError(f"{self} has no {name}; it has {', '.join(sorted(self._members))}")
        data = self._members[name]
        if name not in self._verified:
            found, expected = _sha256(data), self.manifest["members"][name]["sha256"]
            if found != expected:
                raise EngineError(f"{name} in {self} has the sha256 {found}, expected {expected}: {_AGAIN}")
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
    """The manifest, if it has what is read here and describes the members that there are."""
    known = manifest.get("format") if isinstance(manifest, Mapping) else None
    if not isinstance(known, int) or known < 1:
        raise EngineError(f"the engine's manifest has no format version: {_AGAIN}")
    if known > FORMAT:
        raise EngineError(
            f"the engine has format {known} (made by {manifest.get('made_by', 'a newer trtmatte')}), and trtmatte "
            f"{trtmatte.__version__} reads up to {FORMAT}: update trtmatte, or build the engine again with this one"
        )
    expected = {"settings": dict, "source": dict, "program": dict, "plans": list, "errors": dict, "members": dict}
    for name, kind in expected.items():
        if not isinstance(manifest.get(name), kind):
            raise EngineError(f"{name} in the engine's manifest is not as expected: {_AGAIN}")
    for plan in manifest["plans"]:
        if not (isinstance(plan, dict) and isinstance(plan.get("info"), dict)) or not all(
            isinstance(plan.get(name), str) for name in ("target", "key")
        ):
            raise EngineError(f"plans in the engine's manifest are not as expected: {_AGAIN}")
    _check_members(manifest["members"], members)
    return dict(manifest)


def _check_members(described: Mapping[str, Any], members: Mapping[str, memoryview]) -> None:
    for name in sorted({*described, *members}):
        if not _MEMBER.fullmatch(name):
            raise EngineError(f"the engine has a member called {name!r}, which no engine has: {_AGAIN}")
        if name not in members:
            raise EngineError(f"the engine lacks {name}, which its manifest lists: {_AGAIN}")
        entry = described.get(name)
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
            raise EngineError(f"the engine's manifest has no hash of {name}: {_AGAIN}")
        size = members[name].nbytes
        if entry.get("size") != size:
            raise EngineError(f"{name} in the engine has {size} bytes, its manifest says {entry.get('size')}: {_AGAIN}")


# ---------------------------------------------------------------------------------------------------------------------
# Reading


def load(path: str | Path) -> Engine:
    """The engine in a file. Its networks and plans are mapped; each is checked against its hash before its first use.

    Plans are code for the device: load only engines that you built, or whose maker you trust.
    """
    path = Path(path)
    data = _mapped(path)
    try:
        members = dict(_members(data))
        manifest = _parsed(members.pop(_MANIFEST, None))
        return Engine(manifest, members, path)
    except (EngineError, ModelError) as error:
        raise EngineError(f"{path} cannot be loaded: {error}") from error


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise EngineError(f"{path} is empty (0 bytes): {_AGAIN}")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise EngineError(f"{path} does not exist; trtmatte-build MODEL -o {path.name} makes an engine") from error
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror or error}") from error


def _members(file: mmap.mmap) -> Iterator[tuple[str, memoryview]]:
    """The archive's files as parts of what is mapped. Whatever no engine of ours has is refused."""
    seen: set[str] = set()
    data = memoryview(file)
    for entry in _entries(file):
        name = entry.orig_filename
        if _leaves_the_archive(name):
            raise EngineError(f"it has a member {name!r}, whose path leaves the archive; do not use this file")
        if name in seen:
            raise EngineError(f"it has two members called {name!r}; do not use this file")
        seen.add(name)
        yield name, _stored(data, entry)


def _entries(file: mmap.mmap) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(cast(IO[bytes], file)) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, OSError, struct.error) as error:
        if file[:4] == b"PK\3\4":
            raise EngineError(f"it is truncated or damaged ({error}): {_AGAIN}") from error
        raise EngineError("it is not an engine file, which is a zip archive; trtmatte-build makes engines") from error


def _leaves_the_archive(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    return ".." in parts or parts[0] == "" or ":" in name or "\\" in name or "\0" in name


def _stored(data: memoryview, entry: zipfile.ZipInfo) -> memoryview:
    """The bytes of a member where they lie in the file."""
    name = entry.orig_filename
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
        raise EngineError(f"{name} is compressed or encrypted; an engine's members are stored as they are: {_AGAIN}")
    start = entry.header_offset
    header = bytes(data[start : start + _LOCAL_HEADER.size]) if start >= 0 else b""
    if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\3\4":
        raise EngineError(f"{name} is not where the archive says; the file is truncated or damaged: {_AGAIN}")
    *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    start += _LOCAL_HEADER.size
    if bytes(data[start : start + name_length]) != name.encode():
        raise EngineError(f"{name} has another name where it lies in the archive; do not use this file")
    start += name_length + extra_length
    if start + entry.file_size > len(data):
        raise EngineError(f"{name} ends after the file does; the file is truncated: {_AGAIN}")
    member = data[start : start + entry.file_size]
    if name == _MANIFEST and zlib.crc32(member) != entry.CRC:  # the others have hashes in there
        raise EngineError(f"its manifest is damaged: {_AGAIN}")
    return member


def _parsed(manifest: memoryview | None) -> Any:
    if manifest is None:
        raise EngineError(f"it has no {_MANIFEST}; it is a zip archive, but not an engine")
    if manifest.nbytes > _LARGEST_MANIFEST:
        raise EngineError(f"its manifest has {manifest.nbytes} bytes, expected at most {_LARGEST_MANIFEST}: {_AGAIN}")
    try:
        return json.loads(bytes(manifest))
    except (ValueError, RecursionError) as error:
        raise EngineError(f"its manifest is damaged ({error}): {_AGAIN}") from error


# ---------------------------------------------------------------------------------------------------------------------
# Writing


def write(engine: Engine, path: str | Path) -> Engine:
    """Writes an engine under a temporary name and renames it, so that no half of one is ever found.

    The same engine gives the same bytes. What comes back is the engine in the file.
    """
    path = Path(path)
    engine.verify()
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        manifest = json.dumps(engine.manifest, indent=1, ensure_ascii=False)
        archive.writestr(zipfile.ZipInfo(_MANIFEST), manifest)
        for name in engine.members:
            archive.writestr(_aligned(name, file.tell()), engine._members[name])
    return load(path)


def _aligned(name: str, offset: int) -> zipfile.ZipInfo:
    """The member's entry, padded so that its data begin on a page."""
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o644 << 16
    padding = -(offset + _LOCAL_HEADER.size + len(name) + 4) % _ALIGNMENT
    info.extra = struct.pack("<HH", _PADDING, padding) + bytes(padding)
    return info
