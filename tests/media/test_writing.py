"""Videos and sequences written: what players find in them, and nothing where it went wrong."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.media import films
from trtmatte.errors import OutputError, SettingError
from trtmatte.media import colour
from trtmatte.media.formats import CODECS, encoding
from trtmatte.media.source import Facts
from trtmatte.media.video import VideoSource
from trtmatte.media.writing import PictureSink, VideoSink

BT709 = colour.Colour(1, 1, 1)
COUNT = 8


def facts(size: tuple[int, int] = (64, 48), **changes: Any) -> Facts:
    given = {"rate": films.NTSC, "time_base": 1 / films.NTSC, "colour": BT709, **changes}
    return Facts("test", size, **given)


def write(
    path: Path, pictures: list[np.ndarray], of: Facts | None = None, sound: bool = True, **options: Any
) -> films.Facts:
    alpha = pictures[0].shape[2] == 4
    of = of or facts((pictures[0].shape[1], pictures[0].shape[0]))
    sink = VideoSink(path, encoding(path, alpha=alpha, **options), of, with_sound=sound)
    for number, picture in enumerate(pictures):
        sink.write(picture, number, 1)
    sink.close()
    return films.facts(path)


def coloured(size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    return [films.picture(number, *size) for number in range(COUNT)]


def cut_out(size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    return [np.dstack([picture, picture[..., :1] // 2 + 60]) for picture in coloured(size)]


@pytest.mark.parametrize(
    ("name", "codec", "found", "pixels", "tag"),
    [
        ("a.mp4", None, "h264", "yuv420p", "avc1"),
        ("a.m4v", None, "h264", "yuv420p", "avc1"),
        ("a.mov", None, "h264", "yuv420p", "avc1"),
        ("a.mkv", None, "h264", "yuv420p", None),
        ("a.mp4", "h265", "hevc", "yuv420p", "hvc1"),
        ("a.mov", "prores", "prores", "yuv422p10le", "apch"),
        ("a.webm", None, "vp9", "yuv420p", None),
        ("a.mp4", "vp9", "vp9", "yuv420p", "vp09"),
    ],
)
def test_opaque_videos(name: str, codec: str | None, found: str, pixels: str, tag: str | None, tmp_path: Path) -> None:
    read = write(tmp_path / name, coloured(), codec=codec)
    assert (read.codec, read.pixels, read.size, read.tags) == (found, pixels, (64, 48), (1, 1, 1, 1))
    assert tag is None or read.tag == tag
    rounded = 1 / 1000 if name.endswith(("mkv", "webm")) else 0  # Matroska counts milliseconds
    assert [float(time) for time in read.times] == pytest.approx(
        [float(number / films.NTSC) for number in range(COUNT)], abs=rounded
    )
    for picture, expected in zip(read.rgb(), coloured(), strict=True):
        assert np.abs(picture.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("count", [1, 2, 3])
def test_short_films(count: int, tmp_path: Path) -> None:
    """x265 leaves the decoding times of the shortest ones open."""
    for number in range(10):
        path = tmp_path / f"{number}.mp4"
        write(path, coloured()[:count], codec="h265")
        with av.open(str(path)) as film:
            packets: list[Any] = [packet for packet in film.demux(video=0) if packet.size]
        first = packets[0]
        assert sorted(packet.pts for packet in packets) == [first.pts + n * first.duration for n in range(count)]
        assert all(-4 * packet.duration <= packet.dts <= packet.pts for packet in packets)


@pytest.mark.parametrize("name", ["a.mov", "a.webm", "a.mkv"])
def test_videos_with_alpha(name: str, tmp_path: Path) -> None:
    read = write(tmp_path / name, cut_out())
    assert len(read.frames) == COUNT
    if name == "a.webm":
        assert (read.codec, read.metadata["ALPHA_MODE"]) == ("vp9", "1")
    else:
        assert (read.codec, read.pixels, read.tag) == ("prores", "yuva444p12le", "ap4h")
    for picture, expected in zip(with_alpha(tmp_path / name), cut_out(), strict=True):
        assert np.abs(picture[..., 3].astype(int) - expected[..., 3]).mean() < 2
        assert np.abs(picture.astype(int) - expected).mean() < 4


def with_alpha(path: Path) -> list[np.ndarray]:
    """FFmpeg's own decoder of VP9 leaves alpha out; that of libvpx does not."""
    with films.av.open(str(path)) as file:
        video = file.streams.video[0]
        if video.codec_context.name != "vp9":
            return [frame.to_ndarray(format="rgba") for frame in file.decode(video)]
        decoder = films.av.CodecContext.create("libvpx-vp9", "r")
        packets = [*file.demux(video)]
        return [frame.to_ndarray(format="rgba") for packet in packets for frame in decoder.decode(packet)]


