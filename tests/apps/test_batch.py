"""The batch service: lines in, lines out."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image

from tests.runtime.session import engines
from trtmatte.apps import batch, picture_queue
from trtmatte.apps.batch import Service
from trtmatte.apps.matting import Matting
from trtmatte.errors import SettingError
from trtmatte.format.op_forms import LARGEST_SIDE
from trtmatte.media.request_lines import RequestLines
from trtmatte.support.limits import Limits

SIZES = [(32, 24), (31, 45), (32, 24), (64, 20), (32, 24), (31, 45), (32, 24), (32, 24)]


def picture(number: int) -> Any:
    return engines.noise(number, *SIZES[number])


def encoded(pixels: Any, format: str = "PNG") -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return base64.b64encode(file.getvalue()).decode()


def request(id: Any, pixels: Any) -> bytes:
    return json.dumps({"id": id, "image": encoded(pixels)}).encode() + b"\n"


def matting(streams: int = 1, kind: str = "rgba", **options: Any) -> Matting:
    engine = engines.memory(streams, **options)
    return Matting(engine, [kind], backend="onnxruntime", **({"batch": streams} if streams > 1 else {}))


def answers(text: bytes, single: Any = None, several: Any = None, **options: Any) -> list[dict[str, Any]]:
    written: list[bytes] = []
    safe = options.get("safe", False)
    lines = RequestLines(io.BytesIO(text), Limits.of(safe))
    options = {"kind": "rgba", **options}
    served = Service(lines, written.append, single, several, **options).serve()
    found = [json.loads(line) for line in written]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in written)
    assert served.failed == sum("error" in each for each in found)
    assert served.matted == len(found) - served.failed
    return found


def decoded(answer: dict[str, Any]) -> Any:
    with Image.open(io.BytesIO(base64.b64decode(answer["image"]))) as image:
        return np.asarray(image)


# ---------------------------------------------------------------------------------------------------------------------
# Pictures of mixed sizes


@pytest.mark.parametrize("width", [0, 1, 2, 3])
def test_each_picture_is_matted_by_itself(width: int) -> None:
    """In batches or one by one, whatever its neighbours."""
    lines = b"".join(request(f"p{number}", picture(number)) for number in range(len(SIZES)))
    if width == 0:  # an engine file that was built for two
        found = answers(lines, None, matting(2), batch=2)
    elif width == 1:
        found = answers(lines, matting())
    else:
        found = answers(lines, matting(), matting(width), batch=width)
    assert sorted(each["id"] for each in found) == [f"p{number}" for number in range(len(SIZES))]
    for each in found:
        np.testing.assert_array_equal(decoded(each), engines.cut_out(picture(int(each["id"][1:]))))


class Noted:
    """A matting that notes how many pictures it gets together."""

    def __init__(self, real: Matting, sizes: list[int]) -> None:
        self._real, self._sizes = real, sizes
        self.shape = real.shape

    def together(self, pictures: Any, behind: Any) -> Any:
        self._sizes.append(len(pictures))
        return self._real.together(pictures, behind)


@pytest.mark.parametrize(
    ("count", "alone", "together"),
    [(1, [1], []), (2, [1, 1], []), (3, [], [3]), (5, [], [5]), (6, [1], [5]), (9, [], [5, 4])],
)
def test_a_batch_that_is_less_than_half_full_is_matted_one_by_one(
    count: int, alone: list[int], together: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_queue, "_LINGER", 600)  # until the lines end
    lines = b"".join(request(number, engines.noise(number)) for number in range(count))
    ones, many = [], []
    answers(lines, Noted(matting(), ones), Noted(matting(5), many), batch=5)
    assert (ones, many) == (alone, together)


def test_without_an_engine_for_one_a_batch_is_filled_up() -> None:
    many: list[int] = []
    found = answers(request(1, picture(0)), None, Noted(matting(3), many), batch=3)
    assert many == [1]
    np.testing.assert_array_equal(decoded(found[0]), engines.cut_out(picture(0)))


def test_pictures_of_all_sizes_share_a_batch() -> None:
    many: list[int] = []
    lines = b"".join(request(number, picture(number)) for number in range(len(SIZES)))
    found = answers(lines, matting(), Noted(matting(4), many), batch=4, background="blur", kind="rgba")
    assert many == [4, 4]
    for each in found:
        np.testing.assert_array_equal(decoded(each), engines.cut_out(picture(each["id"])))


def test_a_picture_that_is_refused_fails_alone() -> None:
    """Not with its batch."""
    wide = np.zeros((1, LARGEST_SIDE + 1, 3), np.uint8)
    lines = b"".join(request(number, wide if number == 1 else picture(number)) for number in range(4))
    found = {each["id"]: each for each in answers(lines, None, matting(4), batch=4)}
    assert f"a frame is {LARGEST_SIDE + 1}x1 pixels" in found.pop(1)["error"]
    for number, each in found.items():
        np.testing.assert_array_equal(decoded(each), engines.cut_out(picture(number)))
    assert found.keys() == {0, 2, 3}


@contextmanager
def piped() -> Iterator[tuple[Any, Any]]:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as lines, os.fdopen(writer, "wb", buffering=0) as requests:
        yield lines, requests


def test_a_batch_does_not_wait_for_a_silent_pipe() -> None:
    """A picture is answered although the batch is not full."""
    answered = threading.Event()
    with piped() as (lines, requests):
        service = Service(RequestLines(lines), lambda line: answered.set(), matting(), matting(4), kind="rgba", batch=4)
        thread = threading.Thread(target=service.serve)
        thread.start()
        requests.write(request(1, picture(0)))
        assert answered.wait(30)
        requests.close()
        thread.join(30)
        assert not thread.is_alive()


def test_few_requests_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is answered, no further line is read."""
    going_on, answered = threading.Event(), []

    def write(line: bytes) -> None:
        assert going_on.wait(30)
        answered.append(line)

    total = 60
    text = b"".join(request(number, engines.noise(number)) for number in range(total))
    lines = RequestLines(io.BytesIO(text))
    real, asked = lines.request, []
    held = threading.Event()

    def noted(number: int, line: bytes) -> Any:
        asked.append(number)
        if len(asked) == batch._WAITING:
            held.set()
        return real(number, line)

    monkeypatch.setattr(lines, "request", noted)
    service = Service(lines, write, matting(), kind="rgba")
    thread = threading.Thread(target=service.serve)
    thread.start()
    assert held.wait(30)
    thread.join(0.2)
    assert len(asked) == batch._WAITING
    going_on.set()
    thread.join(60)
    assert len(answered) == total


