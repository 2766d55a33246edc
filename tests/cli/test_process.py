"""Every end of a command is one line and an exit status."""

from __future__ import annotations

from typing import Any

import pytest

from trtmatte.cli import bench, build, doctor, image, inspect, live, main, models, video
from trtmatte.errors import BackendError, InputError, OutputError, SettingError

COMMANDS = {
    "video": (video, ["in.mp4", "--engine", "e"]),
    "image": (image, ["in.png", "-o", "out", "--engine", "e"]),
    "live": (live, ["--engine", "e"]),
    "models": (models, []),
    "inspect": (inspect, ["e"]),
    "doctor": (doctor, []),
    "bench": (bench, []),
}
DEFECT = "(this is a defect of trtmatte; please report it, with TRTMATTE_DEBUG=1 for the traceback)"


def ended(command: str, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def fail(*_: object) -> int:
        raise error

    if command == "build":
        monkeypatch.setattr(build, "_run", fail)
        return build.main(["m.onnx"])
    module, arguments = COMMANDS[command]
    monkeypatch.setattr(module, "run", fail)
    return main.main([command, *arguments])


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (SettingError("why"), 2, "why"),
        (InputError("two\nlines \x1b[31mred"), 2, r"two lines \x1b[31mred"),
        (BackendError("why"), 1, "why"),
        (OutputError("why"), 1, "why"),
        (MemoryError(), 1, "there is not enough memory; smaller frames or models need less"),
        (KeyError("x\x07"), 70, rf"KeyError: 'x\x07' {DEFECT}"),
        (RecursionError("too deep"), 70, f"RecursionError: too deep {DEFECT}"),
        (AssertionError(), 70, f"AssertionError {DEFECT}"),
        (OSError(28, "No space", "a\nb"), 70, rf"OSError: [Errno 28] No space: 'a\nb' {DEFECT}"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("command", [*COMMANDS, "build"])
def test_errors(
    command: str, error: BaseException, status: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert ended(command, error, monkeypatch) == status
    name = "trtmatte-build" if command == "build" else f"trtmatte {command}"
    assert capsys.readouterr() == ("", f"{name}: {told}\n")


def test_the_traceback_for_a_report(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("TRTMATTE_DEBUG", "1")
    assert ended("models", KeyError("x"), monkeypatch) == 70
    told = capsys.readouterr().err
    assert told.startswith("Traceback (most recent call last):\n")
    assert told.endswith(f"trtmatte models: KeyError: 'x' {DEFECT}\n")
