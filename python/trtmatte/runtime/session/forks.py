"""Sessions in a forked process, which has none of the threads of the libraries.

A network of the parent can neither run in the child nor be freed: both wait for its threads. So the child forgets the
networks that its parent loaded and never frees those of open sessions; a session that it opens loads them again.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final
from weakref import WeakSet

from trtmatte.runtime.networks import forget_in_child

_executors: Final[WeakSet[Any]] = WeakSet()


def remember(executor: object) -> None:
    _executors.add(executor)


def _in_child() -> None:
    for each in (*_executors, forget_in_child()):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))  # never freed, not even when the interpreter ends
    _executors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
