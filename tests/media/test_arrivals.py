"""Pictures that appear in a folder, each once it is whole."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest

from tests.media import films
from trtmatte.errors import InputError
from trtmatte.media import arrivals, still
from trtmatte.media.arrivals import Arrivals

pytest.importorskip("PIL")

from PIL import Image


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watched(tmp_path: Path, clock: Clock) -> Arrivals:
    return Arrivals(tmp_path, clock=clock)


def encoded(seed: int = 0, format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(films.picture(seed, 64, 48)).save(file, format)
    return file.getvalue()


def taken(watched: Arrivals) -> list[str]:
    """The names of the pictures that are whole at this look. An error is the name with a question mark."""
    names = []
    for path in watched.look():
        try:
            if watched.read(path) is None:
                continue
            names.append(path.name)
        except InputError:
            names.append(f"{path.name}?")
        watched.finish(path)
    return names


def test_a_picture_is_taken_once_when_it_is_the_same_twice(tmp_path: Path, watched: Arrivals) -> None:
    (tmp_path / "10.png").write_bytes(encoded())
    (tmp_path / "9.png").write_bytes(encoded())
    assert [taken(watched) for _ in range(4)] == [[], ["9.png", "10.png"], [], []]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("stalls", [1, 4])
def test_a_file_that_grows(format: str, stalls: int, tmp_path: Path, watched: Arrivals, clock: Clock) -> None:
    """Its writer may pause for longer than between two looks."""
    data = encoded(0, format)
    path = tmp_path / f"a.{format.lower()}"
    step = len(data) // 7 + 1
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(data), step):
            assert path.stat().st_size < len(data)
            for _ in range(stalls):
                assert taken(watched) == []
                clock.now += 0.25
            file.write(data[start : start + step])
    assert [taken(watched) for _ in range(3)] == [[], [path.name], []]


def test_an_empty_file_may_be_filled_yet(tmp_path: Path, watched: Arrivals, clock: Clock) -> None:
    (tmp_path / "a.png").touch()
    for _ in range(4):
        assert taken(watched) == []
        clock.now += 0.5
    (tmp_path / "a.png").write_bytes(encoded())
    assert [taken(watched) for _ in range(2)] == [[], ["a.png"]]


@pytest.mark.parametrize("data", [b"", b"words", encoded()[:120]])
def test_a_damaged_one_is_told_once(data: bytes, tmp_path: Path, watched: Arrivals, clock: Clock) -> None:
    (tmp_path / "a.png").write_bytes(data)
    assert [taken(watched) for _ in range(3)] == [[], [], []]
    clock.now += arrivals._PATIENCE
    assert [taken(watched) for _ in range(3)] == [["a.png?"], [], []]
    (tmp_path / "a.png").write_bytes(encoded())  # it comes again
    assert [taken(watched) for _ in range(3)] == [[], ["a.png"], []]


def test_files_that_are_renamed_into_place(tmp_path: Path, watched: Arrivals) -> None:
    for name in ("a.png.part", ".a.png.tmp", ".hidden.png", "b.crdownload", "notes.txt"):
        (tmp_path / name).write_bytes(encoded())
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("nothing")
    assert [taken(watched) for _ in range(2)] == [[], []]
    (tmp_path / "a.png.part").rename(tmp_path / "a.png")
    assert [taken(watched) for _ in range(3)] == [[], ["a.png"], []]


def test_a_picture_that_changes_or_comes_again(tmp_path: Path, watched: Arrivals) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(0))
    assert [taken(watched) for _ in range(2)] == [[], ["a.png"]]
    (tmp_path / "new.png").write_bytes(encoded(1))
    os.replace(tmp_path / "new.png", path)
    assert [taken(watched) for _ in range(2)] == [[], ["a.png"]]
    path.unlink()
    assert taken(watched) == []
    path.write_bytes(encoded(0))
    assert [taken(watched) for _ in range(2)] == [[], ["a.png"]]


def test_a_picture_that_changes_while_it_is_read(
    tmp_path: Path, watched: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(0))
    assert taken(watched) == []
    real = still.read

    def read(*given: object) -> object:
        found = real(*given)
        path.write_bytes(encoded(1) + b"more")
        return found

    monkeypatch.setattr(still, "read", read)
    assert taken(watched) == []
    monkeypatch.undo()
    assert [taken(watched) for _ in range(2)] == [[], ["a.png"]]


def test_a_picture_that_goes_before_it_is_read(tmp_path: Path, watched: Arrivals) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    assert taken(watched) == []
    for path in watched.look():
        path.unlink()
        assert watched.read(path) is None
    assert taken(watched) == []


def test_the_picture_is_the_whole_one(tmp_path: Path, watched: Arrivals) -> None:
    (tmp_path / "a.png").write_bytes(encoded(7))
    list(watched.look())
    (path,) = watched.look()
    found = watched.read(path)
    assert found is not None
    np.testing.assert_array_equal(found.pixels, films.picture(7, 64, 48))


def test_a_folder_that_goes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the folder .*gone cannot be read: No such file"):
        list(Arrivals(tmp_path / "gone").look())
