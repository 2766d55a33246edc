"""The addresses of models that several families list."""

from typing import Final

from trtmatte.models.model import Address

__all__ = ["of_rembg"]

_RELEASE: Final = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"


def of_rembg(file: str) -> Address:
    """Return the address of a file that rembg downloads."""
    return Address(f"{_RELEASE}/{file}")
