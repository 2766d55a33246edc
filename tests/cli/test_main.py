"""The command `trtmatte` as it is typed."""

import re
import subprocess
import sys

import pytest

import trtmatte
from trtmatte.cli import build
from trtmatte.cli.main import main


@pytest.mark.parametrize("command", ["models", "inspect"])
def test_each_command_has_help(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert command in capsys.readouterr().out


def test_it_runs_as_a_module_without_onnx_or_torch():
    code = (
        "import sys; from trtmatte.cli.main import main; status = main(['models']); "
        "assert not {'onnx', 'torch'} & set(sys.modules), 'imported for nothing'; sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "rvm-mobilenetv3" in done.stdout


def test_no_command_prints_the_help(capsys):
    with pytest.raises(SystemExit, match="0"):
        main([])
    printed = capsys.readouterr()
    assert printed.err == ""
    assert re.match(r"usage: trtmatte .* COMMAND", printed.out)
    assert re.search(r"^ +image +\w+", printed.out, re.MULTILINE)


def test_it_runs_as_a_module_of_its_own_name():
    done = subprocess.run([sys.executable, "-m", "trtmatte", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"trtmatte {trtmatte.__version__}\n"), done.stderr


def test_a_wrong_command_is_status_2(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["fly"])
    assert re.fullmatch("trtmatte: .*; trtmatte --help lists the flags\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--vresion models", "trtmatte: unrecognized arguments: --vresion; did you mean --version\\?; trtmatte --help"),
        (
            "vidoe in.mp4",
            "trtmatte: argument COMMAND: invalid choice: 'vidoe'.*; did you mean video\\?; trtmatte --help",
        ),
        ("video in.mp4 --modle x", "trtmatte video: unrecognized arguments: --modle.*; did you mean --model\\?;"),
        ("image a.png --outt=b", "trtmatte image: unrecognized arguments: --outt=b; did you mean --out\\?;"),
        ("live --zzzzzz", "trtmatte live: unrecognized arguments: --zzzzzz; trtmatte live --help lists the flags"),
        (
            "models pull u2net --lnog",
            "trtmatte models pull: unrecognized arguments: --lnog; trtmatte models pull --help",
        ),
        ("video a.mp4 b.mp4 c.mp4", "trtmatte video: unrecognized arguments: c.mp4; trtmatte video --help"),
        ("photo.jpg", "trtmatte: .*'photo.jpg'.*; a file follows a command: trtmatte image PICTURE, or trtmatte video"),
        ("video a.mp4 --output b.mkv", "trtmatte video: argument --output: .*'b.mkv'.*; -o takes the name of a file; "),
        ("video --model", "trtmatte video: argument --model.*: expected one argument; trtmatte video --help"),
    ],
)
def test_a_wrong_flag_is_one_line_with_the_one_that_was_meant(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments.split())
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert re.match(message, printed.err), printed.err


def test_a_wrong_flag_of_a_build(capsys):
    with pytest.raises(SystemExit, match="2"):
        build.main(["model.onnx", "--sise", "1x1"])
    assert capsys.readouterr().err == (
        "trtmatte-build: unrecognized arguments: --sise 1x1; did you mean --size?; "
        "trtmatte-build --help lists the flags\n"
    )


@pytest.mark.parametrize(("command", "name"), [(main, "trtmatte"), (build.main, "trtmatte-build")])
def test_version(command, name, capsys):
    with pytest.raises(SystemExit, match="0"):
        command(["--version"])
    assert capsys.readouterr().out == f"{name} {trtmatte.__version__}\n"


def test_a_missing_model_is_status_2(capsys, tmp_path):
    assert main(["inspect", str(tmp_path / "none.onnx")]) == 2
    assert "none.onnx" in capsys.readouterr().err
