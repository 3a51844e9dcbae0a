# `make help` lists the targets. Two environments: .venv-demo is what a user gets, .venv-test adds PyTorch and the
# checkers.

PYTHON ?= python3
CXX ?= c++
QUALITY ?= 30
DATA ?= ../shared/data

DEMO_ENV := .venv-demo
TEST_ENV := .venv-test
PIP_INSTALL := -m pip install -qq --disable-pip-version-check --no-warn-script-location
PACKAGE := pyproject.toml $(wildcard CMakeLists.txt README.md LICENSE) \
	$(shell find src native -type f -not -path '*/__pycache__/*' -not -name '*.so' \
		-not -path 'native/tests/*' -not -path 'native/fuzz/*')

NATIVE := $(MAKE) --no-print-directory -j4 -C native/tests
FUZZ_CXX ?= clang++
SECONDS ?= 60

.PHONY: help tools compiler demo test selfcheck fuzz cross lint format bench clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

tools: compiler
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo "Python 3.10 or newer is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, os, sysconfig; assert os.path.exists(sysconfig.get_path("include") + "/Python.h")' \
		2>/dev/null || \
		{ echo "Python's venv and headers are needed: apt-get install python3-venv python3-dev" >&2; exit 1; }

compiler:
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

test: lint selfcheck  ## lint, then every test
	@$(TEST_ENV)/bin/pytest

selfcheck: compiler  ## the entropy coder without Python, under the address and undefined behaviour sanitizers
	@$(NATIVE) check KIND=sanitized CXX='$(CXX)'

fuzz:  ## hostile input for the entropy coder, SECONDS=60 in all; needs clang
	@echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' | \
		$(FUZZ_CXX) -fsanitize=fuzzer,address,undefined -x c++ - -o /dev/null 2>/dev/null || \
		{ echo "clang with its fuzzer is needed: apt-get install clang libclang-rt-14-dev" \
			"(14: the version that clang --version says)" >&2; exit 1; }
	@$(NATIVE) fuzz KIND=fuzz CXX='$(FUZZ_CXX)' SECONDS=$(SECONDS)

cross:  ## the same check on 64-bit ARM and on a big-endian machine, both emulated
	@for machine in aarch64 s390x; do \
		command -v $$machine-linux-gnu-g++ >/dev/null && command -v qemu-$$machine-static >/dev/null || \
			{ echo "cross compilers and an emulator are needed:" \
				"apt-get install g++-aarch64-linux-gnu g++-s390x-linux-gnu qemu-user-static" >&2; exit 1; }; \
		$(NATIVE) check KIND=cross-$$machine CXX=$$machine-linux-gnu-g++ RUN=qemu-$$machine-static || exit 1; \
	done

format: $(TEST_ENV)/.installed  ## rewrite the sources the way ruff wants them
	@$(TEST_ENV)/bin/ruff check --fix-only --quiet .
	@$(TEST_ENV)/bin/ruff format .

bench: $(TEST_ENV)/.installed  ## docs/results.md from DATA=DIR (kodak, val, anchors), which takes hours; and speed
	@$(TEST_ENV)/bin/python benchmarks/results.py --data $(DATA)
	@$(TEST_ENV)/bin/python benchmarks/speed.py

clean:  ## remove environments, builds and caches
	@rm -rf $(DEMO_ENV) $(TEST_ENV) build dist demo-out .pytest_cache .ruff_cache .hypothesis
	@find src tests benchmarks recipes -name __pycache__ -type d -prune -exec rm -rf {} +
