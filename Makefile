# Needs Python 3.11 or newer and make, nothing else. PYTHON= chooses the interpreter:
#   make test PYTHON=python3.13
# Each version of Python has its own environment, .venv/3.13 and so on. An environment is made and
# filled when a target first needs it, and again when pyproject.toml or constraints.txt changes.

PYTHON ?= python3
ARGS ?=

VERSION := $(shell '$(PYTHON)' -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV := .venv/$(VERSION)
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check install -qq --retries 10

.DEFAULT_GOAL := help
.PHONY: help demo train examples-full kill-test bench packages test test-deep coverage layer-table lint types sizes format clean check-python
.DELETE_ON_ERROR:

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	    while IFS='|' read -r target text; do printf '%-18s %s\n' "$$target" "$$text"; done

demo: $(VENV)/.demo  ## Train on handwritten digits; ARGS='--steps 400' reaches the program
	@$(RUN) examples/digits/train.py $(ARGS)

train: $(VENV)/.examples  ## Train an example; NAME=seq2seq ARGS='--steps 500', or list them
	@$(RUN) -m linnet $(if $(NAME),train $(NAME) $(ARGS),examples)

examples-full: $(VENV)/.examples  ## Run every example in full; DATA=FOLDER has SST-2, ARGS='seq2seq vae'
	@$(RUN) -m benchmarks.examples $(if $(DATA),--set text_classification.data=$(DATA)) $(ARGS)

kill-test: export LINNET_KILLS = $(or $(KILLS),100)
kill-test: export LINNET_DEEP = 1
kill-test: $(VENV)/.test  ## Kill a run KILLS=100 times and go on; full, read-only, damaged disks
	@$(RUN) -m pytest -q tests/train/test_faults.py tests/train/test_checkpointing.py $(ARGS)

bench: $(VENV)/.bench  ## Measure against the peers; QUICK=1 takes two minutes, ARGS='--help'
	@$(RUN) -m benchmarks $(if $(QUICK),--quick) $(ARGS)

packages: check-python  ## Run libraries written for Flax on Flax and on Linnet
	@'$(PYTHON)' -m tests.packages $(ARGS)

test: $(VENV)/.test  ## Run all tests and the examples in docstrings; ARGS='-k dense' reaches pytest
	@$(RUN) -m pytest -q -n 2 --dist loadfile $(ARGS)

test-deep: export LINNET_DEEP = 1
test-deep: test  ## Run the tests with many more drawn programs

coverage: $(VENV)/.test  ## Run all tests and fail where they cover too little of the library
	@$(RUN) -m pytest -q -n 2 --dist loadfile --cov --cov-report=term \
	    --cov-report=json:.cache/coverage.json $(ARGS)
	@$(RUN) -m tests.coverage_gate .cache/coverage.json

layer-table: export CI = 1
# What is observed is not reused, so the tests of reuse are left out.
layer-table: $(VENV)/.test  ## Write docs/layers.md: how many cases the tests run of each layer
	@$(RUN) -m pytest -q -n 2 tests/linen tests/parity --layer-table=docs/layers.md $(ARGS) \
	    --ignore=tests/linen/test_reuse.py --ignore=tests/parity/test_reuse_models.py

lint: $(VENV)/.lint  ## Check style and format
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check .

# The files of examples have names in common, so each example is a run of its own.
types: $(VENV)/.lint  ## Check types
	@$(RUN) -m mypy
	@for example in examples/*/; do \
	    MYPYPATH=$$example $(RUN) -m mypy $$example || exit 1; done

sizes: check-python  ## Print how large each layer of the library is
	@'$(PYTHON)' -m tests.architecture

format: $(VENV)/.lint  ## Mend style and format
	@$(RUN) -m ruff check --fix . && $(RUN) -m ruff format .

clean:  ## Remove the environments and all that was made
	@rm -rf .venv .cache .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist out
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

check-python:
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Linnet needs Python 3.11 or newer, and '$(PYTHON)' is $$( \
	        '$(PYTHON)' --version 2>/dev/null || echo 'not a Python that runs')." >&2; \
	    echo "Name one with PYTHON=, for example: make $(MAKECMDGOALS) PYTHON=python3.13" >&2; \
	    exit 1; }

# Interpreters differ between machines, so the check is an order-only prerequisite.
$(VENV)/bin/python: | check-python
	@echo "Making an environment in $(VENV)"
	@'$(PYTHON)' -m venv '$(VENV)' || { rm -rf '$(VENV)'; \
	    echo "'$(PYTHON)' lacks venv; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.demo $(VENV)/.examples $(VENV)/.bench $(VENV)/.test $(VENV)/.lint: $(VENV)/.%: pyproject.toml constraints.txt | $(RUN)
	@echo "Installing linnet[$*] into $(VENV)"
	@$(PIP) --constraint constraints.txt --editable '.[$*]'
	@touch $@
