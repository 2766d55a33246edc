"""Fetches nvcc and nvdisasm from PyPI, for a machine that has none, and says how to use nvcc.

    python tools/install_nvcc.py FOLDER
    export CUDACXX=…                              # the last line that it prints

The wheels are pinned: to one CUDA release, and nvdisasm to the first that PyPI has, which reads the code of older ones.
Beyond `pip install --target` this only puts the libraries where nvcc and CMake look for them. `--check` compiles and
links a kernel for every architecture that trtmatte builds by default.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

WHEELS = (
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
    "nvidia-cuda-nvdisasm==13.2.86",
)
ARCHITECTURES = (75, 80, 86, 89, 90, 120)
KERNEL = "#include <cuda_fp16.h>\n__global__ void halve(__half* x) { x[threadIdx.x] *= __half(0.5f); }\n"


def install(folder: Path) -> Path:
    """Install nvcc. Returns its path."""
    target = ["--target", str(folder), "--no-deps", "--quiet", "--upgrade"]
    subprocess.run([sys.executable, "-I", "-m", "pip", "install", *target, *WHEELS], check=True)
    root = next((folder / "nvidia").glob("cu*"))
    libraries = root / "lib64"  # where nvcc looks for them
    if not libraries.exists():
        libraries.symlink_to("lib", target_is_directory=True)
    for library in (root / "lib").glob("libcudart.so.*"):  # wheels leave out the name that linkers ask for
        plain = library.with_name("libcudart.so")
        if not plain.exists():
            plain.symlink_to(library.name)
    for program in (*root.glob("bin/*"), *root.glob("nvvm/bin/*")):
        if program.is_file():
            program.chmod(0o755)
    return root / "bin" / "nvcc"


def check(nvcc: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "halve.cu"
        source.write_text(KERNEL)
        targets = [f"-gencode=arch=compute_{each},code=sm_{each}" for each in ARCHITECTURES]
        subprocess.run(
            [str(nvcc), *targets, "-shared", "-Xcompiler=-fPIC", str(source), "-o", str(source.with_suffix(".so"))],
            check=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch nvcc from PyPI.")
    parser.add_argument("folder", type=Path, help="where to put it")
    parser.add_argument("--check", action="store_true", help="compile a kernel with it")
    arguments = parser.parse_args()
    nvcc = install(arguments.folder.resolve())
    if arguments.check:
        check(nvcc)
    print(f"export CUDACXX={nvcc}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
