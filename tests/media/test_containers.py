"""Videos of strangers: files are files, whatever names and contents say; an address is what is given as one."""

from __future__ import annotations

import functools
import http.server
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.media import films
from trtmatte.errors import InputError, SettingError, TruncatedError
from trtmatte.media.ffmpeg import open_container
from trtmatte.media.formats import encoding
from trtmatte.media.opening import open_source
from trtmatte.media.video import VideoSource
from trtmatte.media.writing import VideoSink
from trtmatte.support.limits import Limits

PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\na={}\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet>'
    "</Period></MPD>",
    "smil": '<?xml version="1.0"?><smil><body><video src="{}"/></body></smil>',
}


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A film that nobody asked for, in the current folder."""
    monkeypatch.chdir(tmp_path)
    films.film(tmp_path / "secret.ts", 25, codec="mpeg2video", options={})
    return films.film(tmp_path / "secret.mp4", 3)


# ---------------------------------------------------------------------------------------------------------------------
# Files


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ffconcat", ".sdp", ".mpd", ".mkv", ".txt"])
@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("names", ["secret.mp4", "secret.ts", "{folder}/secret.mp4", "file:secret.mp4"])
def test_a_playlist_opens_no_other_file(kind: str, suffix: str, names: str, secret: Path) -> None:
    path = secret.with_name(f"list{suffix}")
    path.write_text(PLAYLISTS[kind].format(names.format(folder=secret.parent)))
    with pytest.raises(InputError, match="cannot be read as a video"):
        open_source(path)


@pytest.mark.parametrize(
    "name",
    [
        *("concat:secret.mp4", "concat:secret.mp4|secret.ts", "file:secret.mp4", "subfile,,start,0,end,0,,:secret.mp4"),
        *("crypto:secret.mp4", "cache:secret.mp4", "async:secret.mp4", "data:,x", "pipe:0", "fd:0", "lavfi:testsrc"),
        *("http:127.0.0.1", "tcp:127.0.0.1:9", "-i", "--", "%04d.mp4"),
    ],
)
def test_a_name_is_no_address(name: str, secret: Path) -> None:
    """The name of a file that is not there is nothing else, and the file is opened if it is there."""
    with pytest.raises(InputError, match="there is no file"):
        open_source(name)
    if "/" not in name:
        Path(name).write_bytes(secret.read_bytes())
        assert open_source(name).facts.size == (64, 48)
        assert open_source(Path(name).resolve()).facts.size == (64, 48)


@pytest.mark.parametrize("name", ["co:lon.mp4", "http:.mp4", "ümläut %41?#&.mp4", "caf\udce9.mp4", "new\nline.mp4"])
def test_names_of_outputs(name: str, secret: Path) -> None:
    source = VideoSource(secret)
    sink = VideoSink(Path(name), encoding(Path(name)), source.facts)
    for frame in source.frames():
        sink.write(frame.picture, frame.pts, frame.duration)
    sink.close()
    assert len(list(VideoSource(Path(name)).frames())) == 3
    assert os.path.getsize(name) > 500


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to("pipe.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.mp4"))
        for name, why in {
            "pipe.mp4": "it is a pipe; expected a file",
            "link.mp4": "it is a pipe",
            "zero.mp4": "it is a device",
            "socket.mp4": "it is a socket",
            "loop.mp4": "Too many levels of symbolic links",
            "n\0l.mp4": "(stat: )?embedded null (byte|character)",
            f"{'long' * 100}.mp4": "File name too long",
        }.items():
            with pytest.raises(InputError, match=f"cannot be read: {why}"):
                open_source(tmp_path / name)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
@pytest.mark.parametrize("title", [b"caf\xe9 l\xe0", b"\xff\xfe\x1b[31mXX"], ids=["Latin-1", "escapes"])
def test_metadata_that_are_not_utf8_are_kept(name: str, title: bytes, tmp_path: Path) -> None:
    def entitle(file: Any) -> None:
        file.metadata["title"] = "A" * len(title)

    path = films.film(tmp_path / "in.mkv", 3, sound="aac", prepare=entitle)
    path.write_bytes(path.read_bytes().replace(b"A" * len(title), title))
    source = VideoSource(path)
    sink = VideoSink(tmp_path / name, encoding(tmp_path / name), source.facts)
    for frame in source.frames():
        sink.write(frame.picture, frame.pts, frame.duration)
    sink.close()
    with open_container(str(tmp_path / name)) as file:
        assert file.metadata["title"].encode("utf-8", "surrogateescape") == title


def test_metadata_of_megabytes(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        file.metadata.update({"title": "x" * (4 << 20), "comment": "a\0b", "artist": "%s%n\x1b"})

    source = VideoSource(films.film(tmp_path / "in.mkv", 3, prepare=fill))
    sink = VideoSink(tmp_path / "out.mkv", encoding(tmp_path / "out.mkv"), source.facts)
    sink.write(next(source.frames()).picture, 0, 1)
    sink.close()
    assert (tmp_path / "out.mkv").stat().st_size > 4 << 20


@pytest.mark.parametrize("length", ["1e999999:00:00.000000", "9" * 21, "00:00:1/0.0000000000000"])
def test_a_length_that_is_none(length: str, tmp_path: Path) -> None:
    """It is a text in the file, and a number of a billion digits takes hours."""
    path = films.film(tmp_path / "a.mkv", 3)
    data = path.read_bytes()
    place = data.index(b"00:00:00.")
    path.write_bytes(data[:place] + length[:18].encode().ljust(18) + data[place + 18 :])
    assert len(list(VideoSource(path).frames())) == 3


def test_a_decoder_that_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a library raises is an error of ours: of the file, or of its rest once there are frames."""
    from trtmatte.media import video

    path = films.film(tmp_path / "a.mp4", 5)
    calls = []

    def fail(*_: Any) -> Any:
        calls.append(0)
        if len(calls) > 2:
            raise OverflowError("value too large")
        return films.picture(0)

    monkeypatch.setattr(video._Convert, "__call__", fail)
    with pytest.raises(TruncatedError, match=r"a.mp4 is damaged after frame 2: value too large"):
        list(VideoSource(path).frames())
    monkeypatch.setattr("trtmatte.media.orientation.Orientation.of", lambda frame: 1 / 0)
    with pytest.raises(InputError, match=r"a.mp4 cannot be read: division by zero"):
        VideoSource(path)


