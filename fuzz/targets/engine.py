"""Engine files: damaged archives, manifests and networks, with and without hashes that fit."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import random
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError, Message
from onnx import ModelProto, NodeProto, TensorProto

from fuzz.json_changes import changed
from fuzz.targets.program import run
from fuzz.tiny_engines import all_engines
from trtmatte.api import Engine, load
from trtmatte.errors import TrtmatteError
from trtmatte.format.file import Plan
from trtmatte.reports import inspect

__all__ = ["attack", "mutate", "seeds"]

_ONE_SESSION_IN = 64
_ONE_REPORT_IN = 8
_MANIFEST = "manifest.json"


def seeds() -> list[bytes]:
    return list(_files())


def mutate(data: bytes, random: random.Random) -> bytes:
    """Change a member and make the hashes and the archive fit again."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        manifest = json.loads(members.pop(_MANIFEST))
        manifest, members = _changed(manifest, members, random)
        return _archive(json.dumps(manifest).encode(), members)
    except (zipfile.BadZipFile, ValueError, KeyError, RecursionError, NotImplementedError, EOFError, zlib.error):
        return data


def attack(data: bytes) -> bool:
    descriptor = os.memfd_create("engine")
    try:
        os.write(descriptor, data)
        return _accepted(f"/proc/self/fd/{descriptor}", zlib.crc32(data))
    except TrtmatteError as error:
        return _clean(str(error))
    finally:
        os.close(descriptor)


def _accepted(path: str, number: int) -> bool:
    engine = load(path, safe=number % 2 == 0)
    networks = {name: content for name, content in engine.contents() if not _is_plan(name)}
    for content in networks.values():
        _require_self_contained(content)
    if number % _ONE_REPORT_IN == 0:
        text = inspect.describe(inspect.of_engine(engine))
        assert text.replace("\n", "").isprintable(), "a control character in the report"
    if number % _ONE_SESSION_IN == 0 and _known_networks().issuperset(networks.values()):
        run(engine)  # other networks are the libraries' matter
    return True


def _clean(message: str) -> bool:
    """False, for a refusal whose message may be shown."""
    assert message.replace("\n", "").isprintable(), "a control character in a message"
    return False


def _is_plan(name: str) -> bool:
    return name.startswith("plans/") and not name.startswith("plans/onnxruntime/")


# ---------------------------------------------------------------------------------------------------------------------
# Good files, and changes


@functools.cache
def _files() -> tuple[bytes, ...]:
    return tuple(_file(_with_plans(engine)) for engine in all_engines())


@functools.cache
def _known_networks() -> frozenset[bytes]:
    return frozenset(content for engine in all_engines() for _, content in engine.contents())


def _with_plans(engine: Engine) -> Engine:
    networks = dict(engine.contents())
    named = {name.removesuffix(".onnx"): content for name, content in networks.items()}
    code = Plan("tensorrt", "0123", dict.fromkeys(named, b"a plan"), {"environment": {"target": "tensorrt"}})
    about = {
        "settings": {"precision": "fp16", "size": [32, 24]},
        "source": {"file": "tiny.onnx", "sha256": "0" * 64},
        "not_built": {"tensorrt-rtx": "there is no GPU"},
        "keep_fp32": {name: ["both"] for name in named},
    }
    made = Engine.of(engine.program, named, plans=[Plan("onnxruntime", "cpu", named), code], key="a key", **about)
    return made.with_errors({"measured": {"openvino": {"pha": {"mean": 0.1}}}, "not_measured": {"tensorrt": "no GPU"}})


def _file(engine: Engine) -> bytes:
    return _archive(json.dumps(engine.manifest).encode(), dict(engine.contents()))


def _archive(manifest: bytes, members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in {_MANIFEST: manifest, **members}.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return made.getvalue()


def _changed(manifest: Any, members: dict[str, bytes], random: random.Random) -> tuple[Any, dict[str, bytes]]:
    kind = random.randrange(4)
    if kind == 0 and members:
        name = random.choice(sorted(members))
        members[name] = _damaged(members[name], random)
        manifest["members"][name] = {"size": len(members[name]), "sha256": hashlib.sha256(members[name]).hexdigest()}
    elif kind == 1 and members:
        name = random.choice(sorted(members))
        other = random.choice(
            ("network-1.onnx", "plans/tensorrt/x/network-0.plan", "../x", "/x", "\x1b[2J", name + "x")
        )
        members[other] = members.pop(name)
        manifest["members"][other] = manifest["members"].pop(name)
    else:
        manifest = changed(manifest, random, random.choice((1, 1, 2, 4)))
    return manifest, members


def _damaged(content: bytes, random: random.Random) -> bytes:
    made = bytearray(content or b"\0")
    for _ in range(random.choice((1, 1, 2, 8))):
        place = random.randrange(len(made))
        if random.randrange(2):
            made[place] = random.randrange(256)
        else:
            made[place:place] = random.choice((b"\x6a\x00", b"\x70\x01", b"\xff" * 9, b"\x3a\x02x\0", bytes(made[:40])))
    return bytes(made)


# ---------------------------------------------------------------------------------------------------------------------
# What an accepted network may hold, as onnx itself reads it


def _require_self_contained(content: bytes) -> None:
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        return
    for message in _messages(model):
        if isinstance(message, TensorProto):
            assert not message.external_data, "data in other files was accepted"
            assert message.data_location == TensorProto.DEFAULT, "data in other files was accepted"
        if isinstance(message, NodeProto):
            assert message.domain in ("", "ai.onnx"), "an operator of another domain was accepted"


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if hasattr(value, "add") else (value,):
                yield from _messages(each)