@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_colours_are_tagged_as_they_are_meant(matrix: int, tmp_path: Path) -> None:
    if not colour.is_written(matrix):
        pytest.skip("PyAV before 18 does not convert to BT.2020")
    patch = np.full((48, 64, 3), (200, 40, 90), np.uint8)
    read = write(tmp_path / "a.mp4", [patch], facts(colour=colour.Colour(matrix, 9, 14)), crf=0)
    assert read.tags == (matrix, 9, 14, 1)
    planes = [np.frombuffer(plane, np.uint8)[0] for plane in read.frames[0].planes]
    expected = films.yuv((200, 40, 90), matrix, full=False, bits=8)
    assert np.abs(np.subtract(planes, expected, dtype=int)).max() <= 2


def test_mattes_are_grey(tmp_path: Path) -> None:
    ramp = np.repeat(np.arange(0, 256, 5).astype(np.uint8), 4).reshape(1, -1, 1).repeat(48, 0)
    frame = write(tmp_path / "a.mp4", [ramp], crf=0).frames[0]
    grey = np.frombuffer(frame.planes[0], np.uint8).reshape(48, -1)[:, : ramp.shape[1]]
    assert np.abs(grey - (16 + ramp[..., 0] * (219 / 255))).max() <= 1
    assert (grey.min(), grey.max()) == (16, 235)
    assert set(np.frombuffer(frame.planes[1], np.uint8).reshape(24, -1)[:, :10].ravel()) == {128}


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.mov"])
def test_odd_sizes(name: str, tmp_path: Path) -> None:
    """H.264 has even sizes alone: the last row and column are there twice."""
    pictures = cut_out((33, 25)) if name == "a.mov" else coloured((33, 25))
    read = write(tmp_path / name, pictures)
    assert read.size == ((34, 26) if name == "a.mp4" else (33, 25))
    for picture, expected in zip(read.rgb(), pictures, strict=True):
        assert np.abs(picture[:25, :33].astype(int) - expected[..., :3]).mean() < 4


def test_times_and_pixels_are_kept(tmp_path: Path) -> None:
    of = facts(time_base=Fraction(1, 90000), aspect=Fraction(4, 3))
    sink = VideoSink(tmp_path / "a.mp4", encoding(tmp_path / "a.mp4"), of)
    times = [90000, 93003, 93754, 120000, 990000]
    for number, pts in enumerate(times):
        sink.write(films.picture(number), pts, 3003)
    sink.close()
    read = films.facts(tmp_path / "a.mp4")
    assert [time * 90000 for time in read.times] == times
    assert read.aspect == Fraction(4, 3)


def test_bit_rates(tmp_path: Path) -> None:
    noise = [np.random.default_rng(number).integers(0, 256, (240, 320, 3), dtype=np.uint8) for number in range(48)]
    sizes = {}
    for mbps in (0.5, 4):
        write(tmp_path / "a.mp4", noise, mbps=mbps)
        sizes[mbps] = (tmp_path / "a.mp4").stat().st_size
    assert sizes[4] > 2 * sizes[0.5]
    assert sizes[4] * 8 / (48 / float(films.NTSC)) == pytest.approx(4e6, rel=0.5)


# ---------------------------------------------------------------------------------------------------------------------
# Sound and subtitles


@pytest.mark.parametrize("start", [0, 24])
@pytest.mark.parametrize("name", ["b.mp4", "b.mov", "b.mkv"])
def test_sound_is_copied_bit_by_bit(name: str, start: int, tmp_path: Path) -> None:
    source = VideoSource(films.film(tmp_path / "a.mp4", 30, sound="aac", start=start))
    before, after = films.facts(tmp_path / "a.mp4"), films.through(source, tmp_path / name)
    assert [data for _, data in after.others["audio"]] == [data for _, data in before.others["audio"]]
    for which in (0, -1):  # against the pictures
        delay = before.others["audio"][which][0] - before.times[which]
        assert after.others["audio"][which][0] - after.times[which] == pytest.approx(delay, abs=0.0015)
    if name != "b.mkv":  # which shifts what begins before zero
        assert after.times == before.times


