# Espalier's commands. Each does its own set-up: environments under .venv/ from locks, everything else under .cache/.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
IMAGE ?= tests/data/rocket.png
OUT ?= out
ARGS ?= --help
BLENDER ?=
TRELLIS2 ?=
ENGINE ?= 3.11
TESTS ?=
PLATFORM ?= this
PROFILE ?= cpu
# The Blender (4.2, 4.5 or 5.2) that demo, run, test and bench use; the first whose CPython is on this machine.
BPY ?= $(firstword $(filter 4.5 5.2,$(patsubst bpy-%,%,$(shell $(PYTHON) wheels/environments.py list))) 4.5)

IN = $(PYTHON) wheels/environments.py exec
COMMAND = $(IN) bpy-$(BPY) -m tests.support.command
PYTEST = -m pytest -p no:cacheprovider

# The shell reads these from its environment, so that names with spaces and quotes reach the command whole.
export IMAGE OUT BLENDER TRELLIS2

.PHONY: help demo run test test-all server test-server test-engine test-blender test-window test-gpu test-trellis2 bench lint \
        screenshots zip bundle wheels lock repository clean

help: ## List these commands
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | \
	  while IFS='|' read -r name words; do printf '%-22s %s\n' "$$name" "$$words"; done

demo: ## Turn an image into out/NAME.glb, .blend and .png inside Blender [IMAGE=photo.jpg] [OUT=folder]
	@name=$$(basename -- "$$IMAGE"); to="$$OUT/$${name%.*}"; mkdir -p -- "$$OUT"; \
	  $(COMMAND) generate "$$IMAGE" -o "$$to.glb" --blend "$$to.blend" --preview "$$to.png"

run: ## Run the add-on's command line, for example ARGS="generate photo.png -o photo.glb"
	@$(COMMAND) $(ARGS)

server: ## Serve the remote engine's API from this machine [ARGS="--engine draft --port 8191"]
	@$(IN) server-3.11 -m engine.server $(ARGS)

test-server: ## Test the server, also on Ray [TESTS=pytest arguments]
	@$(IN) server-3.11 $(PYTEST) tests/server $(TESTS)

test: lint ## Lint, then test the engine and the add-on inside Blender
	@$(MAKE) test-engine test-blender

test-all: lint ## Test with every Blender and CPython that is supported and on this machine
	@$(PYTHON) tests/support/everything.py

test-engine: ## Test the engine without Blender [ENGINE=3.11|3.13] [TESTS=pytest arguments]
	@$(IN) engine-$(ENGINE) $(PYTEST) tests/engine $(TESTS)

test-blender: ## Test the add-on inside Blender as a Python module [BPY=4.2|4.5|5.2] [TESTS=pytest arguments]
	@$(IN) bpy-$(BPY) $(PYTEST) tests/blender $(TESTS)

test-window: ## Test the add-on in a real Blender window, under Xvfb where there is no display BLENDER=command
	@$(PYTHON) tests/window/run.py --blender "$$BLENDER" $(TESTS)

screenshots: ## Take the README's pictures and the references of the window tests anew BLENDER=command
	@$(PYTHON) tests/window/run.py --record --blender "$$BLENDER" $(TESTS)

test-gpu: ## Test the CUDA engine on a GPU with the real packages [GPU_PYTHON=the environment's Python]
	@$(PYTHON) tests/gpu/run.py $(TESTS)

test-trellis2: ## Test the CUDA engine with TRELLIS.2's own Python code, on the CPU TRELLIS2=folder [TESTS=pytest arguments]
	@if [ -z "$$TRELLIS2" ]; then \
	  echo "SKIPPED: no folder with TRELLIS.2's public sources is given: make test-trellis2 TRELLIS2=folder"; \
	else $(IN) torch-3.11 $(PYTEST) tests/trellis2 $(TESTS); fi

bench: ## Measure, print a table and write out/bench.json
	@$(IN) bpy-$(BPY) -m tests.benchmarks

lint: ## Check style and types
	@$(IN) engine-3.11 -m ruff format --check -q .
	@$(IN) engine-3.11 -m ruff check -q .
	@$(IN) engine-3.11 -m mypy

zip: ## Build the extension's zips for this platform [PLATFORM=all]
	@$(PYTHON) wheels/build.py --platform $(PLATFORM)

bundle: ## Build zips with a whole environment inside, for work without a network [PROFILE=cpu|cuda] [PLATFORM=...]
	@$(PYTHON) wheels/bundle.py $(PROFILE) $(PLATFORM)

wheels: ## Fetch the wheels that the zips of all platforms carry, for work without a network
	@$(PYTHON) wheels/fetch.py

lock: ## Write all locks, the manifest's list of wheels and wheels/NOTICES.md anew from wheels/requirements/*.in
	@$(PYTHON) wheels/lock.py

repository: ## Make an extension repository of all zips in dist/repository
	@$(PYTHON) wheels/repository.py

clean: ## Remove what was made: environments, caches, zips and results
	@rm -rf .venv .cache dist out wheels/*.whl .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
