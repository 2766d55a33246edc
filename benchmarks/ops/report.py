"""The README's table of the ops, from what `make bench` wrote: python -m benchmarks.ops.report FILE.json"""

from __future__ import annotations

import json
import sys
from pathlib import Path

RIVALS = {
    "body": "ONNX Runtime on the function body",
    "memcpy": "memcpy of as many bytes",
    "numpy and Resize": "numpy and ONNX Runtime's Resize",
}


def rows(report: dict) -> list[str]:
    lines = []
    for each in report["benchmarks"]:
        facts = each["extra_info"]
        own = facts["trtmatte"]["min"]
        ratios = [f"{facts[name]['min'] / own:.2f}" if name in facts else "" for name in RIVALS]
        case = each["name"].removeprefix("bench_").removeprefix("test_")
        lines.append(f"| {case} | {own * 1e3:.2f} | {facts['bytes'] / own / 1e9:.1f} | {' | '.join(ratios)} |")
    return lines


def main() -> None:
    report = json.loads(Path(sys.argv[1]).read_text())
    machine = report["machine_info"]
    processor = machine["cpu"].get("brand_raw", machine["processor"])
    print(f"{processor}, {machine['trtmatte']['threads']} threads; the fastest of all rounds\n")
    print(f"| | ms | GB/s | {' | '.join(f'{title}, times as long' for title in RIVALS.values())} |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows(report)))


if __name__ == "__main__":
    main()
