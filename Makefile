# Leyden: two commands do everything on a machine with git, make and Python 3.11 (venv):
#   make demo      open the window on play money (ARGS=--tour walks through it by itself)
#   make test      every test but the long forms

SHELL := bash
VENV := .venv
BIN := $(VENV)/bin
PEERS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/leyden-peers
export PEERS
WORKERS ?= 2
PYTEST_ARGS ?=
KILLS ?= 50
SECONDS ?= 120
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# A target of pip's work is done when its stamp is newer than the lock it was made from.
RUNTIME := $(VENV)/leyden-runtime.stamp
TESTING := $(VENV)/leyden-test.stamp
# The kernel of pathfinding, compiled where a C compiler is; without one it is interpreted.
KERNEL := $(VENV)/leyden-kernel.stamp

# Sentences for translators; `packaging/messages.sh check` says what is missing in the template.
messages: venv
	PYBABEL="$(BIN)/pybabel" packaging/messages.sh

.PHONY: messages help demo run venv kernel test test-all lint lint-rules lint-format lint-types format bench chaos peers lock package package-test system-window system-test clean

help:
	@sed -n '1,4s/^# \{0,1\}//p' Makefile
	@echo "Also: make run, kernel, lint, format, test-all, bench, screenshots, chaos, peers, venv, lock, package, package-test, clean"

$(BIN)/python:
	python="$$(packaging/find-python.sh)" && "$$python" -m venv $(VENV)

$(RUNTIME): requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(TESTING): requirements-test.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-test.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(RUNTIME) $@

$(KERNEL): $(RUNTIME) setup.py wallet/ln/routing/pathfinding.py wallet/ln/routing/pathfinding.pxd wallet/bitcoin/_curve_batch.pyx
	@$(BIN)/python setup.py --quiet build_ext --inplace >$(VENV)/leyden-kernel.log 2>&1 && \
	  $(BIN)/python -c 'import wallet.ln.routing.kernel as k; raise SystemExit(k.COMPILED is None)' || \
	  echo "The kernel is not compiled ($(VENV)/leyden-kernel.log says why): routes are found some thirty times as slowly."
	@touch $@

kernel: $(KERNEL)

venv: $(TESTING) $(KERNEL)

system-window:
	@packaging/setup-system.sh window

system-test:
	@packaging/setup-system.sh test

demo: system-window $(KERNEL)
	@$(BIN)/python -m wallet --sandbox --demo $(ARGS)

run: system-window $(KERNEL)
	@$(BIN)/python -m wallet $(ARGS)

# A Bitcoin node, Electrum servers and a rust-lightning node, in a folder of their own: nothing is added to the system.
peers: $(BIN)/python
	@PYTHON="$(CURDIR)/$(BIN)/python" tests/real/regtest/setup.sh
	@PYTHON="$(CURDIR)/$(BIN)/python" tests/real/ldk/setup.sh

test: system-test venv peers
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-all: system-test venv peers
	$(PYTEST) $(PYTEST_ARGS)

# Three targets, so that `make -k lint` shows what each has to say.
lint: lint-rules lint-format lint-types

lint-rules: venv
	$(BIN)/ruff check .

lint-format: venv
	$(BIN)/ruff format --check .

lint-types: venv
	$(BIN)/mypy

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: system-test venv peers
	$(BIN)/python -m benchmarks $(ARGS)

# Every page and dialog in each look, with an index, in build/screenshots; fails on clipped or overlapping text.
screenshots: system-window venv
	WORKERS=$(WORKERS) $(BIN)/python -m tests.gui.screenshots build/screenshots $(ARGS)

# Our process under load between two rust-lightning nodes, killed again and again; whichever comes last ends it.
chaos: system-test venv peers
	$(BIN)/python -m tests.real.chaos --kills $(KILLS) --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

# What people install: the program in one folder (dist/leyden), and on Debian a package of it.
package: $(BIN)/python
	@PYTHON="$(CURDIR)/$(BIN)/python" packaging/package.sh

# Installs the package that was built last on a bare Debian 12 and starts it under Xvfb: as root, with debootstrap. It
# says why where that cannot be done.
package-test:
	@ls dist/leyden_*.deb >/dev/null 2>&1 || $(MAKE) --no-print-directory package
	@packaging/linux/test-deb.sh "$$(ls -t dist/leyden_*.deb | head -1)" build/package/venv/bin/python dist/pictures

# Writes the locks anew, with the newest versions that pyproject.toml allows.
lock: $(BIN)/python
	PYTHON="$(CURDIR)/$(BIN)/python" packaging/lock.sh

clean:
	rm -rf build dist demo-shots .mypy_cache .ruff_cache .pytest_cache *.egg-info
	find wallet tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
