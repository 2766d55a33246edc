#!/usr/bin/env bash
# All that needs a GPU, in one go, without a network: build, tests, sanitizers, benchmarks. Reports go to a folder.
#
#   tools/gpu_check.sh [FOLDER]          (out/gpu)
#
# nvcc (CUDACXX), a compiler and the packages of the extras are there already. Goes on where a step fails, and then ends
# with 1.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-out/gpu}
mkdir -p "$out"
python=${PYTHON:-python3}
failed=()

step() {
  local name=$1
  shift
  echo "== $name"
  "$@" 2>&1 | tee "$out/$name.log" || failed+=("$name")
}

capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1)
nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total --format=csv >"$out/gpu.csv"

build() {
  cmake -S . -B build/gpu -G Ninja -DTRTMATTE_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="${capability/./}-real" \
    -DPython_EXECUTABLE="$(command -v "$python")" -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" &&
    cmake --build build/gpu
}
step build build
core=$(echo "$PWD"/build/gpu/_core*.so)
[ -f "$core" ] || { echo "there is no core to test"; exit 1; }
export TRTMATTE_CORE=$core TRTMATTE_REQUIRE_GPU=1 PYTHONPATH=$PWD/python:$PWD

step tests "$python" -m pytest -m gpu -q --junitxml "$out/tests.xml"

if command -v compute-sanitizer >/dev/null; then
  # The largest frames would take hours.
  few=(-m gpu -q -k "not 2160 and not 1080 and not 4K and not 20000")
  for tool in memcheck racecheck; do
    step "$tool" compute-sanitizer --tool "$tool" --error-exitcode 1 --target-processes all \
      "$python" -m pytest tests/ops "${few[@]}" --junitxml "$out/$tool.xml"
  done
else
  failed+=("compute-sanitizer is not on the path")
fi

benchmarks() {
  "$python" -m pytest benchmarks/ops -q -m gpu --benchmark-json "$out/benchmarks.json" || [ $? -eq 5 ] # 5: there are none
}
step benchmarks benchmarks

if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}"
  exit 1
fi
echo "all passed; reports are in $out"
