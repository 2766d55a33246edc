#!/usr/bin/env bash
# All that needs a GPU, in one go, without a network: build, tests, sanitizers, benchmarks. Reports go to a folder.
#
#   tools/gpu_check.sh [FOLDER [STEP…]]          (out/gpu; build doctor tests sessions plugins memcheck racecheck benchmarks)
#   tools/gpu_check.sh --rehearse [FOLDER [STEP…]]
#
# A rehearsal needs no GPU: the CUDA forms are compiled for the CPU (tests/native/cuda_on_cpu), sessions run on a driver
# without a device (tests/native/fake_driver), there is nothing for sanitizers to do, and the benchmarks are tiny.
#
# nvcc (on the path, or CUDACXX), a C++ compiler and these Python packages are there already: cmake, ninja, pybind11,
# numpy, cupy, cuda-core, onnx, onnxruntime, torch, pytest, pytest-benchmark, hypothesis, matplotlib. Arrays of pycuda and
# numba-cuda are checked where these are there. PYTHON names another python3, STEP_LIMIT the seconds that a step may take
# (1800), PYTHONPATH the folders of packages that are not installed. Without the step build, the core is used that lies in
# build/gpu. CAPABILITY (9.0) names the GPU to build for where there is none. tools/gpu_day takes all this to a machine
# without a network.
#
# Writes to the folder, build/gpu and out. Goes on where a step fails, and then ends with 1; summary.json says after each
# step how it went.
set -uo pipefail
cd "$(dirname "$0")/.."
rehearsal= kind=gpu
[ "${1:-}" != --rehearse ] || { rehearsal=1 kind=emulated && shift; }
out=${1:-out/$kind}
[ $# -eq 0 ] || shift
steps=("$@")
mkdir -p "$out"
out=$(cd "$out" && pwd)
python=$(command -v "${PYTHON:-python3}") || { echo "there is no ${PYTHON:-python3}"; exit 2; }
build=$PWD/build/$kind
package=$build/package
export PYTHONUNBUFFERED=1

if [ -n "$rehearsal" ]; then
  gpu="none: a rehearsal"
  form=(-DTRTMATTE_CUDA=EMULATED -DTRTMATTE_PLUGINS=OFF)
  echo "$gpu; $("$python" --version)"
else
  query() { nvidia-smi --query-gpu="$1" --format=csv,noheader | head -n 1; }
  capability=$(query compute_cap) && [ -n "$capability" ] || capability=${CAPABILITY:-}
  [ -n "$capability" ] || { echo "nvidia-smi finds no GPU"; exit 2; }
  gpu=$(query name,driver_version,compute_cap,memory.total)
  gpu=${gpu:-none}
  form=(-DTRTMATTE_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=${capability/./}-real")
  echo "$gpu; $("$python" --version); $("${CUDACXX:-nvcc}" --version | tail -n 1)"
fi

results=()
summarise() {
  "$python" - "$out/summary.json" "$gpu" "${results[@]+"${results[@]}"}" <<'END'
import json, sys
path, gpu, *results = sys.argv[1:]
steps = {name: {"status": int(status), "seconds": int(seconds)} for name, status, seconds in map(str.split, results)}
with open(path, "w") as file:
    json.dump({"gpu": gpu, "steps": steps}, file, indent=1)
END
}

# Where steps are named, only those.
step() {
  local name=$1 began=$SECONDS status
  shift
  [ ${#steps[@]} -eq 0 ] || [[ " ${steps[*]} " == *" $name "* ]] || return 0
  echo "== $name"
  timeout --kill-after=20 "${STEP_LIMIT:-1800}" "$@" 2>&1 | tee "$out/$name.log"
  status=${PIPESTATUS[0]}
  [ "$status" -ne 124 ] || echo "$name took longer than ${STEP_LIMIT:-1800} s" | tee -a "$out/$name.log"
  results+=("$name $status $((SECONDS - began))")
  summarise
}

# The package as it is, with this core in the place of its own: subprocesses of the tests find it too.
assemble() {
  rm -rf "$package"
  mkdir -p "$package/trtmatte"
  local each
  for each in "$PWD"/python/trtmatte/*; do
    case $each in *.so | *__pycache__) ;; *) ln -s "$each" "$package/trtmatte/" ;; esac
  done
  cp "$build"/_core*.so "$package/trtmatte/"
  [ ! -f "$build/libtrtmatte_plugins.so" ] || cp "$build/libtrtmatte_plugins.so" "$package/trtmatte/"
}

step build bash -ec "
  cmake -S . -B '$build' -G Ninja ${form[*]} --log-level=WARNING \
    -DPython_EXECUTABLE='$python' -Dpybind11_DIR=\"\$('$python' -m pybind11 --cmakedir)\"
  cmake --build '$build'
  [ ! -f '$build/libtrtmatte_plugins.so' ] || cmake --build '$build' --target plugin_test"
ls "$build"/_core*.so >/dev/null 2>&1 || { echo "there is no core to test"; exit 1; }
assemble
export PYTHONPATH=$package:$PWD${PYTHONPATH:+:$PYTHONPATH} TRTMATTE_REQUIRE_GPU=1
[ -n "$rehearsal" ] || step doctor "$python" -c "import trtmatte; print(trtmatte.doctor())"

# A file whose packages are missing must not keep the others from running, but it is a failure.
check=("$python" -m pytest -q -p no:cacheprovider --continue-on-collection-errors)
# The largest frames would take hours under a sanitizer, and for one thread that stands for thousands.
few=(-k "not 2160 and not 1080 and not 4K and not 20000")
side_by_side=()
"$python" -c "import xdist" 2>/dev/null && side_by_side=(-n $((rehearsal ? 2 : 4)))

frames=()
driver=()
sessions=(tests/runtime/session/test_cuda.py tests/runtime/session/test_interop.py -m gpu --durations=10)
measured=(--device cuda)
if [ -n "$rehearsal" ]; then
  frames=("${few[@]}")
  driver=(env "LD_LIBRARY_PATH=$build/driver${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}")  # the fake one
  sessions=(tests/runtime/session/test_cuda_emulated.py tests/runtime/session/test_interop.py "${side_by_side[@]}")
  measured=(--device cpu --quick --only streams-2 --again)
fi

step tests "${check[@]}" tests/ops -m gpu "${side_by_side[@]}" "${frames[@]}"
step sessions "${driver[@]+"${driver[@]}"}" "${check[@]}" "${sessions[@]}"
if [ -n "$rehearsal" ]; then
  step op-benchmarks "${check[@]}" benchmarks/ops --device=cuda --benchmark-disable -k "HD or scatter"
else
  # Where TensorRT's headers are (TensorRT_ROOT).
  plugins=("$build/plugin_test" "$build/libtrtmatte_plugins.so")
  if [ -f "${plugins[1]}" ]; then
    step plugins "${plugins[@]}"
    step plugins-memcheck compute-sanitizer --tool memcheck --error-exitcode 1 "${plugins[@]}"
  else
    echo "plugins: not built, so not checked; TensorRT_ROOT names TensorRT's headers"
  fi
  # An array in a pool is not an allocation: an access beyond its end would go to another array, unseen.
  plain=(env TRTMATTE_PLAIN_ALLOCATIONS=1)
  for tool in memcheck racecheck; do
    step "$tool" "${plain[@]}" compute-sanitizer --tool "$tool" --error-exitcode 1 --target-processes all \
      "${check[@]}" tests/ops -m gpu "${few[@]}"
  done
fi
step benchmarks "$python" -m benchmarks "${measured[@]}" --out "$out/benchmarks"

failed=$(for each in "${results[@]+"${results[@]}"}"; do read -r name status _ <<<"$each"; [ "$status" -eq 0 ] || echo "$name"; done)
for name in "${steps[@]+"${steps[@]}"}"; do
  [[ " ${results[*]+"${results[*]}"} " == *" $name "* ]] || { echo "$name did not run"; failed="$failed $name"; }
done
if [ -n "$failed" ]; then
  echo "failed: "$failed
  exit 1
fi
echo "all passed; reports are in $out"
