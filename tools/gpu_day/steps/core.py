"""Put the core that was built beforehand into build/gpu, or build it here if it does not fit."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

CORE = f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"


SOURCES = ("CMakeLists.txt", "cmake", "csrc", "tests/native/plugins")
HASH = "sources.sha256"  # beside the core: what it was built from


def sources_hash(root: Path) -> str:
    """A hash of all that the core and the plugins are built from."""
    digest = hashlib.sha256()
    for name in SOURCES:
        path = root / name
        for file in sorted([path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]):
            digest.update(f"{file.relative_to(root)}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def fits(folder: Path) -> bool:
    """Report if the core of a folder is built from these sources, for this Python and for this GPU."""
    if not (folder / CORE).is_file():
        print(f"the kit has no {CORE}")
        return False
    if (folder / HASH).read_text() != sources_hash(Path.cwd()):
        print("the core in the kit was built from other sources")
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
