#!/bin/sh
# Tests the core under AddressSanitizer and UndefinedBehaviorSanitizer, and its thread pool under ThreadSanitizer.
#
#   sh tests/native/sanitize.sh [PYTHON]
#
# PYTHON needs the packages of the extras `dev`, `build` and `cpu`; cmake, ninja and a compiler must be on the path or
# beside it. Further arguments go to pytest.
set -eu
cd "$(dirname "$0")/../.."
python=${1:-python3}
[ $# -eq 0 ] || shift
PATH=$(dirname "$(command -v "$python")"):$PATH
build=build/sanitize

# A debug build is not optimised when it is linked, which would take long.
cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Debug -DTRTMATTE_SANITIZE=address,undefined \
  -DTRTMATTE_CUDA=OFF -DTRTMATTE_PLUGINS=OFF -DPython_EXECUTABLE="$(command -v "$python")" \
  -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" >/dev/null
cmake --build $build

# Assemble the package with the sanitized core instead of its own.
package=$build/package/trtmatte
rm -rf $package
mkdir -p $package
for each in python/trtmatte/*; do
  case $each in *.so | *__pycache__) ;; *) ln -s "$PWD/$each" $package/ ;; esac
done
cp $build/_core*.so $package/

compiler=${CXX:-g++}
echo "ThreadSanitizer"
"$compiler" -std=c++17 -O1 -g -fsanitize=thread -Icsrc tests/native/thread_pool_test.cpp csrc/runtime/thread_pool.cpp \
  -pthread -o $build/thread_pool_test
# ThreadSanitizer needs fixed addresses for its memory, so switch address randomisation off.
TSAN_OPTIONS=halt_on_error=1 setarch -R $build/thread_pool_test

echo "AddressSanitizer and UndefinedBehaviorSanitizer"
# Python itself is not sanitized: preload the runtimes, and do not report what Python never frees. Skip tests of time or
# memory, which the sanitizers change, and large frames.
env PYTHONPATH=$build/package ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
  LD_PRELOAD="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libubsan.so)" \
  "$python" -m pytest -q -p no:cacheprovider -n 2 -m "not slow" tests/ops tests/test_core.py \
  -k "not 1080 and not 2160 and not hd and not quick and not nothing_is_allocated and not cannot_be_had and not stubs" "$@"
