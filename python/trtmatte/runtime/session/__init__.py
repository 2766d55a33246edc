"""Sessions: run an engine on frames."""

from trtmatte.runtime.session.matte import Matte
from trtmatte.runtime.session.session import Session
from trtmatte.runtime.session.stats import Stats

__all__ = ["Matte", "Session", "Stats"]
