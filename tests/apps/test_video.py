"""convert_video: what comes out is what the session gives, at the times of what went in."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import trtmatte
from tests import real_models as models
from tests import reference
from tests.media import films, servers
from tests.runtime.session import engines
from trtmatte.apps.video import Interrupted, Summary, convert_video
from trtmatte.errors import FrameError, InputError, OutputError, SettingError, TruncatedError
from trtmatte.format.program import Program
from trtmatte.media.source import Frame
from trtmatte.media.video import VideoSource
from trtmatte.media.writing import PictureSink
from trtmatte.support.limits import Limits

SIZE = (32, 24)


def shots(count: int = 12, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    return [films.picture(number, *size) for number in range(count)]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return films.film(tmp_path / "in.mp4", shots(), sound="aac")


def convert(source: Any, *, engine: Any = None, **options: Any) -> Summary:
    options = {"backend": "onnxruntime", "progress": False, **options}
    return convert_video(engine or engines.memory(), source, **options)


def mattes(source: Any, outputs: str, *, engine: Any = None, **options: Any) -> list[np.ndarray]:
    """What a session gives for a video's frames, one by one."""
    with (engine or engines.memory()).session(outputs=outputs, backend="onnxruntime", **options) as session:
        return [session(frame.picture)[0].copy() for frame in VideoSource(source).frames()]


