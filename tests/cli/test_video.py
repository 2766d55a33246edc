"""`trtmatte video`: flags, exit statuses, pipes, and how it ends when it is stopped."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli import terminal
from tests.media import films
from tests.runtime.session import engines
from trtmatte.apps import video as convert
from trtmatte.apps.video import Interrupted, Summary
from trtmatte.cli import sessions
from trtmatte.cli.main import main
from trtmatte.errors import BackendError, DownloadError, InputError, OutputError, SettingError, TruncatedError

COMMAND = [sys.executable, "-m", "trtmatte.cli.main", "video"]
TINY = ("--engine", "tiny.trtm", "--backend", "onnxruntime")
BUILT = engines.memory()


@pytest.fixture
def here(here: Path) -> Path:
    """The current folder, with an engine and a film."""
    films.film(here / "in.mp4", [films.picture(number, 32, 24) for number in range(12)], sound="aac")
    return here


def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[Any]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, timeout=60, **options)


def remains(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"tiny.trtm", "in.mp4"}


# ---------------------------------------------------------------------------------------------------------------------
# Flags


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `convert_video` is called with."""
    seen: dict[str, Any] = {}

    def record(engine: Any, input_source: Any, **options: Any) -> Summary:
        seen.update(options, engine=engine, input_source=input_source)
        return Summary(0, 0.0, ())

    monkeypatch.setattr(convert, "convert_video", record)
    return seen


OURS = [
    ("-o out.mp4", "output", "out.mp4"),
    ("out.mp4", "output", "out.mp4"),
    ("", "output", None),
    ("--frames 3 -", "output", "-"),
    ("--output alpha rgba", "kinds", ["alpha", "rgba"]),
    ("--output alpha --output foreground", "kinds", ["alpha", "foreground"]),
    ("--background blur:9", "background", "blur:9"),
    ("--plate shot.png", "plate", "shot.png"),
    ("--align-once", "preprocess_alignment", "once"),
    ("--output-rgba cut.mov", "output_rgba", "cut.mov"),
    ("--codec h265", "codec", "h265"),
    ("--crf 20", "crf", 20),
    ("--mbps 2.5", "output_video_mbps", 2.5),
    ("--preset medium", "preset", "medium"),
    ("--raw 4x2@25", "raw", "4x2@25"),
    ("--rate 24000/1001", "rate", "24000/1001"),
    ("--start 1:02:03.5", "start", 3723.5),
    ("--end 90", "end", 90.0),
    ("--frames 100", "frames", 100),
    ("--no-sound", "sound", False),
    ("-y", "overwrite", True),
    ("--quiet", "progress", False),
    ("--backend openvino", "backend", "openvino"),
    ("--scene-cut 0.3", "scene_cut", 0.3),
]

# Each option of RobustVideoMatting's inference.py, and of BackgroundMattingV2's inference_video.py. What belongs to
# the choice of a model is tested below.
RVM = [
    ("--input-source film.mp4", "input_source", "film.mp4"),
    ("--input-resize 1280 720", "input_resize", (1280, 720)),
    ("--source-resize 1280 720", "input_resize", (1280, 720)),
    ("--output-composition com.mp4", "output_composition", "com.mp4"),
    ("--output-alpha pha.mp4", "output_alpha", "pha.mp4"),
    ("--output-foreground fgr.mp4", "output_foreground", "fgr.mp4"),
    ("--output-type png_sequence", "output_type", "png_sequence"),
    ("--output-video-mbps 4", "output_video_mbps", 4.0),
    ("--seq-chunk 12", "seq_chunk", 12),
    ("--num-workers 8", "num_workers", 8),
    ("--disable-progress", "progress", False),
    ("--device cuda:1", "device", "cuda:1"),
]
BGMV2 = [
    ("film.mp4", "input_source", "film.mp4"),  # --video-src
    ("--plate shot.mp4", "plate", "shot.mp4"),  # --video-bgr
    ("--background beach.mp4", "background", "beach.mp4"),  # --video-target-bgr
    ("--input-resize 1920 1080", "input_resize", (1920, 1080)),  # --video-resize
    ("--preprocess-alignment", "preprocess_alignment", "frame"),
    ("-o out", "output", "out"),  # --output-dir
    (
        "--output composite alpha foreground",
        "kinds",
        ["composite", "alpha", "foreground"],
    ),  # --output-types com pha fgr
    ("--output-type video", "output_type", "video"),  # --output-format video
    ("--output-type png_sequence", "output_type", "png_sequence"),  # --output-format image_sequences
    ("--device cpu", "device", "cpu"),
]


@pytest.mark.parametrize(("flags", "name", "value"), [*OURS, *RVM, *BGMV2])
def test_every_option_arrives(flags: str, name: str, value: Any, asked: dict[str, Any]) -> None:
    given = [] if name == "input_source" else ["in.mp4"]
    assert main(["video", *given, *flags.split(), "--engine", "e.trtm"]) == 0
    assert asked[name] == value


