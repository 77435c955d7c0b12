# Two commands: `make demo` and `make test`. Both install into .venv first (once).

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed
# The tests of a file run in one process, so that its fixtures are made once; tests/conftest.py puts the slow files first.
TESTS  := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
# Metadata that JupyterLab writes into a notebook, and that changes with each version of Python.
STRIP  := --keep-id --extra-keys "$(addprefix metadata.language_info.,codemirror_mode file_extension mimetype nbconvert_exporter pygments_lexer version)"

.PHONY: help install demo test lint types unit reliability sync lab bench clean

help:            ## show this list
	@grep -E '^[a-z]+: .*##|^[a-z]+:  *##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

install: $(READY) ## create .venv with the kit and its tools

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("inpaintkit needs Python >= 3.10, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)
	@echo 'installing into $(VENV): some minutes, some GB of downloads, no output meanwhile'
	$(BIN)/python -m pip install --quiet --editable '.[dev,depth]'
	! git rev-parse --git-dir >/dev/null 2>&1 || git config filter.notebooks.clean '$(abspath $(BIN))/python -m nbstripout $(STRIP)'
	touch $(READY)

demo: $(READY)   ## generate, train, fine-tune, inspect on the shipped photos -> models/demo
	$(BIN)/python -m inpaintkit demo

test: lint types unit ## lint, types and the whole test suite

lint: $(READY)   ## ruff over code and notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## mypy, strict
	$(BIN)/mypy

unit: $(READY)   ## pytest, one process per core
	$(TESTS)

reliability: $(READY) ## the tests of docs/reliability.md
	$(TESTS) -m attack

sync: $(READY)   ## rewrite the parameters cells of the notebooks from the options
	$(BIN)/python -c 'from inpaintkit.notebook.parameters import sync_notebooks; print(*sync_notebooks(), sep="\n")'

lab: $(READY)    ## open JupyterLab with the first notebook
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/01_generate.ipynb

bench: $(READY)  ## all benchmarks -> docs/benchmarks.md (15 minutes; needs a quiet machine)
	$(BIN)/python benchmarks/run_all.py

clean:           ## remove caches; data, models and .venv stay
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis build *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
