"""The flags of the original projects' scripts: the command lines of their documents, word for word."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from tests import real_models as models
from tests import reference
from tests.media import films
from trtmatte.apps import video as conversions
from trtmatte.apps.video import Summary
from trtmatte.cli import scripts
from trtmatte.cli.main import main
from trtmatte.compiler.families import catalog

ROOT = Path(__file__).parents[2]
SIZE = (64, 48)

# The documents' placeholders, and what is at hand here: no GPU, small networks, small files.
HERE = {
    "CHECKPOINT": "rvm.pth",
    "PATH_TO_CHECKPOINT": "bgmv2.pth",
    "PATH_TO_VIDEO_SRC": "input.mp4",
    "PATH_TO_VIDEO_BGR": "plate.png",
    "PATH_TO_VIDEO_TARGET_BGR": "beach.mp4",
    "PATH_TO_IMAGES_SRC_DIR": "src",
    "PATH_TO_IMAGES_BGR_DIR": "bgr",
    "PATH_TO_OUTPUT_DIR": "results",
    "--device cuda": "--device cpu",
    "--model-backbone resnet50": "--model-backbone mobilenetv2",
    "--video-resize 1920 1080": "--video-resize 64 48",
}

RVM = """python inference.py \\
    --variant mobilenetv3 \\
    --checkpoint "CHECKPOINT" \\
    --device cuda \\
    --input-source "input.mp4" \\
    --downsample-ratio 0.25 \\
    --output-type video \\
    --output-composition "composition.mp4" \\
    --output-alpha "alpha.mp4" \\
    --output-foreground "foreground.mp4" \\
    --output-video-mbps 4 \\
    --seq-chunk 12"""

BGMV2_VIDEO = """python inference_video.py \\
    --model-type mattingrefine \\
    --model-backbone resnet50 \\
    --model-backbone-scale 0.25 \\
    --model-refine-mode sampling \\
    --model-refine-sample-pixels 80000 \\
    --model-checkpoint "PATH_TO_CHECKPOINT" \\
    --video-src "PATH_TO_VIDEO_SRC" \\
    --video-bgr "PATH_TO_VIDEO_BGR" \\
    --video-resize 1920 1080 \\
    --output-dir "PATH_TO_OUTPUT_DIR" \\
    --output-type com fgr pha err ref \\
    --video-target-bgr "PATH_TO_VIDEO_TARGET_BGR" """

BGMV2_IMAGES = """python inference_images.py \\
    --model-type mattingrefine \\
    --model-backbone resnet50 \\
    --model-backbone-scale 0.25 \\
    --model-refine-mode sampling \\
    --model-refine-sample-pixels 80000 \\
    --model-checkpoint "PATH_TO_CHECKPOINT" \\
    --images-src "PATH_TO_IMAGES_SRC_DIR" \\
    --images-bgr "PATH_TO_IMAGES_BGR_DIR" \\
    --output-dir "PATH_TO_OUTPUT_DIR" \\
    --output-type com fgr pha"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the command lines read, small."""
    torch = pytest.importorskip("torch")
    from tests.compiler.families import test_modnet

    place = tmp_path_factory.mktemp("scripts")
    torch.save(reference.network("rvm_mobilenetv3").state_dict(), place / "rvm.pth")
    torch.save(reference.network("bgmv2_refine_mobilenetv2").state_dict(), place / "bgmv2.pth")
    onnx.save(test_modnet.official(), place / "modnet.onnx")
    pictures = [films.picture(number, *SIZE) for number in range(3)]
    films.film(place / "input.mp4", pictures, sound="aac")
    films.film(place / "beach.mp4", pictures)
    Image.fromarray(pictures[0]).save(place / "plate.png")
    for folder, picture in (("src", pictures[1]), ("bgr", pictures[0])):
        (place / folder).mkdir()
        Image.fromarray(picture).save(place / folder / "a b.png")
    Image.fromarray(pictures[2]).save(place / "in.png")
    return place


