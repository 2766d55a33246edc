"""What each family keeps in float32, as found by `benchmarks/precision.py` and told in `docs/precision.md`."""

from __future__ import annotations

import importlib
import importlib.util
from typing import cast

from trtmatte.graph.precision import Rule


def for_family(family: str) -> Rule:
    """The rule of a family, for `trtmatte.graph.precision.to_fp16`; of one that is not known here, the generic one."""
    known = importlib.util.find_spec(f"trtmatte.families.{family}") is not None
    return cast(Rule, importlib.import_module(f"trtmatte.families.{family if known else 'generic'}.spec").KEEP_FP32)
