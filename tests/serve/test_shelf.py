"""The models of a server: loaded when they are asked for, gone when memory runs out."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.session import engines
from tests.serve import serving
from tests.serve.serving import encoded
from trtmatte.apps.picture_queue import Wanted
from trtmatte.compiler.families import catalog
from trtmatte.errors import FullError, SettingError
from trtmatte.format.file import write
from trtmatte.media.still import Encoded
from trtmatte.serve import shelf
from trtmatte.serve.settings import Settings
from trtmatte.serve.shelf import Shelf
from trtmatte.support import memory_use

PICTURE = Encoded(encoded(engines.noise(0)))
MIB = 1 << 20


def three(**settings: Any) -> Shelf:
    models = {name: engines.memory() for name in "abc"}
    return Shelf(Settings(models=models, model="a", options={"backend": "onnxruntime"}, **settings))


def use(found: Shelf, name: str) -> None:
    model = found.lend(name)
    model.pictures.submit(PICTURE, Wanted()).result(60)
    found.take_back(model)


def names(found: Shelf) -> list[str]:
    return [each.name for each in found.loaded]


def test_models_are_loaded_when_they_are_asked_for() -> None:
    found = three()
    assert found.names == ("a", "b", "c")
    assert found.default == "a"
    assert names(found) == []
    use(found, "b")
    assert names(found) == ["b"]
    model = found.lend(None)
    assert model.name == "a"
    assert found.lend("a") is model
    found.close()
    assert names(found) == []


def test_known_models() -> None:
    found = Shelf(Settings())
    assert found.default == "rvm-mobilenetv3"
    assert {"u2net", "u2netp", "isnet-general-use"} <= set(found.names)
    assert not [name for name in found.names if not catalog.find(name).sources and not catalog.find(name).is_here]
    model = found.lend("u2net_human_seg")  # as rembg calls it
    assert model.name == "u2net-human"
    found.close()


def test_names_that_there_are_not() -> None:
    with pytest.raises(SettingError, match="model is 'd'; expected a, b, c"):
        three().lend("d")
    with pytest.raises(SettingError, match="no known model is called '/etc/passwd'"):
        Shelf(Settings()).lend("/etc/passwd")
    with pytest.raises(SettingError, match="model is 'u2net'; expected a"):
        Shelf(Settings(models={"a": engines.memory()}, model="a")).lend("u2net")
    with pytest.raises(SettingError, match="model is 'z'"):
        Shelf(Settings(models={"a": engines.memory()}, model="z"))


def test_an_engine_file(tmp_path: Path) -> None:
    write(engines.memory(2), tmp_path / "two.trtm")
    found = Shelf(Settings(models={"two": tmp_path / "two.trtm"}, model="two", options={"backend": "onnxruntime"}))
    use(found, "two")
    found.close()


def test_the_least_used_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    used = [0]
    monkeypatch.setattr(memory_use, "resident", lambda: used[0] * MIB)
    monkeypatch.setattr(shelf, "_EVERY", 0.0)
    found = three(max_memory=100 * MIB)
    for name in "abca":
        use(found, name)
    assert set(names(found)) == set("abc")
    gone = weakref.ref(next(each for each in found.loaded if each.name == "b"))
    leaving = [101, 101, 99]  # after b has left, it is still too much
    monkeypatch.setattr(memory_use, "resident", lambda: leaving.pop(0) * MIB)
    found.take_back(found.lend("a"))
    assert names(found) == ["a"]
    gc.collect()
    assert gone() is None
    found.close()


def test_models_at_work_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "_EVERY", 0.0)
    found = three(max_memory=100 * MIB)
    monkeypatch.setattr(memory_use, "resident", lambda: 0)
    lent = found.lend("a")
    monkeypatch.setattr(memory_use, "resident", lambda: 101 * MIB)
    assert found.lend("a") is lent  # what is there is not refused
    with pytest.raises(FullError, match="101 MiB of memory are in use, 100 MiB are allowed"):
        found.lend("b")
    found.take_back(lent)
    found.take_back(lent)
    monkeypatch.setattr(memory_use, "resident", lambda: 0 if not names(found) else 101 * MIB)
    use(found, "b")
    assert names(found) == ["b"]
    found.close()


@pytest.mark.parametrize("width", [1, 2])
def test_streams_of_one_shape_share_a_pool(width: int) -> None:
    found = Shelf(serving.tiny(width, streams=4))
    model = found.lend("tiny")
    streams = [model.join((64, 48), False) for _ in range(3)]
    other = model.join((64, 48), True)
    assert model.streams == 4
    assert len(model._pools) == 2
    assert not model.is_idle
    for each in (*streams, other):
        each.leave()
    assert model.streams == 0
    found.close()


@pytest.mark.alone
def test_memory_use() -> None:
    before = memory_use.resident()
    held = bytearray(64 * MIB)
    assert memory_use.resident() - before > 32 * MIB
    assert memory_use.of_the_machine() > memory_use.resident()
    del held
    memory_use.give_back()
    assert memory_use.resident() - before < 32 * MIB
