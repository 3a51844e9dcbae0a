# `make help` lists the targets. Two environments: .venv-demo is what a user gets, .venv-test adds PyTorch and the checkers.

PYTHON ?= python3
CXX ?= c++
QUALITY ?= 30
KODAK ?= ../shared/data/kodak

DEMO_ENV := .venv-demo
TEST_ENV := .venv-test
PIP_INSTALL := -m pip install -qq --disable-pip-version-check --no-warn-script-location
PACKAGE := pyproject.toml $(wildcard CMakeLists.txt README.md LICENSE) \
	$(shell find src native -type f -not -path '*/__pycache__/*' -not -name '*.so')

.PHONY: help tools demo test lint format bench clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

tools:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo "Python 3.10 or newer is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, os, sysconfig; assert os.path.exists(sysconfig.get_path("include") + "/Python.h")' \
		2>/dev/null || \
		{ echo "Python's venv and headers are needed: apt-get install python3-venv python3-dev" >&2; exit 1; }
	@command -v $(firstword $(CXX)) >/dev/null || { echo "a C++20 compiler is needed: apt-get install g++" >&2; exit 1; }

# The package is installed as a user would install it, not linked to the checkout, so that a file missing from the wheel
# is noticed; a changed source reinstalls it.
$(DEMO_ENV)/.installed: $(PACKAGE) | tools
	@test -x $(DEMO_ENV)/bin/python || $(PYTHON) -m venv $(DEMO_ENV)
	@echo "installing Intaglio into $(DEMO_ENV)"
	@$(DEMO_ENV)/bin/python $(PIP_INSTALL) .
	@touch $@

$(TEST_ENV)/.installed: $(PACKAGE) constraints.txt | tools
	@test -x $(TEST_ENV)/bin/python || $(PYTHON) -m venv $(TEST_ENV)
	@echo "installing Intaglio, PyTorch and the checkers into $(TEST_ENV)"
	@$(TEST_ENV)/bin/python $(PIP_INSTALL) -c constraints.txt '.[train,evaluate,test]'
	@touch $@

demo: $(DEMO_ENV)/.installed  ## compress the pictures in examples/ and compare with JPEG, JPEG 2000, WebP, AVIF
	@$(DEMO_ENV)/bin/python -m intaglio.demo --quality $(QUALITY)

lint: $(TEST_ENV)/.installed  ## ruff and pyright
	@$(TEST_ENV)/bin/ruff check .
	@$(TEST_ENV)/bin/ruff format --check .
	@$(TEST_ENV)/bin/pyright --pythonpath $(TEST_ENV)/bin/python

test: lint  ## lint, then every test
	@$(TEST_ENV)/bin/pytest

format: $(TEST_ENV)/.installed  ## rewrite the sources the way ruff wants them
	@$(TEST_ENV)/bin/ruff check --fix-only --quiet .
	@$(TEST_ENV)/bin/ruff format .

bench: $(TEST_ENV)/.installed  ## rate-distortion on Kodak (KODAK=DIR) and speed
	@$(TEST_ENV)/bin/python benchmarks/kodak.py $(KODAK)
	@$(TEST_ENV)/bin/python benchmarks/speed.py

clean:  ## remove environments, builds and caches
	@rm -rf $(DEMO_ENV) $(TEST_ENV) build dist demo-out .pytest_cache .ruff_cache .hypothesis
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
