# Everything here works from a fresh clone on a machine that has Python >= 3.10 and make: the first target that needs
# it creates .venv and installs the package with its development tools into it.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# litellm: use the price map that ships with it instead of downloading one, and keep its log to errors.
export LITELLM_LOCAL_MODEL_COST_MAP := True
export LITELLM_LOG := ERROR
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# In the order a newcomer would read them. live.py talks to real providers, and says so politely without keys.
EXAMPLES := quickstart router_strings streams decorator budgets settings rules split shadow versions history train_and_deploy bad_days live demo

.DEFAULT_GOAL := help
.PHONY: help install demo test test-matrix check format examples bench faults soak clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(STAMP) ## a few hundred questions over six models with budgets, fallback and a live table; no key needed
	@$(BIN)/python examples/demo.py

test: $(STAMP) ## the whole test suite
	$(BIN)/python -m pytest

# The lowest litellm that is supported, and the newest that installs. Each gets an environment of its own.
LITELLM_LOWEST := 1.106.2

test-matrix: ## the whole suite on the lowest supported and on the newest litellm
	for version in "==$(LITELLM_LOWEST)" ">=$(LITELLM_LOWEST)"; do \
	  $(PYTHON) -m venv --clear .venv-matrix && \
	  .venv-matrix/bin/python -m pip install --quiet --upgrade -e ".[dev]" "litellm$$version" && \
	  .venv-matrix/bin/python -c 'from importlib.metadata import version as v; print("litellm", v("litellm"))' && \
	  .venv-matrix/bin/python -m pytest || exit 1; \
	done

check: $(STAMP) ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP) ## put the formatting right
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

examples: $(addprefix example-,$(EXAMPLES)) ## run every example, one after the other

example-%: examples/%.py $(STAMP)
	@echo "=== $<"
	@$(BIN)/python $<
	@echo

.NOTPARALLEL:

bench: $(STAMP) ## overhead against bare litellm and against litellm.Router
	$(BIN)/python benchmarks/overhead.py

faults: $(STAMP) ## outages, hangs, limits and bursts in virtual time, against litellm.Router and an oracle
	$(BIN)/python benchmarks/faults.py

soak: $(STAMP) ## ten minutes of 200 concurrent callers over real HTTP, with faults throughout
	$(BIN)/python benchmarks/soak.py --seconds 600 --callers 200

install: $(STAMP) ## only create .venv and install into it

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "Python >= 3.10 is needed; '$(PYTHON)' is not. Choose another: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	@touch $@

clean: ## remove .venv and caches
	rm -rf $(VENV) .venv-matrix .pytest_cache .mypy_cache .ruff_cache .hypothesis
