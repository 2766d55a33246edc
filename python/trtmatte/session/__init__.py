"""Sessions: frames in, mattes out, nothing else moves."""

from trtmatte.session.matte import Matte
from trtmatte.session.session import Session
from trtmatte.session.stats import Stats

__all__ = ["Matte", "Session", "Stats"]
