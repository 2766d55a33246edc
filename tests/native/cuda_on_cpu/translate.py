"""Rewrite `kernel<<<grid, block, shared, stream>>>(` as a call that a C++ compiler understands.

python translate.py SOURCE TARGET
"""

import re
import sys
from pathlib import Path

LAUNCH = re.compile(r"(\w+(?:<[^<>]*>)?)\s*<<<(.*?)>>>\(", re.DOTALL)


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(LAUNCH.sub(r"::emulated::launch(\1, \2)(", source.read_text()))


main()
