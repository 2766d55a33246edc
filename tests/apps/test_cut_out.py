"""`trtmatte.cut_out`: a picture in any kind, and its cut-out in the same kind."""

from __future__ import annotations

import inspect
import io
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import trtmatte
from tests.runtime.session import engines
from trtmatte.apps import cut_out as app
from trtmatte.apps import matting
from trtmatte.cli.sessions import DEFAULT_MODEL
from trtmatte.errors import FrameError, InputError, SettingError
from trtmatte.format import file as engine_file
from trtmatte.support.limits import Limits

pytest.importorskip("PIL")

from PIL import Image

PICTURE = engines.noise(0, 31, 45)


@pytest.fixture(autouse=True)
def no_sessions() -> Iterator[None]:
    app._kept.clear()
    yield
    app._kept.clear()


def cut_out(picture: Any, **options: Any) -> Any:
    return trtmatte.cut_out(picture, **{"model": engines.memory(), "backend": "onnxruntime", **options})


def expected(output: str, picture: Any = PICTURE, **options: Any) -> Any:
    """What a session of its own makes of a picture."""
    with engines.memory().session(backend="onnxruntime", outputs=(output,), **options) as session:
        matte = session(picture)[0].copy()
    if output == "rgba":
        matte[matte[..., 3] == 0] = 0
    return np.squeeze(matte)


def encoded(format: str = "PNG", **about: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, format, **about)
    return file.getvalue()


def decoded(data: bytes) -> Any:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


# ---------------------------------------------------------------------------------------------------------------------
# Kinds


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_gives_an_image(kind: type, tmp_path: Path) -> None:
    (tmp_path / "a b ü.png").write_bytes(encoded())
    cut = cut_out(kind(tmp_path / "a b ü.png"))
    assert cut.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(cut), expected("rgba"))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_give_bytes(kind: type) -> None:
    cut = cut_out(kind(encoded()))
    assert type(cut) is bytes
    np.testing.assert_array_equal(decoded(cut), expected("rgba"))


def test_an_image_gives_an_image() -> None:
    cut = cut_out(Image.fromarray(PICTURE))
    assert isinstance(cut, Image.Image)
    np.testing.assert_array_equal(np.asarray(cut), expected("rgba"))


def test_an_array_gives_an_array_of_its_own() -> None:
    before = PICTURE.copy()
    cut = cut_out(PICTURE)
    other = cut_out(engines.noise(5, 31, 45))
    np.testing.assert_array_equal(cut, expected("rgba"))
    assert not np.shares_memory(cut, other)
    np.testing.assert_array_equal(before, PICTURE)


@pytest.mark.parametrize(("output", "name"), [("alpha", "pha"), ("foreground", "fgr")])
def test_outputs(output: str, name: str) -> None:
    np.testing.assert_array_equal(cut_out(PICTURE, output=output), expected(name))
    assert cut_out(encoded(), output=output)[:4] == b"\x89PNG"
    assert cut_out(Image.fromarray(PICTURE), output=output).mode == {"alpha": "L", "foreground": "RGB"}[output]


@pytest.mark.parametrize("background", ["#102030", (16, 32, 48), "blur", "16,32,48", "16,32,48,255"])
def test_backgrounds(background: Any) -> None:
    meant = "blur" if background == "blur" else "#102030"
    np.testing.assert_array_equal(cut_out(PICTURE, background=background), expected("composite", background=meant))


@pytest.mark.parametrize("kind", ["path", "bytes", "image", "array"])
def test_a_picture_as_background_fills_the_frame(kind: str, tmp_path: Path) -> None:
    behind = engines.noise(3, 90, 45)
    Image.fromarray(behind).save(tmp_path / "behind.png")
    image = Image.open(tmp_path / "behind.png")
    data = (tmp_path / "behind.png").read_bytes()
    given = {"path": tmp_path / "behind.png", "bytes": data, "image": image, "array": behind}[kind]
    cropped = behind[:, 29:60]
    np.testing.assert_array_equal(cut_out(PICTURE, background=given), expected("composite", background=cropped))


def test_a_composite_without_a_background_is_over_green() -> None:
    over_green = expected("composite", background="greenscreen")
    np.testing.assert_array_equal(cut_out(PICTURE, output="composite"), over_green)


def test_grey_and_transparent_arrays() -> None:
    grey = PICTURE[..., 0]
    np.testing.assert_array_equal(cut_out(grey), expected("rgba", np.repeat(grey[..., None], 3, axis=2)))
    np.testing.assert_array_equal(cut_out(grey[..., None]), cut_out(grey))
    clear = np.dstack([PICTURE, np.zeros(PICTURE.shape[:2], np.uint8)])
    np.testing.assert_array_equal(cut_out(clear), expected("rgba", np.full_like(PICTURE, 255)))


