"""Put the core that was built beforehand into build/gpu, or build it here if it does not fit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

CORE = f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"


def fits(folder: Path) -> bool:
    """Report if this Python can load the core of a folder, and the core is built for this GPU."""
    if not (folder / CORE).is_file():
        return False
    script = "import _core; print(_core.CUDA_ARCHITECTURES)"
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    print(f"the core in the kit is for {done.stdout.strip() or done.stderr}, this GPU is {capability() or 'not there'}")
    return done.returncode == 0 and capability().replace(".", "") + "-real" in done.stdout.split()


def capability() -> str:
    """The compute capability of the GPU: 9.0."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader", "-i", "0"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("CAPABILITY", "")


def main() -> int:
    prebuilt, build = Path(os.environ["GPU_DAY_KIT"]) / "core", Path("build/gpu")
    steps = ["build", "doctor"]
    if fits(prebuilt):
        build.mkdir(parents=True, exist_ok=True)
        for file in prebuilt.iterdir():
            shutil.copy(file, build)
        steps.remove("build")
    return subprocess.run(["tools/gpu_check.sh", "out/gpu-day/checks", *steps], check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