# ---------------------------------------------------------------------------------------------------------------------
# Outputs


@pytest.mark.parametrize(
    ("kind", "output", "background"),
    [("alpha", "pha", None), ("foreground", "fgr", None), ("composite", "composite", "red"), ("composite", "", "blur")],
)
def test_outputs(kind: str, output: str, background: str | None) -> None:
    found = answers(
        request(0, picture(0)) + request(2, picture(2)),
        matting(kind=kind),
        matting(2, kind),
        kind=kind,
        batch=2,
        background=background,
    )
    options = {} if background is None else {"background": background}
    for each in found:
        np.testing.assert_array_equal(
            decoded(each), engines.cut_out(picture(each["id"]), output or "composite", **options)
        )


def test_formats() -> None:
    (found,) = answers(request(0, picture(0)), matting(), format="webp", quality=100)
    with Image.open(io.BytesIO(base64.b64decode(found["image"]))) as image:
        assert image.format == "WEBP"
    np.testing.assert_array_equal(decoded(found), engines.cut_out(picture(0)))


# ---------------------------------------------------------------------------------------------------------------------
# What is no request

GOOD = request("good", engines.noise(0))


@pytest.mark.parametrize(
    ("line", "key", "error"),
    [
        (b"nonsense", {"id": None, "line": 2}, "line 2 is no JSON: Expecting value.*; expected an id and an image"),
        (b"\xff\xfe\xfa", {"id": None, "line": 2}, "line 2 is no JSON"),
        (b"[" * 100_000, {"id": None, "line": 2}, "line 2 is no JSON"),
        (b'{"id": NaN}', {"id": None, "line": 2}, "line 2 is no JSON: NaN is no value"),
        (b"[1]", {"id": None, "line": 2}, "line 2 has no image"),
        (b'{"id": 7}', {"id": 7}, "line 2 has no image; expected an id and an image, a picture's file in base64"),
        (b'{"id": "a", "image": 7}', {"id": "a"}, "line 2 has no image"),
        (b'{"id": 0, "image": "!"}', {"id": 0}, "the image of line 2 is no base64"),
        (b'{"id": 0, "image": "\xc3\xbc"}', {"id": 0}, "the image of line 2 is no base64"),
        (b'{"id": 0, "image": ""}', {"id": 0}, "the picture cannot be read: it is empty"),
        (b'{"id": [1, {"a": null}], "image": "YWJj"}', {"id": [1, {"a": None}]}, "the picture cannot be read"),
        (b'{"image": "YWJj"}', {"id": None, "line": 2}, "the picture cannot be read: it is no picture"),
    ],
)
def test_a_bad_line_fails_alone(line: bytes, key: dict[str, Any], error: str) -> None:
    found = answers(GOOD + line + b"\n\n  \r\n" + GOOD, matting())
    (bad,) = [each for each in found if "error" in each]
    assert {name: value for name, value in bad.items() if name != "error"} == key
    assert re.match(error, bad["error"])
    assert [each["id"] for each in found if "error" not in each] == ["good", "good"]


def test_data_urls_carriage_returns_and_a_last_line_without_an_end() -> None:
    line = json.dumps({"id": 1, "image": f"data:image/png;base64,{encoded(picture(0))}"}).encode()
    found = answers(line + b"\r\n" + line, matting())
    for each in found:
        np.testing.assert_array_equal(decoded(each), engines.cut_out(picture(0)))
    assert len(found) == 2


def test_no_lines() -> None:
    assert answers(b"", matting()) == []


def test_limits() -> None:
    large = request("large", engines.noise(1, 64, 48))
    found = answers(large + GOOD, matting(), safe=Limits(pixels=32 * 24))
    told = {each["id"]: each.get("error") for each in found}
    assert told == {"good": None, "large": "the picture cannot be read: it is 64x48; expected 768 pixels at most"}
    long = b'{"id": 1, "image": "' + b"A" * (3 << 20) + b'"}\n'
    found = answers(long + GOOD, matting(), safe=Limits(file_bytes=1 << 20))
    assert {each["id"]: each.get("error") for each in found} == {
        None: f"line 1 has more than {(1 << 20) * 4 // 3 + (1 << 20)} bytes: it is too long",
        "good": None,
    }


def test_a_model_that_needs_plates() -> None:
    with pytest.raises(SettingError, match="memory needs the plate"):
        answers(GOOD * 20, matting(with_plate=True))


@pytest.mark.parametrize("line", [GOOD, b"bad\n"])
@pytest.mark.parametrize("count", [1, 12])
def test_an_answer_that_cannot_be_written(line: bytes, count: int) -> None:
    """The error is raised, although the pipe stays open."""

    def fail(line: bytes) -> None:
        raise BrokenPipeError

    with piped() as (lines, requests):
        requests.write(line * count)
        with pytest.raises(BrokenPipeError):
            Service(RequestLines(lines), fail, matting(), kind="rgba").serve()