def test_a_list_of_pictures_of_any_sizes_and_kinds(tmp_path: Path) -> None:
    """None leaves anything to the next."""
    (tmp_path / "a.png").write_bytes(encoded())
    other = engines.noise(9, 64, 20)
    path, data, array, again = cut_out([tmp_path / "a.png", encoded(), other, PICTURE])
    np.testing.assert_array_equal(np.asarray(path), expected("rgba"))
    np.testing.assert_array_equal(decoded(data), expected("rgba"))
    np.testing.assert_array_equal(array, expected("rgba", other))
    np.testing.assert_array_equal(again, expected("rgba"))
    assert cut_out([]) == []
    with pytest.raises(InputError, match="picture 1 cannot be read: it is no picture"):
        cut_out((PICTURE, b"words"))


def test_plates() -> None:
    made, plate = engines.memory(with_plate=True), engines.noise(4, 31, 45)
    with made.session(backend="onnxruntime", outputs=("pha",)) as session:
        meant = session(PICTURE, plate).pha[..., 0].copy()
    for given in (plate, Image.fromarray(plate)):
        np.testing.assert_array_equal(cut_out(PICTURE, model=made, plate=given, output="alpha"), meant)
    with pytest.raises(SettingError, match=r"needs the plate, the photographed empty scene: give plate$"):
        cut_out(PICTURE, model=made)
    with pytest.raises(SettingError, match="memory needs no plate; leave plate out"):
        cut_out(PICTURE, plate=plate)
    with pytest.raises(InputError, match="the plate is 64x20 and the picture 31x45; expected the same aspect ratio"):
        cut_out(PICTURE, model=made, plate=engines.noise(4, 64, 20))


def test_a_plate_that_is_scaled_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "trtmatte"):
        for _ in range(2):
            cut_out(PICTURE, model=engines.memory(with_plate=True), plate=engines.noise(4, 62, 90))
    told = [each.message for each in caplog.records]
    assert told == ["the plate is 62x90 and the picture 31x45: the plate is scaled"]


