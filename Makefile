# `make help` lists what can be made.

PYTHON ?= python3
TORCH ?= -r requirements/torch.txt
VENV := .venv
RUN := $(VENV)/bin/
# A PYTHON that was given to make is in the environment of what it runs; theirs is that of the virtual environment.
ON_PATH := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" PYTHON=python
PIP := $(RUN)python -m pip install --quiet --disable-pip-version-check
CORE := $(shell find csrc cmake -type f 2>/dev/null) CMakeLists.txt
CPP := $(shell find csrc tests/native examples -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

.PHONY: help demo test core lint types unit browser test-one slow emulated minimum cuda-core plugins tensorrt peers kernels wheels gpu fuzz faults sanitize bench format clean FORCE
help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

demo: $(VENV)/.core ## build the core, fetch a model and a film, and put a green background behind the person
	$(RUN)python examples/demo.py

test: lint types unit browser emulated sanitize ## run all checks: what CI runs

# One step of `make test` each

lint: $(VENV)/.test ## check style and format of Python and C++
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)clang-format --dry-run -Werror $(CPP)

# The types of numpy for Python 3.12 and later cannot be read as those of 3.10, the version in pyproject.toml.
CHECKED_AS = $(shell $(RUN)python -c 'import sys; print("--python-version 3.12" if sys.version_info >= (3, 12) else "")')
types: $(VENV)/.test $(VENV)/.core ## check the types of the package, the tests and the benchmarks
	$(RUN)mypy $(CHECKED_AS)

unit: $(VENV)/.test $(VENV)/.core ## run the tests, without the slow ones
	$(RUN)python -m pytest -n 2 -m "not slow and not alone and not browser"
	$(RUN)python -m pytest -m "alone and not slow and not browser"

browser: $(VENV)/.test $(VENV)/.core ## open the live page in Chromium, which is installed if there is none
	tools/install_chromium.sh
	TRTMATTE_REQUIRE_BROWSER=1 $(RUN)python -m pytest -m browser tests/serve

# The CUDA forms are compiled for the CPU; everything else is as on a GPU.
emulated: $(VENV)/.test $(VENV)/.core ## rehearse the GPU checks on the CPU
	$(ON_PATH) tools/gpu_check.sh --rehearse

minimum: $(VENV)/.core build/minimum ## test with the oldest versions of the packages that are allowed
	PYTHONPATH=python:. build/minimum/bin/python -m pytest --ignore tests/compiler/graph/test_functions.py \
	  --ignore tests/compiler/graph/test_precision.py tests/compiler/graph tests/media tests/models tests/format \
	  tests/serve

build/minimum: requirements/minimum.txt
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check -r $< pytest
	@touch $@

cuda-core: emulated ## rehearse the sessions with each accepted version of cuda-core
	$(ON_PATH) tools/cuda_core_versions.sh

# For daily work

core: $(VENV)/.core ## build the native core; compile only what changed

test-one: $(VENV)/.test $(VENV)/.core ## run one test: make test-one TEST=tests/ops/test_patch_crop.py
	$(if $(TEST),,$(error TEST is empty; name a test file: make test-one TEST=tests/ops/test_patch_crop.py))
	$(RUN)python -m pytest $(TEST)

format: $(VENV)/.test ## format Python and C++, and fix what ruff can fix
	$(RUN)ruff check --fix .
	$(RUN)ruff format .
	$(RUN)clang-format -i $(CPP)

slow: $(VENV)/.test $(VENV)/.core ## run the slow tests
	$(RUN)python -m pytest -n 2 -m slow

fuzz: $(VENV)/.test $(VENV)/.core ## attack every part that reads files of strangers, ten seconds each
	$(RUN)python -m fuzz

faults: $(VENV)/.test $(VENV)/.core ## let every file operation and allocation fail, and kill at 200 moments: half an hour
	$(RUN)python -m tests.faults
	$(RUN)python -m tests.faults.kills

sanitize: $(VENV)/.test ## run the native tests with AddressSanitizer and UndefinedBehaviorSanitizer
	$(ON_PATH) tests/native/sanitize.sh

bench: $(VENV)/.test $(VENV)/.core ## run the benchmarks: ten minutes on two cores
	$(RUN)python -m benchmarks

gpu: $(VENV)/.test $(VENV)/.core ## run the tests that need a CUDA device; fail if there is none
	TRTMATTE_REQUIRE_GPU=1 $(RUN)python -m pytest -m gpu

# Without TensorRT_ROOT, NVIDIA's headers of each supported version are fetched.
HEADERS := $(if $(TensorRT_ROOT),,$(patsubst %,build/tensorrt-%/include,10.3 10.16 11.1))
build/tensorrt-%/include: $(VENV)/.run
	$(RUN)cmake -DVERSION=$* -DFOLDER=$(@D) -P cmake/fetch_tensorrt_headers.cmake

plugins: $(VENV)/.test $(VENV)/.core $(HEADERS) ## build and test the TensorRT plugins; fail if they cannot be built
	TensorRT_ROOT="$(TensorRT_ROOT)" TRTMATTE_REQUIRE_PLUGINS=1 $(RUN)python -m pytest tests/test_plugins.py

