# make demo   installs once, then runs all five stages on built-in data, offline: under four minutes on two cores with bf16
# make test   the tests, in less than five minutes on two cores
# make slow   those that take longer, and clusters
# make test-precisions  the tests of exactness and parity in the precision that this chip does not choose: three minutes
# make check  style, types, layers, documentation
# make bench  speed beside Hugging Face's Trainer and pipeline; BENCH="--quick" takes some minutes
# make docs   write the generated documentation
# make page   bundle the trace page from web/ into the package; needs Node 20 and npm, which users do not
# make package  a wheel and an sdist in dist/, installed and tried in an empty environment
#
# PYTHON       the interpreter the environment is made from (3.11 or later)
# TORCH        the PyTorch that is installed where there is none
# TORCH_INDEX  the package index to take it from, if it is not the one pip is set up with. PyTorch's site lists one index
#              for the CPU build (much the smaller download on Linux) and one for each GPU build:
#              make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
# DEMO         options of the demo's run
# PROCESSES    how many processes share the tests

PYTHON ?= python3
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
DEMO_OUT ?= runs/demo
DEMO ?= --minutes 1.5 --builtin-documents 60000 --finetune-epochs 2 --finetune-learning-rates 1e-3 --seeds 1

PROCESSES ?= 2

PACKAGE_RUN := --quiet --builtin-documents 3000 --tokens 100000 --size tiny --seeds 1 --finetune-epochs 1 \
	--finetune-learning-rates 1e-3 --without-control

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PAGE := src/pretune/page/assets
SOURCES := src tests benchmarks scripts docs/generate.py docs/show_demo.py docs/trace_types.py

PYTEST_HERE := if [ -z "$$PRETUNE_DATA" ] && [ -d ../shared/data ]; then export PRETUNE_DATA="$$(cd ../shared/data && pwd)"; fi; \
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

# What the precision may change: whether an interrupted run ends with the same bits, what several processes or lanes add
# up, and the parity with transformers. Of the many places where a run is killed these are a part, to keep it short.
EITHER_PRECISION := tests/parity tests/training/test_pretraining_run.py tests/pipeline/test_together.py \
	tests/pipeline/test_resume.py::test_pretraining_with_muon_does_too \
	tests/pipeline/test_resume.py::test_finetuning_ends_as_if_nothing_had_been

.PHONY: bench chip demo test test-precisions slow check check-page format docs page package clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.installed
	$(BIN)/pretune run --out $(DEMO_OUT) $(DEMO)
	@command -v pretune >/dev/null || echo "To use these commands, type \`. $(BIN)/activate\` once: pretune is in $(VENV)."

test: $(VENV)/.installed-dev
	$(PYTEST_HERE) -m "not slow" $(PYTEST)

test-precisions: $(VENV)/.installed-dev
	@set -e; other="$$($(BIN)/python -c 'from pretune.compute.device import *; \
	    print("fp32" if multiplies_in_bf16(device_at_hand()) else "bf16")')"; \
	echo "In $$other, which this chip does not choose:"; export PRETUNE_TEST_PRECISION="$$other"; \
	$(PYTEST_HERE) -m "not slow or precision" $(EITHER_PRECISION) $(PYTEST)

chip: $(VENV)/.installed
	@$(BIN)/python -c 'from pretune.compute.device import *; device = device_at_hand(); \
	    print(f"{chip_name(device)} ({device}),", "with bf16" if multiplies_in_bf16(device) else "without bf16")'

slow: $(VENV)/.installed-dev
	$(PYTEST_HERE) -m slow $(PYTEST)

bench: $(VENV)/.installed-dev
	@$(PIP) install --quiet --editable ".[bench]"
	@if [ -z "$$PRETUNE_DATA" ] && [ -d ../shared/data ]; then export PRETUNE_DATA="$$(cd ../shared/data && pwd)"; fi; \
	$(BIN)/python benchmarks/bench.py $(BENCH)

check: $(VENV)/.installed-dev check-page
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

# Whether the bundle in the package is what web/ makes, where Node is at hand. PRETUNE_NODE=required fails without it.
check-page:
	@without=0; [ "$$PRETUNE_NODE" != required ] || without=1; \
	if ! command -v npm >/dev/null 2>&1; then \
	    echo "There is no npm here, so the bundle of the page is not compared with web/."; exit $$without; \
	elif ! $(MAKE) --silent web/node_modules/.installed; then \
	    echo "npm could not install what web/ needs, so the bundle of the page is not compared with web/."; \
	    exit $$without; \
	else cd web && npm run --silent check && npm test --silent && rm -rf ../build/page && node build.mjs ../build/page && \
	    { diff -rq ../build/page ../$(PAGE) || { echo "The bundle is not what web/ makes: run \`make page\`."; exit 1; }; }; \
	fi

page: web/node_modules/.installed
	cd web && npm run --silent build

web/node_modules/.installed: web/package-lock.json
	cd web && npm ci --silent --no-audit --no-fund
	@touch $@

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

package: $(VENV)/.installed-dev
	rm -rf dist build/package
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv build/package
	build/package/bin/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	build/package/bin/python -m pip install --quiet dist/*.whl
	cd build/package && bin/pretune run --out run $(PACKAGE_RUN) && test -s run/report.html
	build/package/bin/python -m pip install --quiet --force-reinstall --no-deps dist/*.tar.gz
	cd build/package && bin/pretune verify run

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || \
	    { echo "There is no $(PYTHON) here; install Python 3.11 or later, or name one: make demo PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is older than Python 3.11, which pretune needs: make demo PYTHON=python3.11"; exit 1; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV) || \
	    { rm -rf $(VENV); \
	      echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.torch: $(VENV)/.python
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then :; else \
	    echo "Installing $(TORCH) into $(VENV); this takes some minutes, once."; \
	    $(PIP) install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH); fi
	@if command -v nvidia-smi >/dev/null 2>&1 && \
	    ! $(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then \
	    echo "There is a GPU here, but this PyTorch is a build without it. For the GPU build:"; \
	    echo "  make clean demo TORCH_INDEX=<the index that pytorch.org/get-started names for your CUDA>"; fi
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	@echo "Installing pretune into $(VENV)."
	@$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed pyproject.toml
	@$(PIP) install --quiet --editable ".[dev]"
	@touch $@