def test_an_output_after_the_input_of_rvm(asked: dict[str, Any]) -> None:
    assert main(["video", "--input-source", "in.mp4", "out.mp4", "--engine", "e.trtm"]) == 0
    assert (asked["input_source"], asked["output"]) == ("in.mp4", "out.mp4")


def test_the_old_name_of_the_plate(asked: dict[str, Any], capsys: Any) -> None:
    assert main(["video", "in.mp4", "--engine", "e.trtm", "--background-shot", "shot.png"]) == 0
    assert asked["plate"] == "shot.png"
    assert capsys.readouterr().err.count("--background-shot is now called --plate") == 1


@pytest.mark.parametrize(
    ("flags", "setting"),
    [
        ("--model rvm-mobilenetv3", {"model": "rvm-mobilenetv3"}),  # --variant
        ("--checkpoint rvm.pth", {"model": "rvm.pth"}),
        ("--model m --downsample-ratio 0.25", {"downsample_ratio": 0.25}),
        ("--model m --precision fp32", {"precision": "fp32"}),
        ("--model bgmv2-resnet50", {"model": "bgmv2-resnet50"}),  # --model-type, --model-backbone
        ("--model-checkpoint b.pth", {"model": "b.pth"}),
        ("--model m --model-backbone-scale 0.5", {"backbone_scale": 0.5}),
        ("--model m --model-refine-mode full", {"refine_mode": "full"}),
        ("--model m --model-refine-sample-pixels 9", {"refine_sample_pixels": 9}),
        ("--model m --model-refine-threshold 0.7", {"refine_threshold": 0.7}),
        ("--model m --set refine_kernel_size=1", {"refine_kernel_size": 1}),  # --model-refine-kernel-size
        ("--model m --input-size 512x288", {"input_size": (512, 288)}),
    ],
)
def test_models_are_built_for_the_frames(
    flags: str, setting: dict[str, Any], asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: dict[str, Any] = {}
    monkeypatch.setattr(sessions, "build", lambda model, **options: built.update(options, model=model) or BUILT)
    assert main(["video", "in.mp4", "-o", "out.mp4", *flags.split()]) == 0
    asked["engine"]((1280, 720))
    assert built.items() >= {"size": (1280, 720), **setting}.items()


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_a_model_is_chosen_and_told(
    quiet: tuple[str, ...], asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    built: list[str] = []
    monkeypatch.setattr(sessions, "build", lambda model, **_: built.append(model) or BUILT)
    assert main(["video", "in.mp4", "-o", "out.mp4", *quiet]) == 0
    asked["engine"]((1280, 720))
    assert built == ["rvm-mobilenetv3"]
    assert ("the model is rvm-mobilenetv3; --model chooses another" in capsys.readouterr().err) == (not quiet)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("in.mp4 -o out.mp4 --engine e --model m", "not allowed with argument"),
        ("in.mp4 --output matte -o out.mp4 --engine e", "invalid choice: 'matte'"),
        ("in.mp4 --start soon -o out.mp4 --engine e", "'soon' is given; expected seconds or [H:]M:S"),
        ("-o out.mp4 --engine e", "there is no INPUT"),
        ("in.mp4 a.mp4 -o b.mp4 --engine e", "the output is given twice, as a.mp4 and as b.mp4"),
        ("--input-source a.mp4 b.mp4 c.mp4 --engine e", "the input is given twice, as b.mp4 and as a.mp4"),
        ("a.mp4 b.mp4 c.mp4 --engine e", "unrecognized arguments: c.mp4"),
    ],
)
def test_wrong_flags(flags: str, message: str, capsys: Any) -> None:
    try:
        status = main(["video", *flags.split()])
    except SystemExit as end:
        status = int(str(end.code))
    assert status == 2
    assert message in capsys.readouterr().err