@pytest.fixture
def here(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    shutil.copytree(files, folder)
    monkeypatch.chdir(folder)
    return folder


def typed(command: str, line: str, *more: str) -> int:
    """Run a line of the documents with `trtmatte COMMAND` in place of the script, on the files that are at hand."""
    for placeholder, name in sorted(HERE.items(), key=lambda pair: -len(pair[0])):
        line = line.replace(placeholder, name)
    arguments = shlex.split(re.sub(r"^(python3? (-m )?\S+|rembg .)", "", line.replace("\\\n", " ")))
    return main([command, *arguments, *more])


def new(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `convert_video` is called with."""
    seen: dict[str, Any] = {}

    def record(model: Any, input_source: Any, **options: Any) -> Summary:
        seen.update(options, model=model, input_source=input_source)
        return Summary(0, 0.0, ())

    monkeypatch.setattr(conversions, "convert_video", record)
    return seen


# ---------------------------------------------------------------------------------------------------------------------
# RobustVideoMatting


def test_rvm(here: Path) -> None:
    before = new(here)
    assert typed("video", RVM) == 0
    assert new(here) - before == {"composition.mp4", "alpha.mp4", "foreground.mp4"}


def test_the_variant_must_be_that_of_the_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = new(here)
    assert typed("video", RVM.replace("mobilenetv3", "resnet50")) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "--variant is resnet50, and rvm.pth is rvm mobilenetv3; leave --variant out" in error
    assert new(here) == before


def test_the_variant_alone_names_the_model(here: Path, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTMATTE_OFFLINE", "1")
    assert main(["video", "input.mp4", "--variant", "resnet50"]) == 0
    assert asked["reads"] == ["rvm-resnet50"]


# ---------------------------------------------------------------------------------------------------------------------
# BackgroundMattingV2


def test_bgmv2_videos(here: Path) -> None:
    before = new(here)
    assert typed("video", BGMV2_VIDEO) == 0
    assert new(here) - before == {f"results/{name}.mp4" for name in ("com", "fgr", "pha", "err", "ref")}


def test_bgmv2_image_sequences(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = new(here)
    assert typed("video", BGMV2_VIDEO, "--output-format", "image_sequences") == 0
    names = {f"results/{kind}/{number:04}.png" for kind in ("com", "fgr", "pha", "err", "ref") for number in range(3)}
    assert new(here) - before == names
    with Image.open("results/com/0000.png") as com, Image.open("results/ref/0000.png") as ref:
        assert com.mode == "RGBA"
        assert ref.size == SIZE
        assert set(np.unique(np.asarray(ref))) <= {0, 255}
    assert "no background is used" in capsys.readouterr().err


def test_bgmv2_images(here: Path) -> None:
    before = new(here)
    assert typed("image", BGMV2_IMAGES + " err ref --num-workers 8 -y") == 0
    assert new(here) - before == {
        "results/com/a b.png",
        *(f"results/{kind}/a b.jpg" for kind in ("fgr", "pha", "err", "ref")),
    }
    with Image.open("results/com/a b.png") as com, Image.open("results/err/a b.jpg") as err:
        assert (com.mode, err.mode, err.size) == ("RGBA", "L", SIZE)


def test_bgmv2_base_network(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a file with a refiner: the original reads such files so. It has no patches that are refined."""
    line = BGMV2_IMAGES.replace("mattingrefine", "mattingbase")
    assert typed("image", line + " err") == 0
    with Image.open("results/err/a b.jpg") as err:
        assert err.size == SIZE
    shutil.rmtree("results")
    assert typed("image", line + " ref") == 2
    assert "bgmv2 base_mobilenetv2 makes no output refined" in capsys.readouterr().err
    assert not Path("results").exists()


def test_the_backbone_must_be_that_of_the_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("image", BGMV2_IMAGES.replace("resnet50", "resnet101")) == 2
    assert "--model-backbone is resnet101, and bgmv2.pth is bgmv2 refine_mobilenetv2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "flags", "threshold"),
    [
        ("video in.mp4", "--model-refine-mode thresholding", 0.7),
        ("video in.mp4", "--model-refine-mode thresholding --model-refine-threshold 0.2", 0.2),
        ("video in.mp4", "--refine-threshold 0.2 --model-refine-mode thresholding", 0.2),
        ("video in.mp4", "--model-refine-mode sampling", None),
        ("video in.mp4", "--refine-mode thresholding", None),
        ("live", "--model-refine-mode thresholding", None),
    ],
)
def test_the_threshold_of_the_scripts(command: str, flags: str, threshold: float | None) -> None:
    from tests.cli.commands import daily

    args = daily().parse_args([*command.split(), *flags.split()])
    assert args.refine_threshold == threshold


def test_webcams_have_the_defaults_of_their_script() -> None:
    from tests.cli.commands import daily

    line = "--model-type mattingrefine --model-backbone resnet50 --backend pytorch --model-checkpoint bgmv2.pth"
    args = daily().parse_args(["live", *line.split(), "--resolution", "1280", "720", "--video_device_id", "0"])
    scripts.live(args)
    assert (args.background, args.precision, args.backend, args.camera) == ("white", "fp32", "auto", 0)
    assert tuple(args.resolution) == (1280, 720)
    args = daily().parse_args(["live", *line.split(), "--precision", "float16", "--background", "red"])
    scripts.live(args)
    assert (args.background, args.precision, tuple(args.resolution)) == ("red", "fp16", (1280, 720))
    args = daily().parse_args(["live"])
    scripts.live(args)
    assert (args.background, args.precision, args.resolution) == ("greenscreen", None, None)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--output-dir new", "--output-dir is given without --output-types"),
        ("--output-types com", "--output-types is given without --output-dir"),
        ("--output-format video", "--output-format is given without --output-dir"),
        ("--output-dir new --output-types com -o out.mp4", "the output is given twice, as out.mp4 and as new"),
        ("out.mp4 --video-src other.mp4", "the input is given twice"),
        ("--model-refine-mode thresholds", "expected|invalid choice"),
    ],
)
def test_flags_that_are_wrong(flags: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = new(here)
    try:
        status = main(["video", "input.mp4", "--model", "bgmv2.pth", *flags.split()])
    except SystemExit as error:
        status = int(error.code or 0)
    assert status == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert re.search(message, lines[0])
    assert new(here) == before
    assert not Path("new").exists()


# ---------------------------------------------------------------------------------------------------------------------
# MODNet


def test_modnet_pictures(here: Path) -> None:
    before = new(here)
    line = "python -m demo.image_matting.colab.inference --input-path src --output-path mattes --ckpt-path modnet.onnx"
    assert typed("image", line) == 0
    line = "python -m onnx.inference_onnx --image-path=in.png --output-path=matte.png --model-path=modnet.onnx"
    assert typed("image", line) == 0
    assert new(here) - before == {"mattes/a b.png", "matte.png"}
    with Image.open("mattes/a b.png") as first, Image.open("matte.png") as second:
        assert (first.mode, second.mode) == ("L", "L")


def test_modnet_videos(asked: dict[str, Any]) -> None:
    assert typed("video", "python -m demo.video_matting.custom.run --video films/in.mp4") == 0
    assert (asked["input_source"], asked["output"], asked["background"]) == ("films/in.mp4", "films/in_fg.mp4", "white")
    assert (asked["kinds"], asked["reads"]) == (["composite"], ["modnet-webcam"])
    line = "python -m demo.video_matting.custom.run --video in.mp4 --result-type matte --fps 25"
    assert typed("video", line) == 0
    assert (asked["output"], asked["kinds"], asked["background"]) == ("in_matte.mp4", ["alpha"], None)
    assert asked["rate"] == "25"


def test_modnet_video_at_another_rate(here: Path) -> None:
    av = pytest.importorskip("av")
    assert typed("video", "python run.py --video input.mp4 --result-type matte --fps 10", "-m", "modnet.onnx") == 0
    with av.open("input_matte.mp4") as film:
        assert film.streams.video[0].average_rate == 10
        assert not film.streams.audio
        assert [frame.time for frame in film.decode(video=0)] == pytest.approx([0, 0.1, 0.2])


# ---------------------------------------------------------------------------------------------------------------------
# rembg


def test_rembg(here: Path) -> None:
    model = str(models.model("u2netp"))
    assert typed("image", f"rembg i -m {model} in.png out.png") == 0
    assert typed("image", f"rembg i -m {model} -om in.png mask.png") == 0
    assert typed("image", f"rembg i -m {model} -bgc 255 0 0 255 in.png red.png") == 0
    assert typed("image", f"rembg i -m {model} -bgc 255 0 0 0 in.png clear.png") == 0
    assert typed("image", f"rembg p -m {model} src cutouts") == 0
    modes = {}
    for name in ("out.png", "mask.png", "red.png", "clear.png", "cutouts/a b.png"):
        with Image.open(name) as picture:
            modes[name] = picture.mode
    assert modes == {
        **{"out.png": "RGBA", "mask.png": "L", "red.png": "RGB", "clear.png": "RGBA", "cutouts/a b.png": "RGBA"}
    }


def test_rembg_s_post_processing(here: Path) -> None:
    model = str(models.model("u2netp"))
    for flag in ("-ppm", "--post-process-mask", "--post-process"):
        assert typed("image", f"rembg i -m {model} {flag} -om in.png {flag.strip('-')}.png") == 0
        with Image.open(f"{flag.strip('-')}.png") as mask:
            assert set(np.unique(np.asarray(mask))) <= {0, 255}


@pytest.mark.parametrize("flags", ["-a", "-a -af 270 -ab 20 -ae 11", "--alpha-matting-erode-size 15"])
def test_rembg_s_alpha_matting_is_explained(flags: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(models.model("u2netp"))
    assert typed("image", f"rembg i -m {model} {flags} in.png out.png") == 0
    assert "alpha matting has no flags here: cut-outs have the foreground's own colours" in capsys.readouterr().err
    assert typed("image", f"rembg i -m {model} in.png other.png") == 0
    assert "alpha matting" not in capsys.readouterr().err
    assert Path("out.png").read_bytes() == Path("other.png").read_bytes()


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        *(("i", "trtmatte image"), ("p", "trtmatte image"), ("b", "trtmatte video - OUT --raw WIDTHxHEIGHT")),
        *(("d", "trtmatte models pull"), ("s", "trtmatte serve")),
    ],
)
def test_the_commands_of_rembg_are_answered_with_ours(
    command: str, ours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "in.png", "out.png"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert ours in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("-bgc 1 2 3 255 --background red", "the background is given twice"),
        ("-bgc 1 2 3 100", "not opaque"),
        ("--images-src src", "the input is given twice"),
    ],
)
def test_pictures_with_flags_that_are_wrong(
    flags: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = new(here)
    assert main(["image", "in.png", "--model", "modnet.onnx", *flags.split()]) == 2
    assert message in capsys.readouterr().err
    assert new(here) == before


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        *(("u2net", "u2net"), ("u2net_human_seg", "u2net-human"), ("u2net_cloth_seg", "u2net-cloth")),
        *(("bria-rmbg", "rmbg-2.0"), ("isnet-anime", "isnet-anime"), ("birefnet-massive", "birefnet-massive")),
    ],
)
def test_the_models_of_rembg_have_their_names(name: str, ours: str) -> None:
    from tests.cli.commands import daily

    args = daily().parse_args(["image", "in.png", "-m", name])
    scripts.image(args)
    assert catalog.find(args.model).name == ours


# ---------------------------------------------------------------------------------------------------------------------
# The page


def test_the_page_has_every_flag() -> None:
    text = (ROOT / "python/trtmatte/cli/scripts.py").read_text("utf-8")
    flags = set(re.findall(r'"(--?[a-z][a-z-]*)"', text))
    assert len(flags) > 20
    page = (ROOT / "docs/commands.md").read_text("utf-8")
    assert [flag for flag in sorted(flags) if not re.search(rf"`{flag}\b", page)] == []