# ---------------------------------------------------------------------------------------------------------------------
# Limits


def test_limits(secret: Path) -> None:
    assert open_source(secret, limits=Limits(pixels=64 * 48)).facts.size == (64, 48)
    with pytest.raises(InputError, match=r"the frames of .*secret.mp4 are 64x48; expected 3071 pixels"):
        open_source(secret, limits=Limits(pixels=64 * 48 - 1))
    with pytest.raises(InputError, match="reads nothing from the network"):
        open_source("http://127.0.0.1/a.mp4", limits=Limits())


def test_limits_of_frames_that_grow(tmp_path: Path) -> None:
    parts = [films.film(tmp_path / f"{n}.h264", [films.picture(0, 64 * n, 48 * n)] * 3) for n in (1, 4)]
    (tmp_path / "both.h264").write_bytes(b"".join(part.read_bytes() for part in parts))
    assert len(list(open_source(tmp_path / "both.h264").frames())) == 6
    small = open_source(tmp_path / "both.h264", limits=Limits(pixels=64 * 48))
    with pytest.raises(TruncatedError, match="is damaged after frame"):  # by the decoder
        list(small.frames())
    more = open_source(tmp_path / "both.h264", limits=Limits(pixels=64 * 48 * 15))
    with pytest.raises(InputError, match="are 256x192; expected 46080 pixels"):
        list(more.frames())


# ---------------------------------------------------------------------------------------------------------------------
# Addresses


@pytest.fixture
def served(secret: Path) -> Iterator[str]:
    """The address at which the current folder is."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Silent, directory=str(secret.parent))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_address(served: str) -> None:
    assert len(list(open_source(f"{served}/secret.mp4").frames())) == 3
    with pytest.raises(InputError, match="there is no file"):  # a path is never one
        open_source(Path(f"{served}/secret.mp4"))
    with pytest.raises(InputError, match=r"cannot be read as a video: .*Not Found"):
        open_source(f"{served}/nothing.mp4")


@pytest.mark.parametrize("name", ["file:{}", "{}", "concat:{}", "subfile,,start,0,end,0,,:{}"])
def test_an_address_leads_to_no_file(name: str, served: str, secret: Path) -> None:
    """A playlist from the network names further addresses at most."""
    (secret.parent / "list.m3u8").write_text(PLAYLISTS["hls"].format(name.format(secret.with_suffix(".ts"))))
    with pytest.raises(InputError, match="cannot be read as a video"):
        open_source(f"{served}/list.m3u8")
    (secret.parent / "fine.m3u8").write_text(PLAYLISTS["hls"].format(f"{served}/secret.ts"))
    assert open_source(f"{served}/fine.m3u8").facts.size == (64, 48)


@pytest.mark.parametrize("protocol", ["file", "concat", "ftp", "gopher", "data", "smb", "sftp", "pipe", "x"])
def test_other_protocols(protocol: str, secret: Path) -> None:
    with pytest.raises(SettingError, match=rf"{protocol}:// is not read; expected http, https"):
        open_source(f"{protocol}://{secret}")