def test_sound_of_a_part(tmp_path: Path) -> None:
    films.film(tmp_path / "a.mp4", 100, rate=Fraction(25), sound="aac")
    every = dict(films.facts(tmp_path / "a.mp4").others["audio"])
    source = VideoSource(tmp_path / "a.mp4", start=Fraction(1), end=Fraction(2))
    after = films.through(source, tmp_path / "b.mp4")
    assert (len(after.times), after.times[0]) == (25, 0)
    wanted = [data for time, data in every.items() if 1 <= time < 2]
    assert [data for _, data in after.others["audio"]] == wanted
    first = min(time for time in every if time >= 1)
    assert after.others["audio"][0][0] == pytest.approx(first - 1, abs=0.001)  # what MP4 counts in


def test_sound_ends_where_the_pictures_are_stopped(tmp_path: Path) -> None:
    source = VideoSource(films.film(tmp_path / "a.mp4", 100, rate=Fraction(25), sound="aac"))
    after = films.through(source, tmp_path / "b.mp4", whole=False, limit=25)
    assert 0.95 < after.others["audio"][-1][0] < 1


def test_subtitles_go_where_they_can(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = VideoSource(films.film(tmp_path / "a.mkv", 30, subtitles=True, sound="aac"))
    before = films.facts(tmp_path / "a.mkv").others["subtitle"]
    with caplog.at_level(logging.WARNING):
        assert [data for _, data in films.through(source, tmp_path / "b.mkv").others["subtitle"]] == [
            data for _, data in before
        ]
        assert not caplog.records
        assert "subtitle" not in films.through(source, tmp_path / "b.mp4").others
        assert "audio" in films.through(source, tmp_path / "b.webm").others
    told = [record.message.split("/")[-1] for record in caplog.records]
    assert told[0] == "b.mp4 is written without the subtitles (srt), which such a file cannot store; .mkv can"
    assert (
        "b.webm gets the audio as Opus, since such a file cannot store it as it is (aac); sound=False leaves it out"
        in told
    )


def test_what_a_file_says_of_itself_is_kept(tmp_path: Path) -> None:
    def say(file: Any) -> None:
        file.metadata["title"] = "A film"
        file.streams.audio[0].metadata["language"] = "dan"
        chapter = {"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}
        file.set_chapters([chapter])

    films.through(VideoSource(films.film(tmp_path / "a.mp4", 30, sound="aac", prepare=say)), tmp_path / "c.mkv")
    with films.av.open(str(tmp_path / "c.mkv")) as file:
        assert file.metadata["title"] == "A film"
        assert not {name.lower() for name in file.metadata} & {"major_brand", "compatible_brands"}
        assert file.streams.audio[0].metadata["language"] == "dan"
        assert [each["metadata"]["title"] for each in file.chapters()] == ["One"]


# ---------------------------------------------------------------------------------------------------------------------
# Sequences


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_sequences(channels: int, mode: str, tmp_path: Path) -> None:
    pictures = [np.ascontiguousarray(picture[..., :channels]) for picture in cut_out((33, 25))]
    sink = PictureSink(tmp_path / "out", facts((33, 25)), channels=channels)
    scratch = np.empty_like(pictures[0])
    for number, picture in enumerate(pictures):
        scratch[:] = picture  # as a session does with its results
        sink.write(scratch, number, 1)
    sink.close()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{n:04}.png" for n in range(COUNT)]
    for number, picture in enumerate(pictures):
        with Image.open(tmp_path / "out" / f"{number:04}.png") as image:
            assert image.mode == mode
            assert (np.asarray(image).reshape(picture.shape) == picture).all()


def sequence(folder: Path, count: int) -> None:
    sink = PictureSink(folder, facts(), channels=3)
    for number in range(count):
        sink.write(films.picture(number), number, 1)
    sink.close()


def test_pictures_of_others_in_a_folder_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Numbered ones are named: they would be taken for a part of the new sequence."""
    others = {"0003.png", "0017.png", "10000.png", "notes.txt", ".0001.png.part"}
    for name in others:
        (tmp_path / name).write_text("mine")
    sequence(tmp_path, 3)
    assert all((tmp_path / name).read_text() == "mine" for name in others)
    assert {path.name for path in tmp_path.iterdir()} == others | {"0000.png", "0001.png", "0002.png"}
    assert "has pictures that were there before, from 0003.png to 10000.png" in caplog.text


def test_the_remains_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".0007.png.0a1b2c3d.part").touch()
    sequence(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["0000.png"]


def test_pictures_follow_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one in the place of a picture, nor one in the place of its unfinished file."""
    (tmp_path / "other").write_text("mine")
    folder = tmp_path / "out"
    folder.mkdir()
    monkeypatch.setattr("secrets.token_hex", lambda size: "00")
    (folder / "0000.png").symlink_to(tmp_path / "other")
    (folder / ".0001.png.00.part").symlink_to(tmp_path / "other")
    with pytest.raises(OutputError, match="cannot be written: File exists"):
        sequence(folder, 2)
    assert (tmp_path / "other").read_text() == "mine"
    assert not (folder / "0000.png").is_symlink()
    assert (folder / ".0001.png.00.part").is_symlink()


def test_permissions_are_kept(tmp_path: Path) -> None:
    (tmp_path / "0000.png").touch(mode=0o600)
    sequence(tmp_path, 2)
    assert (tmp_path / "0000.png").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "0001.png").stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    now = os.umask(0o022)
    os.umask(now)
    return now


# ---------------------------------------------------------------------------------------------------------------------
# What goes wrong


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file can grow beyond this, as if there were no room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.webm", "pictures"])
def test_a_full_disk(name: str, tmp_path: Path) -> None:
    noise = [np.random.default_rng(number).integers(0, 256, (240, 320, 3), dtype=np.uint8) for number in range(20)]
    path = tmp_path / name
    with full_disk(100_000), pytest.raises(OutputError, match=rf"{name} cannot be written: File too large"):  # noqa: PT012
        sink: Any = (
            VideoSink(path, encoding(path), facts((320, 240)))
            if path.suffix
            else PictureSink(path, facts((320, 240)), channels=3)
        )
        try:
            for number, picture in enumerate(noise):
                sink.write(picture, number, 1)
            sink.close()
        except OutputError:
            sink.abort()
            raise
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    path = Path("/sys/a.mp4")
    with pytest.raises(OutputError, match=r"/sys/a.mp4 cannot be written: "):
        VideoSink(path, encoding(path), facts())
    with pytest.raises(OutputError, match=r"/sys/pictures cannot be written: "):
        PictureSink(Path("/sys/pictures"), facts(), channels=3)


def test_an_encoder_that_does_not_work_here(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    if os.path.exists("/dev/nvidia0"):
        pytest.skip("it works here")
    with pytest.raises(OutputError, match=r"encoder h264_nvenc does not work here .*; choose another codec"):
        VideoSink(path, encoding(path, codec="h264-nvenc"), facts())
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("before")
    sink = VideoSink(path, encoding(path), facts())
    for number, picture in enumerate(coloured()):
        sink.write(picture, number, 1)
    assert path.read_text() == "before"
    sink.abort()
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]
    write(path, coloured())
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.mp4", {"alpha": True}, "a.mp4 cannot hold an alpha channel; give it the suffix .mov"),
        ("a.mov", {"alpha": True, "codec": "h264"}, "cannot hold an alpha channel as h264"),
        ("a.webm", {"codec": "h264"}, "a.webm cannot hold h264; give it the suffix .mp4 or"),
        ("a.mp4", {"codec": "xvid"}, "codec is 'xvid'; expected h264, h265,"),
        ("a.mov", {"codec": "prores", "crf": 3}, "prores has neither bit rate nor crf"),
        ("a.mp4", {"crf": 3, "mbps": 3}, "mbps and crf are both given"),
        *(
            ("a.mp4", {"mbps": mbps}, "expected megabits a second, above 0 and at most 4000")
            for mbps in (0, -1, 4001, 1e30, float("inf"), float("nan"))
        ),
        ("a.mp4", {"crf": -1}, r"crf is -1; expected 0…51 for h264"),
        ("a.mp4", {"crf": 10**30}, r"expected 0…51 for h264"),
        ("a.webm", {"crf": 64}, r"crf is 64; expected 0…63 for vp9"),
        ("a.mp4", {"preset": "hasty"}, "preset is 'hasty'; expected ultrafast, .* for h264"),
        ("a.webm", {"preset": "slow"}, "preset is 'slow'; expected -8, .* for vp9"),
    ],
)
def test_what_does_not_go_together(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        encoding(Path(name), **options)


def test_every_codec_is_in_this_ffmpeg() -> None:
    for codec in CODECS.values():
        assert films.av.Codec(codec.encoder, "w").name == codec.encoder
