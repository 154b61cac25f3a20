# make test         the tests, in a .venv of their own
# make quickstart   prepare, train, embed, score and report on the data that ships with the package
# make lint         ruff, mypy, import contract
# make clean        removes .venv and what the tools leave behind
#
# All set-up happens here: a first run makes .venv and takes minutes, the next takes none.
# PYTHON, TORCH and PIP_ARGS can be given: `make test PYTHON=python3.12`. TORCH is what pip installs first. Where no
# driver of a GPU is there, its CPU build is asked for, and taken if the registry has it; if not, name an index of
# such wheels: `make test PIP_ARGS="--extra-index-url ADDRESS"`.

PYTHON ?= python3
TORCH ?= torch==2.13.0
PIP_ARGS ?=
VENV := .venv
STAMP := $(VENV)/.installed
CPU_TORCH = $(if $(or $(findstring +,$(TORCH)),$(shell command -v nvidia-smi 2> /dev/null)),,$(TORCH)+cpu)
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)

export HF_HUB_OFFLINE := 1

.PHONY: test slow quickstart lint format schemas readme venv clean

# A process a core, each with one thread: more threads than cores slow each other down.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --maxprocesses 4 $(ARGS)

slow: $(STAMP)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -m slow -n auto --maxprocesses 4 $(ARGS)

quickstart: $(STAMP)
	PATH="$(abspath $(VENV))/bin:$$PATH" bash examples/quickstart/run.sh

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(STAMP)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

schemas: $(STAMP)
	$(VENV)/bin/python -m vlm2vec_cli.schemas

readme: $(STAMP)
	$(VENV)/bin/python tests/support/readme.py

venv: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(if $(CPU_TORCH),$(PIP) "$(CPU_TORCH)" 2> /dev/null || )$(PIP) "$(TORCH)"
	$(PIP) --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