def test_orientation_profile_and_exif() -> None:
    """The caller's image stays as it is."""
    cms = pytest.importorskip("PIL.ImageCms")
    profile = cms.ImageCmsProfile(cms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    data = encoded(icc_profile=profile, exif=exif)
    image = Image.open(io.BytesIO(data))
    for _ in range(2):
        cut = cut_out(image)
        assert cut.size == (45, 31)  # upright
        file = io.BytesIO()
        cut.save(file, "PNG", exif=cut.info["exif"])
        with Image.open(file) as saved:
            assert saved.info["icc_profile"] == profile
            assert dict(saved.getexif()) == {0x010F: "maker"}
    assert image.size == (31, 45)
    assert image.getexif()[0x0112] == 6
    with Image.open(io.BytesIO(cut_out(data))) as cut:
        assert cut.size == (45, 31)
        assert cut.info["icc_profile"] == profile
        assert dict(cut.getexif()) == {0x010F: "maker"}
    assert "icc_profile" not in cut_out(image, output="alpha").info


if TYPE_CHECKING:  # mypy checks it

    def kinds() -> None:
        image: Image.Image = trtmatte.cut_out("a.png", output="alpha")
        data: bytes = trtmatte.cut_out(memoryview(b""))
        array: np.ndarray = trtmatte.cut_out(PICTURE, background="blur")
        images: list[Image.Image] = trtmatte.cut_out([Path("a.png"), Path("b.png")])
        datas: list[bytes] = trtmatte.cut_out([data])
        trtmatte.cut_out([image, *images])
        trtmatte.cut_out([array], output="alpah")  # type: ignore[call-overload]
        datas = trtmatte.cut_out(array)  # type: ignore[assignment]
        print(datas)


# ---------------------------------------------------------------------------------------------------------------------
# What is no picture


@pytest.mark.parametrize(
    ("picture", "kind", "message"),
    [
        (b"", InputError, "the picture cannot be read: it is empty; expected the bytes of a picture"),
        (b"words", InputError, "the picture cannot be read: it is no picture, or of a format that is not read"),
        (encoded()[:500], InputError, "the picture cannot be read: image file is truncated|unrecognized|broken"),
        ("nothing.png", InputError, "there is no file nothing.png"),
        ("https://example.org/a.png", InputError, "is an address, which is not read; download it"),
        ("", InputError, "it is a folder; expected a file"),
        (None, FrameError, "of the type builtins.NoneType; expected a path, the bytes of a file, a PIL image or"),
        (np.zeros((4, 4, 3)), FrameError, r"is float64 \(4, 4, 3\); expected uint8 .* \(picture \* 255\)"),
        (np.zeros((4, 4, 3), np.uint16), FrameError, r"for 16 bits: \(picture / 257\)"),
        (np.zeros((3, 40, 40), np.uint8), FrameError, r"picture.transpose\(1, 2, 0\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), FrameError, r"as a list: list\(pictures\)"),
        (np.zeros((0, 4, 3), np.uint8), FrameError, r"is uint8 \(0, 4, 3\)"),
        (np.zeros((4, 4, 2), np.uint8), FrameError, r"is uint8 \(4, 4, 2\)"),
    ],
)
def test_what_is_no_picture(picture: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        cut_out(picture)


def test_an_image_whose_file_is_cut_off() -> None:
    image = Image.open(io.BytesIO(encoded("JPEG")[:900]))
    with pytest.raises(InputError, match="the picture cannot be read: image file is truncated"):
        cut_out(image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "mask"}, "output is 'mask'; expected composite, rgba, alpha, foreground"),
        ({"output": "alpha", "background": "red"}, "background is put behind the subject of a composite"),
        ({"background": "nocolour"}, "background is 'nocolour'"),
        ({"background": "1,2,3,4"}, "background is '1,2,3,4', which is not opaque; for cut-outs with alpha, .* rgba"),
        ({"backend": "abacus"}, "backend is 'abacus'"),
        ({"device": "mps"}, "device is 'mps'"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        cut_out(PICTURE, **options)


def test_limits() -> None:
    few, small = Limits(pixels=30 * 45), Limits(file_bytes=100)
    for picture in (encoded(), Image.open(io.BytesIO(encoded()))):
        with pytest.raises(InputError, match="the picture cannot be read: it is 31x45; expected 1350 pixels at most"):
            cut_out(picture, safe=few)
    with pytest.raises(InputError, match=r"the picture has \d+ bytes; expected 100 at most"):
        cut_out(encoded(), safe=small)
    np.testing.assert_array_equal(decoded(cut_out(encoded(), safe=True)), expected("rgba"))


# ---------------------------------------------------------------------------------------------------------------------
# The sessions that are kept


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The options of the sessions that are opened."""
    found: list[Any] = []
    session = trtmatte.Engine.session

    def noted(self: Any, **options: Any) -> Any:
        found.append(options)
        return session(self, **options)

    monkeypatch.setattr(trtmatte.Engine, "session", noted)
    return found


def test_the_session_is_kept(opened: list[Any]) -> None:
    for background in ("red", "blue", "blur", PICTURE):
        cut_out(PICTURE, background=background)
        cut_out(engines.noise(0, 64, 20), background=background)
    assert len(opened) == 1
    cut_out(PICTURE)
    assert len(opened) == 2


def test_few_sessions_are_kept(opened: list[Any]) -> None:
    made = [engines.memory.__wrapped__() for _ in range(app._KEPT + 1)]
    for engine in made:
        cut_out(PICTURE, model=engine)
    assert len(app._kept) == app._KEPT
    cut_out(PICTURE, model=made[-1])
    assert len(opened) == len(made)
    cut_out(PICTURE, model=made[0])
    assert len(opened) == len(made) + 1


def test_an_engine_file_that_is_replaced(tmp_path: Path, opened: list[Any]) -> None:
    path = tmp_path / "a.trtm"
    engine_file.write(engines.memory(), path)
    for _ in range(2):
        np.testing.assert_array_equal(cut_out(PICTURE, model=path), expected("rgba"))
    assert len(opened) == 1 + 2  # two are those of `expected`
    engine_file.write(engines.memory(with_plate=True), path)
    with pytest.raises(SettingError, match="needs the plate"):
        cut_out(PICTURE, model=str(path))


def test_an_engine_for_each_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def build(model: str, size: tuple[int, int], safe: Any) -> Any:
        asked.append((model, size, safe))
        return engines.memory()

    monkeypatch.setattr(app, "build", build)
    monkeypatch.setattr(matting, "follows_the_frame", lambda family: True)
    for size in [(32, 24), (24, 18), (24, 32)]:
        trtmatte.cut_out(engines.noise(0, *size), backend="onnxruntime")
    assert asked == [("rvm-mobilenetv3", (32, 24), False), ("rvm-mobilenetv3", (24, 32), False)]


def test_the_default_model_is_that_of_the_command() -> None:
    assert inspect.signature(app.cut_out).parameters["model"].default == DEFAULT_MODEL


def test_threads_share_the_session(opened: list[Any]) -> None:
    pictures = [engines.noise(number, 31 + number % 3, 45) for number in range(24)]
    cuts: dict[int, Any] = {}

    def work(first: int) -> None:
        for number in range(first, len(pictures), 4):
            cuts[number] = cut_out(pictures[number])

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1
    for number, picture in enumerate(pictures):
        np.testing.assert_array_equal(cuts[number], expected("rgba", picture))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_has_sessions_of_its_own() -> None:
    before = cut_out(PICTURE)
    with app._lock:  # as another thread may
        child = os.fork()
        if child == 0:
            os._exit(0 if not app._kept and (cut_out(PICTURE) == before).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(cut_out(PICTURE), before)
