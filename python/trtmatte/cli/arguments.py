"""What flags are written as."""

from __future__ import annotations

import argparse
import json
from typing import Any

__all__ = ["setting", "size"]


def size(text: str) -> tuple[int, int]:
    """A width and a height."""
    width, separator, height = text.partition("x")
    if not (separator and width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; expected WIDTHxHEIGHT, such as 1920x1080")
    return int(width), int(height)


def setting(text: str) -> tuple[str, Any]:
    """A setting's name, and its value: a size, a number, true or false, several of these between commas, or a word."""
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise argparse.ArgumentTypeError(f"{text!r} is no setting; expected NAME=VALUE, such as downsample_ratio=0.25")
    return name.replace("-", "_"), _parsed(value)


def _parsed(text: str) -> Any:
    if "," in text:
        return tuple(_parsed(part) for part in text.split(","))
    try:
        return size(text)
    except argparse.ArgumentTypeError:
        pass
    try:
        return json.loads(text)
    except ValueError:
        return text