def closest(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The largest mean difference of a frame."""
    assert len(found) == len(expected)
    return max(float(np.abs(a.astype(int) - b.reshape(a.shape)).mean()) for a, b in zip(found, expected, strict=True))


def pngs(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]


# ---------------------------------------------------------------------------------------------------------------------
# What comes out


def test_several_kinds_in_one_run(film: Path, tmp_path: Path) -> None:
    summary = convert(
        film,
        output_composition=tmp_path / "com.mp4",
        output_alpha=tmp_path / "pha.mp4",
        output_foreground=tmp_path / "fgr.mov",
        output_rgba=tmp_path / "cut",
    )
    assert (summary.frames, len(summary.outputs)) == (12, 4)
    assert str(Summary(1, 0.5, ("a.mp4",))) == "1 frame at 2.0 a second: a.mp4"
    assert summary.fps == pytest.approx(12 / summary.seconds)
    before = films.facts(film)
    for name in ("com.mp4", "pha.mp4", "fgr.mov"):
        read = films.facts(tmp_path / name)
        assert (read.times, read.rate) == (before.times, films.NTSC)
        assert read.others == before.others  # the sound
    assert closest(films.facts(tmp_path / "com.mp4").rgb(), mattes(film, "composite", background="greenscreen")) < 3
    assert closest(films.facts(tmp_path / "pha.mp4").grey(), mattes(film, "pha")) < 2
    assert closest(films.facts(tmp_path / "fgr.mov").rgb(), mattes(film, "fgr")) < 4
    for found, expected in zip(pngs(tmp_path / "cut"), mattes(film, "rgba"), strict=True):
        assert (found == expected).all()


def test_many_mattes_may_wait(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is written over before it has been read, however slow the writer."""
    write = PictureSink.write

    def slowly(sink: PictureSink, *args: Any) -> None:
        time.sleep(0.02)
        write(sink, *args)

    monkeypatch.setattr(PictureSink, "write", slowly)
    for chunk in (1, 5):
        convert(film, output=tmp_path / f"{chunk}", kinds="alpha", seq_chunk=chunk)
        assert closest(pngs(tmp_path / f"{chunk}"), mattes(film, "pha")) == 0


def test_with_the_real_model(tmp_path: Path) -> None:
    clip = models.clip_file()
    engine = engines.rvm(176, 144, 1.0)
    summary = convert(clip, engine=engine, output=tmp_path / "out.mp4", kinds=["alpha", "composite"], frames=8)
    assert summary.outputs == (f"{tmp_path}/out-alpha.mp4", f"{tmp_path}/out-composite.mp4")
    alpha = films.facts(tmp_path / "out-alpha.mp4")
    assert alpha.times == films.facts(clip).times[:8]
    assert closest(alpha.grey(), mattes(clip, "pha", engine=engine)[:8]) < 2
    assert alpha.grey()[7].mean() > 50


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"output": "a.mp4"}, "composite"),
        ({"output": "a.mov"}, "rgba"),
        ({"output": "a.webm"}, "rgba"),
        ({"output": "folder"}, "rgba"),
        ({"output": "folder", "background": "white"}, "composite"),
        ({"output_composition": "folder", "output_type": "png_sequence"}, "rgba"),
        ({"output_composition": "folder", "output_type": "png_sequence", "background": "white"}, "composite"),
    ],
)
def test_what_is_written_where_nothing_is_said(
    options: dict[str, Any], kind: str, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = Path(convert(film, frames=2, **options).outputs[0])
    if place.is_dir():
        assert pngs(place)[0].shape[2] == (4 if kind == "rgba" else 3)
    else:
        found = films.facts(place)
        assert (found.pixels.startswith("yuva") or "ALPHA_MODE" in found.metadata) == (kind == "rgba")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["in-matte.mov"]),
        ({"background": "white"}, ["in-composite.mp4"]),
        ({"kinds": "alpha"}, ["in-alpha.mp4"]),
        ({"kinds": ["alpha", "composite"]}, ["in-alpha.mp4", "in-composite.mp4"]),
        ({"kinds": ["alpha", "rgba"]}, ["in-alpha.mov", "in-rgba.mov"]),
        ({"codec": "vp9"}, ["in-matte.webm"]),
        ({"codec": "h265"}, ["in-composite.mp4"]),
        ({"output_type": "png_sequence"}, ["in-matte"]),
        ({"output_type": "png_sequence", "background": "white"}, ["in-composite"]),
        ({"output_alpha": "pha.mp4"}, ["pha.mp4"]),
    ],
)
def test_an_output_without_a_name_is_beside_the_film(
    options: dict[str, Any], names: list[str], film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(film.parent)
    assert list(convert("in.mp4", frames=2, **options).outputs) == names
    assert {path.name for path in film.parent.iterdir()} == {"in.mp4", *names}
    again = pytest.raises(SettingError, match="already; choose another place, or overwrite it: overwrite=True")
    with again:
        convert("in.mp4", frames=2, **options)


def test_an_output_without_a_name_is_beside_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my shots").mkdir()
    for number, shot in enumerate(shots(2)):
        Image.fromarray(shot).save(tmp_path / "my shots" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    assert convert("my shots").outputs == ("my shots-matte",)
    assert convert("my shots/*.png", background="white").outputs == ("my shots-composite",)
    assert convert("my shots/", output_type="video").outputs == ("my shots-matte.mov",)
    assert convert(tmp_path / "my shots", kinds=["alpha", "rgba"], overwrite=True).outputs == (
        f"{tmp_path}/my shots-matte/alpha",
        f"{tmp_path}/my shots-matte/rgba",
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("-", "no folder to write to beside standard input; say where: output"),
        ("rtsp://127.0.0.1/a.mp4", "beside rtsp://127.0.0.1/a.mp4; say where: output"),
        ("0.png", "0.png is a single picture; .* there is trtmatte image"),
        ("*.png", r"no name for an output beside \*.png; say where"),
        (".", r"no name for an output beside \.; say where"),
    ],
)
def test_an_output_that_needs_a_name(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(shots(1)[0]).save("0.png")
    with pytest.raises(SettingError, match=message):
        convert(source, **({"raw": "4x2"} if source == "-" else {}))
    with pytest.raises(InputError, match=r"there is no file nowhere/in.mp4"):
        convert("nowhere/in.mp4")


def test_folders_are_made_for_several_kinds(film: Path, tmp_path: Path) -> None:
    convert(film, output=tmp_path / "a", kinds=["alpha", "foreground"], frames=2)
    convert(film, output=tmp_path / "b", kinds=["alpha", "rgba"], output_type="video", frames=2)
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} - {"in.mp4"}
    sequences = {f"a/{kind}/000{n}.png" for kind in ("alpha", "foreground") for n in (0, 1)}
    assert made == sequences | {"b/alpha.mp4", "b/rgba.mov"}


# ---------------------------------------------------------------------------------------------------------------------
# What goes in


def test_an_address(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A stream is read once, without its audio; a film on a web server gives its audio as well."""
    path = films.film(tmp_path / "in.ts", shots(), sound="aac")
    with servers.sending(path) as address, caplog.at_level(logging.WARNING):
        assert convert(address, output=tmp_path / "a.mp4").frames == 12
        assert caplog.messages == [f"{address} has audio, which is left out: a stream is read once, for its pictures"]
    assert not films.facts(tmp_path / "a.mp4").others
    with servers.web(tmp_path) as web:
        assert convert(f"{web}/in.ts", output=tmp_path / "b.mp4").frames == 12
    assert films.facts(tmp_path / "b.mp4").others


def test_pictures_and_resizing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, shot in enumerate(shots(3)):
        Image.fromarray(shot).save(tmp_path / "in" / f"{number}.png")
    convert(tmp_path / "in", output=tmp_path / "out", kinds="alpha", input_resize=(16, 12))
    assert [each.shape for each in pngs(tmp_path / "out")] == [(12, 16)] * 3
    convert(tmp_path / "in", output=tmp_path / "out.mp4", rate=10)
    assert films.facts(tmp_path / "out.mp4").times == [0, Fraction(1, 10), Fraction(1, 5)]


def test_what_a_film_loses_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame = films.plain([500, 500, 500], "yuv420p10le")
    path = films.film(tmp_path / "in.mkv", [frame], codec="ffv1", pixels="yuv420p10le", options={})
    with caplog.at_level(logging.WARNING):
        convert(path, output=tmp_path / "out.mp4")
        convert(films.film(tmp_path / "plain.mp4", shots(2)), output=tmp_path / "plain-out.mp4")
    assert caplog.messages == [f"{path} has 10 bits a channel: its frames become 8-bit"]


def test_a_part(film: Path, tmp_path: Path) -> None:
    assert convert(film, output=tmp_path / "a.mp4", start=0.2, end=0.4).frames == 5
    assert convert(film, output=tmp_path / "b.mp4", frames=7).frames == 7


@pytest.mark.parametrize("size", [(33, 25), (175, 143)])
def test_odd_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    path = films.film(tmp_path / "in.mkv", shots(3, size), codec="ffv1", pixels="yuv444p", options={})
    convert(path, output=tmp_path / "out.mp4", output_rgba=tmp_path / "rgba")
    assert films.facts(tmp_path / "out.mp4").size == (size[0] + 1, size[1] + 1)
    assert pngs(tmp_path / "rgba")[0].shape == (size[1], size[0], 4)


@pytest.mark.parametrize("background", ["white", "10, 20,30", (0.5, 0.5, 0.5), "blur", "blur:9"])
def test_composites_over(background: Any, film: Path, tmp_path: Path) -> None:
    convert(film, output=tmp_path / "out", background=background)
    meant = (10, 20, 30) if background == "10, 20,30" else background
    assert closest(pngs(tmp_path / "out"), mattes(film, "composite", background=meant)) == 0


def test_composites_over_a_picture_that_fills_the_frame(film: Path, tmp_path: Path) -> None:
    wide = films.picture(3, 96, 24)
    Image.fromarray(wide).save(tmp_path / "back.png")
    convert(film, output=tmp_path / "out", background=tmp_path / "back.png")
    assert closest(pngs(tmp_path / "out"), mattes(film, "composite", background=wide[:, 32:64])) == 0


def test_composites_over_a_video_that_begins_again(film: Path, tmp_path: Path) -> None:
    back = films.film(tmp_path / "back.mp4", shots(5))
    convert(film, output=tmp_path / "out", background=back)
    behind = [frame.picture for frame in VideoSource(back).frames()]
    with engines.memory().session(outputs="composite", backend="onnxruntime") as session:
        expected = [
            session(frame.picture, background=behind[number % 5])[0].copy()
            for number, frame in enumerate(VideoSource(film).frames())
        ]
    assert closest(pngs(tmp_path / "out"), expected) == 0


def test_a_plate_as_a_picture_and_a_video(film: Path, tmp_path: Path) -> None:
    """The video is shorter: its last picture stays."""
    engine = engines.memory(with_plate=True)
    Image.fromarray(engines.grey(200)).save(tmp_path / "shot.png")
    video = films.film(tmp_path / "shot.mp4", [engines.grey(value, 64, 48) for value in (30, 200)])
    for shot, behind in ((tmp_path / "shot.png", [200] * 12), (video, [30] + [200] * 11)):
        convert(film, engine=engine, output=tmp_path / "out", kinds="alpha", plate=shot, overwrite=True)
        with engine.session(outputs="pha", backend="onnxruntime") as session:
            frames = VideoSource(film).frames()
            expected = [
                session(frame.picture, engines.grey(v))[0].copy() for frame, v in zip(frames, behind, strict=True)
            ]
        assert closest(pngs(tmp_path / "out"), expected) <= 2  # the video's codec


@pytest.mark.parametrize("form", ["shot.png", "shot.mp4"])
def test_a_plate_of_another_size(
    form: str, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is scaled to the frames, which is told once in the sizes of the files, not in those of padded frames."""
    monkeypatch.setattr(Program, "capacity", property(lambda self: 1))
    engine = engines.memory(with_plate=True)

    def shot(width: int, height: int) -> Path:
        if form.endswith(".mp4"):
            return films.film(tmp_path / form, [engines.grey(200, width, height)] * 2)
        Image.fromarray(engines.grey(200, width, height)).save(tmp_path / form)
        return tmp_path / form

    def run(width: int, height: int, **options: Any) -> list[str]:
        caplog.clear()
        plate = shot(width, height)
        convert(film, engine=engine, output=tmp_path / "out", kinds="alpha", plate=plate, overwrite=True, **options)
        return caplog.messages

    with caplog.at_level(logging.WARNING):
        assert run(32, 24) == []
        assert run(64, 48) == ["the plate is 64x48 and the film 32x24: the plate is scaled"]
        assert run(128, 96, input_resize=(40, 30)) == ["the plate is 128x96 and the film 40x30: the plate is scaled"]
        with pytest.raises(InputError, match="the plate is 24x32 and the film 32x24; expected the same aspect ratio"):
            run(24, 32)


def test_the_old_name_of_the_plate(film: Path, tmp_path: Path) -> None:
    engine = engines.memory(with_plate=True)
    Image.fromarray(engines.grey(200)).save(tmp_path / "shot.png")
    convert(film, engine=engine, output=tmp_path / "new", kinds="alpha", plate=tmp_path / "shot.png")
    with pytest.warns(FutureWarning, match="background_shot is now called plate"):
        convert(film, engine=engine, output=tmp_path / "old", kinds="alpha", background_shot=tmp_path / "shot.png")
    assert closest(pngs(tmp_path / "old"), pngs(tmp_path / "new")) == 0


@pytest.mark.parametrize(("choice", "once"), [(True, False), ("frame", False), ("once", True)])
def test_a_plate_is_aligned(
    choice: Any, once: bool, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trtmatte.media import alignment

    seen: list[Any] = []

    class Noting:
        def __init__(self, once: bool) -> None:
            seen.append(once)

        def __call__(self, plate: np.ndarray, frame: np.ndarray) -> np.ndarray:
            seen.append(frame)
            return plate // 2

    monkeypatch.setattr(alignment, "Aligner", Noting)
    engine = engines.memory(with_plate=True)
    Image.fromarray(engines.grey(200)).save(tmp_path / "shot.png")
    options = {"plate": tmp_path / "shot.png", "preprocess_alignment": choice}
    convert(film, engine=engine, output=tmp_path / "out", kinds="alpha", **options)
    assert seen[0] is once
    frames = [frame.picture for frame in VideoSource(film).frames()]
    assert all((a == b).all() for a, b in zip(seen[1:], frames, strict=True))
    with engine.session(outputs="pha", plate=engines.grey(100), backend="onnxruntime") as session:
        expected = [session(frame)[0].copy() for frame in frames]
    assert closest(pngs(tmp_path / "out"), expected) == 0


@pytest.mark.slow
def test_refinement_on_frames_that_patches_do_not_fill(tmp_path: Path) -> None:
    engine = engines.of_vector("bgmv2_refine_mobilenetv2-sampling-scale0.3")
    width, height = engine.program.size
    size = (width - 3, height - 2)
    path = films.film(tmp_path / "in.mkv", shots(2, size), codec="ffv1", pixels="yuv444p", options={})
    Image.fromarray(films.picture(7, *size)).save(tmp_path / "shot.png")
    convert(path, engine=engine, output=tmp_path / "out", kinds="rgba", plate=tmp_path / "shot.png")
    assert [each.shape for each in pngs(tmp_path / "out")] == [(size[1], size[0], 4)] * 2


def test_frames_are_padded_to_whole_patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And their mattes are cropped: those of the frames with their edges drawn out."""
    monkeypatch.setattr(Program, "capacity", property(lambda self: 1))  # without refinement, but as strict about sizes
    path = films.film(tmp_path / "in.mkv", shots(2, (29, 23)), codec="ffv1", pixels="yuv444p", options={})
    convert(path, output=tmp_path / "out", kinds="alpha")
    with engines.memory().session(outputs="pha", backend="onnxruntime") as session:
        pictures = [np.pad(each.picture, ((0, 1), (0, 3), (0, 0)), "edge") for each in VideoSource(path).frames()]
        expected = [session(picture)[0][:23, :29].copy() for picture in pictures]
    assert closest(pngs(tmp_path / "out"), expected) == 0


# ---------------------------------------------------------------------------------------------------------------------
# What goes wrong


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kinds": "alpha", "output_rgba": "a.mov"}, SettingError, "alpha is asked for, .* to write it to: output"),
        ({"output": "a.mp4", "kinds": "matte"}, SettingError, "kinds is 'matte'; expected composite, rgba, alpha"),
        ({"output": "a.gif"}, SettingError, r"a.gif is no video that can be written; expected .mp4"),
        ({"output": "a.png"}, SettingError, "for single pictures there is trtmatte image"),
        ({"output": "nowhere/a.mp4"}, SettingError, "there is no folder nowhere; make it first"),
        ({"output": "in.mp4", "overwrite": True}, SettingError, "in.mp4 is an input as well"),
        ({"output": "there.mp4"}, SettingError, "there.mp4 exists already; .*: overwrite=True"),
        ({"output": "full"}, SettingError, "full has files in it already; .*: overwrite=True"),
        ({"output": "full", "output_type": "gif"}, SettingError, "output_type is 'gif'"),
        ({"output": "a", "output_alpha": "a", "kinds": "rgba"}, SettingError, "a gets 2 kinds of output"),
        ({"output": "a", "crf": 3}, SettingError, "crf is given, but a gets PNG files"),
        ({"output": "a.mp4", "frames": 0}, SettingError, "frames is 0; expected"),
        ({"output": "a.mp4", "kinds": "alpha", "background": "blur"}, SettingError, "no output shows it"),
        ({"output": "a.mp4", "background": "mauve"}, SettingError, "background is 'mauve'"),
        ({"output": "a.mp4", "background": "1,2,x"}, SettingError, "expected three numbers"),
        ({"output": "a.mp4", "plate": "in.mp4"}, SettingError, "memory needs no plate"),
        ({"output": "a.mp4", "preprocess_alignment": True}, SettingError, "aligns a plate"),
        ({"output": "a.mp4", "preprocess_alignment": "twice"}, SettingError, "expected True, 'frame' or 'once'"),
        ({"output": "a.mp4", "downsample_ratio": 0.3}, SettingError, "downsample_ratio is 0.3, and the engine was"),
        ({"output": "/sys/a.mp4"}, OutputError, "/sys/a.mp4 cannot be written"),
    ],
)
def test_what_is_refused(
    options: dict[str, Any], error: type[Exception], message: str, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is done."""
    monkeypatch.chdir(film.parent)
    Path("there.mp4").touch()
    Path("full").mkdir()
    Path("full/0000.png").touch()
    before = sorted(film.parent.rglob("*"))
    with pytest.raises(error, match=message):
        convert("in.mp4", **options)
    assert sorted(film.parent.rglob("*")) == before


def same_file(how: str, path: Path, name: Path) -> Path:
    """Another name of a file."""
    if how == "link":
        name.symlink_to(path)
    elif how == "hard link":
        name.hardlink_to(path)
    elif how == "spelling":
        (path.parent / "sub").mkdir()
        return path.parent / "sub" / ".." / path.name
    return path if how == "itself" else name


@pytest.mark.parametrize("how", ["itself", "spelling", "link", "hard link"])
@pytest.mark.parametrize("what", ["source", "plate", "background", "engine", "reads"])
def test_no_file_that_is_read_is_overwritten(what: str, how: str, film: Path, tmp_path: Path) -> None:
    from trtmatte.format import file as engine

    read = tmp_path / "read.mp4"
    if what in ("engine", "reads"):
        engine.write(engines.memory(with_plate=what == "plate"), read)
    else:
        read.write_bytes(film.read_bytes())
    before = read.read_bytes()
    options: dict[str, Any] = {} if what == "source" else {what: [read] if what == "reads" else read}
    if what == "plate":
        options["engine"] = engines.memory(with_plate=True)
    place = same_file(how, read, tmp_path / "other.mp4")
    with pytest.raises(SettingError, match=r"is an input as well"):
        convert(read if what == "source" else film, output=place, overwrite=True, **options)
    assert read.read_bytes() == before
    assert place.read_bytes() == before


@pytest.mark.parametrize("how", ["itself", "link", "hard link"])
def test_no_picture_that_is_read_is_a_member_of_a_sequence(how: str, film: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, shot in enumerate(shots(3)):
        Image.fromarray(shot).save(tmp_path / "in" / f"{number:04}.png")
    out = tmp_path / "in"
    if how != "itself":
        out = tmp_path / "out"
        out.mkdir()
        same_file(how, tmp_path / "in" / "0002.png", out / "0007.png")
    before = {path: path.read_bytes() for path in out.iterdir()}
    for source, options in ((tmp_path / "in", {}), (film, {"background": tmp_path / "in" / "0002.png"})):
        with pytest.raises(SettingError, match=r"is an input as well"):
            convert(source, output=out, overwrite=True, **options)
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_outputs_that_are_the_same_place(film: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.mp4").symlink_to("a.mp4")
    for other in (tmp_path / "sub" / ".." / "a.mp4", tmp_path / "b.mp4"):
        with pytest.raises(SettingError, match="gets 2 kinds of output"):
            convert(film, output=tmp_path / "a.mp4", output_alpha=other, overwrite=True)


def test_an_output_that_is_no_file(film: Path, tmp_path: Path) -> None:
    """A pipe would block, and its reader would not get what is renamed to its place."""
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "null.mp4").symlink_to("/dev/null")
    (tmp_path / "nowhere.mp4").symlink_to(tmp_path / "missing")
    for name, kind in (("pipe.mp4", "a pipe"), ("null.mp4", "a device")):
        with pytest.raises(SettingError, match=f"{name} is {kind}; expected the name of a file"):
            convert(film, output=tmp_path / name, overwrite=True)
    for name in ("pipe.mp4", "null.mp4", "nowhere.mp4"):
        with pytest.raises(SettingError, match=f"{name} exists already"):
            convert(film, output=tmp_path / name)
    for name in ("/dev/null", "/dev/stdout", "/dev/full"):
        with pytest.raises(SettingError, match="expected a folder for pictures"):
            convert(film, output=name, overwrite=True)


def test_permissions_are_kept(film: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for place in (tmp_path / "out.mp4", tmp_path / "out" / "0000.png"):
        place.touch(mode=0o600)
    convert(film, output=tmp_path / "out.mp4", output_alpha=tmp_path / "out", frames=2, overwrite=True)
    for place in (tmp_path / "out.mp4", tmp_path / "out" / "0000.png"):
        assert place.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_resize": (0, 0)}, r"input_resize is \(0, 0\); expected a width and a height above 0"),
        ({"input_resize": (-4, 4)}, "input_resize is"),
        ({"input_resize": (1.5, 4)}, "input_resize is"),
        ({"input_resize": (1 << 40, 1 << 40)}, "at most 134217728 pixels"),
        ({"output_video_mbps": 1e30}, "output_video_mbps is 1e.30"),
        ({"start": float("nan")}, "a time is nan"),
        ({"end": float("inf")}, "a time is inf"),
        ({"seq_chunk": 0}, "seq_chunk is 0; expected 1…1000"),
        ({"seq_chunk": 10**9}, "seq_chunk is 1000000000"),
        ({"num_workers": -1}, "num_workers is -1; expected 0…256"),
        ({"num_workers": 10**9}, "num_workers is 1000000000"),
        ({"rate": "1e999999999", "input_source": "in"}, "rate is '1e999999999'; expected frames a second"),
        ({"rate": 1e30, "input_source": "in"}, "rate is 1e.30"),
        ({"rate": float("nan"), "input_source": "in"}, "rate is nan"),
    ],
)
def test_numbers_that_nobody_means(options: dict[str, Any], message: str, film: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(shots(1)[0]).save(tmp_path / "in" / "0.png")
    source = tmp_path / options.pop("input_source", film.name)
    with pytest.raises(SettingError, match=message):
        convert(source, output=tmp_path / "out.mp4", **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "in.mp4"]


def test_a_plate_is_asked_for(film: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="needs the plate, the photographed empty scene, as a picture or a video"):
        convert(film, engine=engines.memory(with_plate=True), output=tmp_path / "out.mp4")


def test_the_good_frames_of_a_video_that_breaks_off(tmp_path: Path) -> None:
    noise = [np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8) for number in range(60)]
    path = films.film(tmp_path / "in.mp4", noise, container={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    breaks_off = (
        r"(breaks off|is damaged) after frame \d+[;:] .* the frames before that are in .*out.mp4"  # FFmpeg's part
    )
    with pytest.raises(TruncatedError, match=breaks_off):
        convert(path, output=tmp_path / "out.mp4")
    read = films.facts(tmp_path / "out.mp4")
    assert len(read.times) > 25
    expected: list[int] = []
    source = VideoSource(path)
    with pytest.raises(TruncatedError):
        expected.extend(frame.pts for frame in source.frames())
    assert read.times == [pts * source.facts.time_base for pts in expected]


class Failing:
    """A source that goes wrong after a few frames."""

    def __init__(self, path: Path, error: Exception) -> None:
        self._source, self._error = VideoSource(path), error
        self.facts = self._source.facts

    def frames(self) -> Any:
        for number, frame in enumerate(self._source.frames()):
            if number == 5:
                raise self._error
            yield frame


def test_nothing_is_left_where_it_goes_wrong(film: Path, tmp_path: Path) -> None:
    for error in (InputError("why"), MemoryError("why")):
        places = {"output": tmp_path / "out.mp4", "output_alpha": tmp_path / "out"}
        with pytest.raises(type(error), match="why"):
            convert(Failing(film, error), overwrite=True, **places)
    with pytest.raises(FrameError, match="expected three channels"):  # from the session
        convert(Misshapen(film), output=tmp_path / "out.mp4")
    assert {path.name for path in tmp_path.iterdir()} <= {"in.mp4", "out"}
    assert not any((tmp_path / "out").glob(".*"))


class Misshapen(Failing):
    def __init__(self, path: Path) -> None:
        super().__init__(path, InputError("unused"))

    def frames(self) -> Any:
        for number, frame in enumerate(self._source.frames()):
            yield frame if number < 3 else Frame(frame.picture[..., :2], frame.pts, 1)


def test_threads_end(film: Path, tmp_path: Path) -> None:
    before = threading.active_count()
    convert(film, output=tmp_path / "out.mp4")
    with pytest.raises(InputError):
        convert(Failing(film, InputError("why")), output=tmp_path / "other.mp4")
    assert threading.active_count() == before


def test_being_stopped_keeps_what_is_done(tmp_path: Path) -> None:
    film = films.film(tmp_path / "in.mp4", shots(60), sound="aac")

    def stop(done: int, total: int | None) -> None:
        assert total == 60
        if done == 10:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=r"stopped after \d+ frames .*out.mp4") as caught:
        convert(film, output=tmp_path / "out.mp4", progress=stop)
    assert signal.getsignal(signal.SIGINT) is before
    read = films.facts(tmp_path / "out.mp4")
    assert 10 <= caught.value.summary.frames == len(read.times) < 20
    assert read.others["audio"][-1][0] < read.times[-1] + Fraction(1, 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_limits_for_files_of_strangers(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They hold for all that is read, and the session gets them."""
    from trtmatte.apps import video

    seen = []
    session = trtmatte.Session

    def noted(*args: Any, safe: Any = None, **options: Any) -> Any:
        seen.append(safe)
        return session(*args, **options)

    monkeypatch.setattr(video, "Session", noted)
    Image.fromarray(films.picture(0, 64, 48)).save(tmp_path / "back.png")
    limits = Limits(pixels=SIZE[0] * SIZE[1])
    convert(film, output=tmp_path / "a.mp4", safe=limits)
    assert seen == [limits]
    for source, options, message in (
        (film, {"safe": Limits(pixels=100)}, "are 32x24; expected 100 pixels"),
        (film, {"safe": limits, "background": tmp_path / "back.png"}, "it is 64x48; expected 768 pixels"),
        ("http://127.0.0.1/a.mp4", {"safe": True}, "reads nothing from the network"),
    ):
        with pytest.raises(InputError, match=message):
            convert(source, output=tmp_path / "b.mp4", **options)


# ---------------------------------------------------------------------------------------------------------------------
# As RVM's users call it


def test_the_arguments_of_rvm(film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        trtmatte.convert_video(
            engines.memory(),
            input_source=str(film),
            input_resize=(64, 48),
            downsample_ratio=None,
            output_type="video",
            output_composition=str(tmp_path / "com.mp4"),
            output_alpha=str(tmp_path / "pha.mp4"),
            output_foreground=str(tmp_path / "fgr.mp4"),
            output_video_mbps=4,
            seq_chunk=12,
            num_workers=1,
            progress=False,
            device="cpu",
            dtype=None,
        )
    assert films.facts(tmp_path / "com.mp4").size == (64, 48)


def test_a_network_of_pytorch(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its class or its state_dict, as RVM's own function takes it."""
    pytest.importorskip("torch")
    monkeypatch.setenv("TRTMATTE_CACHE", str(tmp_path / "cache"))
    network = reference.network("u2netp")
    for number, model in enumerate((network, network.state_dict())):
        convert_video(
            model, input_source=film, output_alpha=tmp_path / f"{number}", frames=2, progress=False, device="cpu"
        )
    assert pngs(tmp_path / "0")[0].shape == (24, 32)
    assert closest(pngs(tmp_path / "0"), pngs(tmp_path / "1")) == 0


@pytest.mark.parametrize("model", ["rvm-mobilenetv3", "rvm.pth", Path("rvm.onnx"), {"weights": 1}])
def test_models_are_built_for_the_film(model: Any, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trtmatte.apps import engines as chosen

    asked: list[Any] = []

    def build(model: Any, **options: Any) -> Any:
        asked.append((model, options))
        return engines.memory()

    monkeypatch.setattr(chosen, "build", build)
    limits = Limits()
    convert(film, engine=model, output=tmp_path / "a.mp4", downsample_ratio=0.5, dtype="float16", safe=limits)
    assert asked == [
        (model, {"size": SIZE, "progress": None, "safe": limits, "downsample_ratio": 0.5, "precision": "fp16"})
    ]


def test_the_old_name_of_the_model(film: Path, tmp_path: Path) -> None:
    with pytest.warns(FutureWarning, match="engine is now called model"):
        convert_video(engine=engines.memory(), input_source=film, output=tmp_path / "a.mp4", progress=False)
    with pytest.raises(SettingError, match=r"there is no model; expected convert_video\(model, input_source\)"):
        convert_video(input_source=film)
    with pytest.raises(SettingError, match="there is no input_source"):
        convert_video(engines.memory())


def test_an_engine_from_its_file_or_made_for_the_frames(film: Path, tmp_path: Path) -> None:
    from trtmatte.format import file as engine

    engine.write(engines.memory(), tmp_path / "tiny.trtm")
    (tmp_path / "any name").write_bytes((tmp_path / "tiny.trtm").read_bytes())
    for name in ("tiny.trtm", "any name"):
        convert(film, engine=tmp_path / name, output=tmp_path / "a.mp4", overwrite=True)
    asked: list[tuple[int, int]] = []

    def make(size: tuple[int, int]) -> Any:
        asked.append(size)
        return engines.memory()

    convert(film, engine=make, output=tmp_path / "b.mp4")
    assert asked == [SIZE]
