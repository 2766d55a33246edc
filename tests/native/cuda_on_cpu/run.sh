#!/usr/bin/env bash
# Builds the core with the CUDA forms compiled for the CPU, and runs the ops' gpu tests on it, and sessions on a
# stand-in for the device. Arguments go to pytest; the largest frames are left out unless there are some, as one thread
# emulates thousands.
set -euo pipefail
cd "$(dirname "$0")/../../.."
build=build/emulated
python=$(command -v python)
cmake -S . -B "$build" -G Ninja -DTRTMATTE_CUDA=EMULATED -DPython_EXECUTABLE="$python" \
  -Dpybind11_DIR="$(python -m pybind11 --cmakedir)" --log-level=WARNING
cmake --build "$build" -- --quiet
arguments=("$@")
[ $# -gt 0 ] || arguments=(-k "not 2160 and not 1080 and not 4K and not 20000")
export TRTMATTE_CORE=$(echo "$PWD/$build"/_core*.so) PYTHONPATH=python
TRTMATTE_REQUIRE_GPU=1 python -m pytest tests/ops -m gpu -q "${arguments[@]}"
python -m pytest tests/session/test_cuda_emulated.py -q
python -m pytest benchmarks/ops --device=cuda --benchmark-disable -q -k "HD or scatter" # what they run on a device