def test_what_an_engine_has_settled(here: Path, capsys: Any) -> None:
    assert main(["video", "in.mp4", "-o", "a.mp4", *TINY, "--downsample-ratio", "0.5"]) == 2
    assert "downsample_ratio is a build option" in capsys.readouterr().err
    assert remains(here) == set()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("why"), 2),
        (SettingError("why"), 2),
        (OutputError("why"), 1),
        (TruncatedError("why"), 1),
        (BackendError("why"), 1),
        (DownloadError("why"), 1),
        (Interrupted(Summary(3, 1.0, ("out.mp4",))), 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_statuses(error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(convert, "convert_video", fail)
    assert main(["video", "in.mp4", "-o", "out.mp4", "--engine", "e.trtm"]) == status
    why = "stopped after 3 frames at 3.0 a second: out.mp4" if status == 130 else "why"
    assert capsys.readouterr().err == f"trtmatte video: {why}\n"


# ---------------------------------------------------------------------------------------------------------------------
# As it is typed


def test_a_video_becomes_a_composite_with_its_sound(here: Path) -> None:
    ran = run("in.mp4", "out.mp4", *TINY)
    assert (ran.returncode, ran.stdout) == (0, b"")
    assert b"trtmatte video: 12 frames at " in ran.stderr
    assert films.facts(here / "out.mp4").others == films.facts(here / "in.mp4").others
    again = run("in.mp4", "-o", "out.mp4", *TINY)
    assert again.returncode == 2
    assert b"out.mp4 exists already; choose another place, or overwrite it: -y" in again.stderr
    assert run("in.mp4", "-o", "out.mp4", *TINY, "-y", "--quiet").stderr == b""


def test_frames_through_pipes(here: Path) -> None:
    pictures = np.stack([films.picture(number, 32, 24) for number in range(5)])
    ran = run("-", "--raw", "32x24@25", "-o", "-", "--output", "rgba", *TINY, input=pictures.tobytes())
    assert ran.returncode == 0, ran.stderr
    with engines.memory().session(outputs="rgba", backend="onnxruntime") as session:
        expected = b"".join(session(picture)[0].tobytes() for picture in pictures)
    assert ran.stdout == expected
    broken = run("-", "--raw", "32x24@25", "-o", "out.mp4", *TINY, input=pictures.tobytes()[:-100])
    assert broken.returncode == 1
    assert b"breaks off after frame 4" in broken.stderr
    assert len(films.facts(here / "out.mp4").times) == 4


def test_nobody_reads_what_is_piped(here: Path) -> None:
    films.film(here / "long.mp4", [films.picture(number, 320, 240) for number in range(60)])
    piped = subprocess.Popen([*COMMAND, "long.mp4", "-o", "-", *TINY], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert piped.stdout is not None
    piped.stdout.read(1000)
    piped.stdout.close()
    assert piped.stderr is not None
    told = piped.stderr.read().decode()
    assert piped.wait(60) == 1
    assert told == "trtmatte video: standard output cannot be written: Broken pipe\n"


def test_a_full_disk(here: Path) -> None:
    noise = [np.random.default_rng(number).integers(0, 256, (240, 320, 3), dtype=np.uint8) for number in range(20)]
    films.film(here / "noise.mp4", noise)

    def shrink() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    ran = run("noise.mp4", "-o", "out.mp4", "--output-alpha", "pha", *TINY, preexec_fn=shrink)
    assert ran.returncode == 1
    assert ran.stderr.decode().splitlines()[-1] == "trtmatte video: out.mp4 cannot be written: File too large"
    assert "out.mp4" not in remains(here)
    assert not list(here.rglob(".*"))


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("sound.m4a", 2, "sound.m4a has no video, but audio; expected a file with pictures"),
        ("empty.mp4", 2, "empty.mp4 cannot be read as a video: it is empty"),
        ("missing.mp4", 2, "there is no file missing.mp4; expected a video, a picture, or a folder of pictures"),
        ("mixed", 2, "mixed/2.png is 32x24 and mixed/1.png is 20x10; expected pictures of one size"),
        ("cut.mp4", 1, "the frames before that are in out.mp4"),
    ],
)
def test_bad_input(name: str, status: int, message: str, here: Path, capsys: Any) -> None:
    from PIL import Image

    (here / "empty.mp4").touch()
    (here / "mixed").mkdir()
    for number, size in ((1, (20, 10)), (2, (32, 24))):
        Image.fromarray(films.picture(0, *size)).save(here / "mixed" / f"{number}.png")
    with films.av.open("sound.m4a", "w") as file:
        file.mux(films.tones(file.add_stream("aac", rate=48000), 0, 1))
    films.film(here / "cut.mp4", 60, container={"movflags": "faststart"})
    (here / "cut.mp4").write_bytes((here / "cut.mp4").read_bytes()[:-3000])
    before = remains(here)
    assert main(["video", name, "-o", "out.mp4", *TINY]) == status
    assert message in capsys.readouterr().err
    assert remains(here) - before == ({"out.mp4"} if status == 1 else set())


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_being_stopped(with_signal: int, here: Path) -> None:
    """What is done by then is a whole video."""
    slow = subprocess.Popen(
        [*COMMAND, "-", "--raw", "32x24@25", "-o", "out.mp4", *TINY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert slow.stdin is not None
    for number in range(400):
        if number == 60:
            _wait_for(here)
            slow.send_signal(with_signal)
        try:
            slow.stdin.write(films.picture(number, 32, 24).tobytes())
            slow.stdin.flush()
        except BrokenPipeError:
            break
        time.sleep(0.005)
    assert slow.stderr is not None
    told = slow.stderr.read().decode()
    assert (slow.wait(60), told.startswith("trtmatte video: stopped after ")) == (128 + with_signal, True), told
    read = films.facts(here / "out.mp4")
    assert f"stopped after {len(read.times)} frames" in told
    assert 1 <= len(read.times) < 399
    assert remains(here) == {"out.mp4"}


def _wait_for(folder: Path) -> None:
    """Until it writes, and has had time for a frame."""
    for _ in range(1000):
        if any(path.name.startswith(".out.mp4") for path in folder.iterdir()):
            break
        time.sleep(0.02)
    time.sleep(0.3)


def test_progress_on_a_terminal(here: Path) -> None:
    pytest.importorskip("rich")
    status, told = terminal.run([*COMMAND, "in.mp4", "-o", "out.mp4", *TINY])
    assert status == 0
    assert b"12/12" in told
    assert b"fps" in told