# The libraries of some versions and the bindings of all: what Maven Central and the package index have.
build/tensorrt/%: tools/fetch_tensorrt.py | $(VENV)/.core
	rm -rf $@
	$(RUN)python tools/fetch_tensorrt.py $* $@

TENSORRT := $(patsubst %,build/tensorrt/%,10.3 10.15 10.16 11.2 11.4)
tensorrt: $(VENV)/.test $(VENV)/.core $(HEADERS) $(TENSORRT) ## test plugins and calls with the real TensorRT, without a GPU; fetch 1.1 GB
	TRTMATTE_REQUIRE_TENSORRT=1 $(RUN)python -m pytest -m "slow or not slow" tests/tensorrt

# They see the packages of the virtual environment, too.
peers: $(VENV)/.test $(VENV)/.core build/peers ## compare with other programs and libraries, installed apart
	PYTHONPATH=python:. build/peers/bin/python -m pytest -m "slow or not slow" tests/peers

build/peers: requirements/peers.txt | $(VENV)/.test
	$(RUN)python -m venv --without-pip $@
	$(RUN)python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$$(echo $@/lib/python*/site-packages)/venv.pth"
	$@/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# Publishing uses .github/workflows/release.yml, in the image of manylinux_2_28.
WHEEL_PYTHONS ?=
wheels: $(VENV)/.test $(VENV)/.core build/nvcc build/wheels ## build the source distribution, and a wheel for each Python that is found, into dist
	rm -rf dist
	build/wheels/bin/python -m tools.wheels --cuda "$$(echo build/nvcc/nvidia/cu*/bin/nvcc)" dist $(WHEEL_PYTHONS)
	TRTMATTE_WHEELS=dist $(RUN)python -m pytest tests/tools/test_wheels.py

build/wheels: requirements/wheels.txt
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

build/nvcc: $(VENV)/.run tools/install_nvcc.py
	$(RUN)python tools/install_nvcc.py $@ --check
	@touch $@

kernels: $(VENV)/.test $(VENV)/.core build/nvcc ## measure the CUDA kernels' machine code; fail if a kernel has grown
	$(RUN)python tools/kernel_costs.py --out out/kernels.md
	TRTMATTE_REQUIRE_KERNELS=1 $(RUN)python -m pytest tests/native/test_kernel_costs.py

clean: ## remove the virtual environment and everything that was built
	rm -rf $(VENV) build dist python/trtmatte/*.so python/*.egg-info

# The virtual environment, in the order in which it is filled

# With another PYTHON than that of the environment, which must have been asked for, it is made again.
IDENTITY := import sys; print(sys.version_info >= (3, 10), sys.version, sys.base_prefix)
ifneq ($(origin PYTHON),file)
  ASKED := $(shell $(PYTHON) -c '$(IDENTITY)' 2>/dev/null)
  ifneq ($(firstword $(ASKED)),True)
    $(error PYTHON is $(PYTHON), which is no Python that runs, or an older one; expected Python 3.10 or later)
  endif
  ifneq ($(ASKED),$(shell $(VENV)/bin/python -c '$(IDENTITY)' 2>/dev/null))
$(VENV)/bin/python: FORCE
  endif
endif
$(VENV)/bin/python:
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python requirements/build.txt requirements/run.txt
	$(PIP) -r requirements/build.txt -r requirements/run.txt
	@touch $@

$(VENV)/.test: $(VENV)/.run requirements/test.txt requirements/torch.txt
	$(PIP) $(TORCH)
	$(PIP) -r requirements/test.txt
	@touch $@

# An editable install of the Python code. pip would compile the whole core each time, so it leaves the core out.
$(VENV)/.package: $(VENV)/.run setup.py pyproject.toml python/trtmatte/version.py
	TRTMATTE_WITHOUT_CORE=1 $(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

# The environment variables and the Python that the core is built with. The file is written only if they change.
SETTINGS := CC CXX CFLAGS CXXFLAGS LDFLAGS CUDACXX CUDAHOSTCXX CUDAFLAGS CUDAARCHS CMAKE_ARGS TensorRT_ROOT \
  TRTMATTE_CUDA TRTMATTE_PLUGINS TRTMATTE_WERROR TRTMATTE_FETCH_TENSORRT_HEADERS TRTMATTE_TENSORRT_VERSION
build/core/settings.txt: $(VENV)/.run FORCE
	@mkdir -p $(@D)
	@{ $(RUN)python -VV; for name in $(SETTINGS); do printenv "$$name" | sed "s/^/$$name=/"; done; } >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# The core, in a folder that is kept: Ninja compiles what changed. New settings begin with an empty folder.
$(VENV)/.core: $(VENV)/.package build/core/settings.txt $(CORE)
	@[ build/core/build.ninja -nt build/core/settings.txt ] || \
	  $(ON_PATH) cmake --fresh -S . -B build/core -G Ninja -DCMAKE_BUILD_TYPE=Release $(CMAKE_ARGS) --log-level=WARNING \
	    -DPython_EXECUTABLE="$(CURDIR)/$(RUN)python" -Dpybind11_DIR="$$($(RUN)python -m pybind11 --cmakedir)"
	@$(ON_PATH) cmake --build build/core
	@$(RUN)cmake --install build/core --prefix python
	@touch $@
