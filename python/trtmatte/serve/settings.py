"""The settings of a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trtmatte.api import Engine
from trtmatte.support.limits import Limits

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """The models of a server, who may ask, and the most that it takes."""

    model: str = "rvm-mobilenetv3"
    """The model for requests that name none."""
    models: Mapping[str, str | Path | Engine] | None = None
    """The models that may be asked for: known names, model files or engines by their names. None: the known models."""
    batch: int = 1
    """Pictures that run through the network together."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of sessions, such as `device`."""
    build: Mapping[str, Any] = field(default_factory=dict)
    """Options of `trtmatte.build`, such as `precision`."""

    token: str | None = None
    """Whoever asks must know it; None: nobody is asked."""
    hosts: tuple[str, ...] = ()
    """The names under which the server is reached, beside numeric addresses and those of this machine."""
    origins: tuple[str, ...] = ()
    """The sites whose pages may use it, such as https://example.com; its own pages always may."""
    urls: tuple[str, ...] = ()
    """The hosts that pictures are fetched from."""

    waiting: int = 64
    """Pictures that may wait, for each model."""
    streams: int = 8
    """Live streams, at most."""
    max_memory: int | None = None
    """Bytes of this process, from which on the least used models leave. None: three quarters of the machine's."""
    body_bytes: int = 64 << 20
    """Of one request."""
    pixels: int = 1 << 26
    """Of one picture or frame."""
    seconds: float = 60.0
    """In which a request has arrived, and in which a client takes its answer."""

    @property
    def limits(self) -> Limits:
        return Limits(pixels=self.pixels, file_bytes=self.body_bytes)
