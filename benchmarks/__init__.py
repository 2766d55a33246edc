"""Benchmarks. `TRTMATTE_CORE` names another build of the core, which is loaded in place of the installed one."""

import importlib.util
import os
import sys

if core := os.environ.get("TRTMATTE_CORE"):
    _specification = importlib.util.spec_from_file_location("trtmatte._core", core)
    assert _specification is not None
    assert _specification.loader is not None
    sys.modules["trtmatte._core"] = importlib.util.module_from_spec(_specification)
    _specification.loader.exec_module(sys.modules["trtmatte._core"])
