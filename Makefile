# make demo   builds the core and shows what it does
# make test   the same, and every check: formatter, linter, types, tests
# make help   the rest

PYTHON ?= python3
TORCH ?= -r requirements/torch.txt
VENV := .venv
RUN := $(VENV)/bin/
PIP := $(RUN)python -m pip install --quiet --disable-pip-version-check
CORE := $(shell find csrc cmake -type f 2>/dev/null) CMakeLists.txt setup.py pyproject.toml
CPP := $(shell find csrc tests/native examples -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

.PHONY: help demo test lint types unit slow emulated plugins gpu sanitize bench format clean
help:
	@grep -E '^# make' Makefile
	@echo "# make lint | types | unit | slow | emulated | plugins | format | sanitize | bench | gpu | clean"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python requirements/build.txt requirements/run.txt
	$(PIP) -r requirements/build.txt -r requirements/run.txt
	@touch $@

$(VENV)/.test: $(VENV)/.run requirements/test.txt requirements/torch.txt
	$(PIP) $(TORCH)
	$(PIP) -r requirements/test.txt
	@touch $@

# In place, so that only what changed is compiled again.
$(VENV)/.core: $(VENV)/.run $(CORE)
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

demo: $(VENV)/.core
	$(RUN)python examples/demo.py

test: lint types unit emulated

lint: $(VENV)/.test
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)clang-format --dry-run -Werror $(CPP)

types: $(VENV)/.test $(VENV)/.core
	$(RUN)mypy

unit: $(VENV)/.test $(VENV)/.core
	$(RUN)python -m pytest -n 2 -m "not slow and not alone"
	$(RUN)python -m pytest -m "alone and not slow"

slow: $(VENV)/.test $(VENV)/.core
	$(RUN)python -m pytest -n 2 -m slow

# What a GPU will be asked to do, rehearsed with the CUDA forms compiled for the CPU.
emulated: $(VENV)/.test $(VENV)/.core
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" tools/gpu_check.sh --rehearse

# The TensorRT plugins, with the headers of TensorRT_ROOT, or without it with NVIDIA's of each version that they are
# made for. Fails instead of skipping.
HEADERS := $(if $(TensorRT_ROOT),,$(patsubst %,build/tensorrt-%/include,10.3 10.16 11.1))
build/tensorrt-%/include: $(VENV)/.run
	$(RUN)cmake -DVERSION=$* -DFOLDER=$(@D) -P cmake/fetch_tensorrt_headers.cmake

plugins: $(VENV)/.test $(VENV)/.core $(HEADERS)
	TensorRT_ROOT="$(TensorRT_ROOT)" TRTMATTE_REQUIRE_PLUGINS=1 $(RUN)python -m pytest tests/test_plugins.py

# Fails instead of skipping where there is no device.
gpu: $(VENV)/.test $(VENV)/.core
	TRTMATTE_REQUIRE_GPU=1 $(RUN)python -m pytest -m gpu

sanitize: $(VENV)/.test
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" tests/native/sanitize.sh

bench: $(VENV)/.test $(VENV)/.core
	$(RUN)python -m benchmarks

format: $(VENV)/.test
	$(RUN)ruff check --fix .
	$(RUN)ruff format .
	$(RUN)clang-format -i $(CPP)

clean:
	rm -rf $(VENV) build python/trtmatte/*.so python/*.egg-info
