"""Options in messages: as arguments in Python, as flags in commands."""

from __future__ import annotations

from typing import Any

import pytest

from trtmatte.support.options import as_flags, option


@pytest.mark.parametrize(
    ("given", "argument", "flag"),
    [
        (("crf",), "crf", "--crf"),
        (("input_resize",), "input_resize", "--input-resize"),
        (("raw", "4x2@25"), "raw='4x2@25'", "--raw 4x2@25"),
        (("overwrite", True), "overwrite=True", "-y"),
        (("window", None), "window=None", "--no-window"),
    ],
)
def test_one_option_has_two_spellings(given: tuple[Any, ...], argument: str, flag: str) -> None:
    assert option(*given) == argument
    with as_flags({"overwrite": "-y", "window": "--no-window"}):
        assert option(*given) == flag
    assert option(*given) == argument
