#!/usr/bin/env bash
# Runs the sessions on the fake driver with each cuda-core and cuda-bindings that trtmatte accepts, oldest first.
#
#   tools/cuda_core_versions.sh
#
# Needs the emulated build (tools/gpu_check.sh --rehearse out/emulated build) and a package index. Each pair is installed
# into build/, and stays there.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(command -v "${PYTHON:-python3}")
for pair in "1.2.0 12.9.10" "1.2.1 13.0.3" "1.2.2 13.5.0"; do
  read -r core bindings <<<"$pair"
  folder=$PWD/build/cuda-core-$core-$bindings
  [ -d "$folder" ] || {
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder.new" \
      "cuda-core==$core" "cuda-bindings==$bindings" cuda-pathfinder==1.9.1
    mv "$folder.new" "$folder"
  }
  echo "== cuda-core $core, cuda-bindings $bindings"
  LD_LIBRARY_PATH=$PWD/build/emulated/driver PYTHONPATH=$PWD/build/emulated/package:$PWD:$folder \
    "$python" -m pytest -q -p no:cacheprovider -n 2 tests/runtime/session/test_cuda_emulated.py -k "not rvm and not bgmv2"
done
