# Everything installs what it needs into .venv; nothing has to be set up by hand.
# EXTRA chooses the MLX backend: on Linux cpu (default), cuda12 or cuda13; on a Mac MLX brings its own.
PYTHON ?= python3
EXTRA ?= $(if $(filter Darwin,$(shell uname -s)),,cpu)
COMMA := ,
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test stress check format schema bench bench-serve migration clean

help:
	@echo "make demo    see what it does: a real model answers, and a sample cache is looked at"
	@echo "make test    run the whole test suite, on every processor"
	@echo "make check   lint, types, import contracts"
	@echo "make stress  run the slow proofs in full, or with PART=name one of them (see CONTRIBUTING.md)"
	@echo "make bench   time it against its peers"
	@echo "make bench-serve   the server against its peers; the first time it fetches 7 GB of them"
	@echo "make migration     compare the JSON with that of mlx-knife 2.0.8; the first time it fetches 1 GB"
	@echo "make schema  write docs/json-api.schema.json from the code's types"
	@echo "make format  format the code"

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "Installing into $(VENV): this takes a minute or more, and says nothing meanwhile"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(if $(EXTRA),$(EXTRA)$(COMMA))dev]'
	@touch $@

DEMO = HF_HUB_CACHE=.demo/hub MLXK_WORKSPACE_HOME=.demo/workspaces MLXK_WHEELS=.cache/wheels $(BIN)/mlxk
QUESTION := What is the capital of France?

demo: $(STAMP)
	@$(BIN)/python -m tests.sample_cache .demo/hub
	@echo "$$ mlxk pull starter"; $(DEMO) pull starter
	@echo; echo "$$ mlxk run starter '$(QUESTION)'"; $(DEMO) run starter '$(QUESTION)'
	@for line in "list" "show tiny-chat-4bit" "health"; do echo; echo "$$ mlxk $$line"; $(DEMO) $$line; done

test: $(STAMP)
	$(BIN)/python -m pytest

stress: $(STAMP)
	$(BIN)/python -m pytest --timeout 2400 -n 0 -m 'stress$(if $(PART),(part="$(PART)"))' \
		$(if $(PART),$$(grep -rl --include='test_*.py' 'part="$(PART)"' tests))

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

schema: $(STAMP)
	$(BIN)/python -m mlxknife.cli.schema > docs/json-api.schema.json

bench: $(STAMP)
	$(BIN)/python benchmarks/catalog.py
	$(BIN)/python benchmarks/verify.py
	$(BIN)/python benchmarks/pull.py
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/batching.py
	$(BIN)/python benchmarks/constraints.py
	$(BIN)/python benchmarks/retrieval.py

bench-serve: $(STAMP)
	$(BIN)/python benchmarks/serve.py

migration: $(STAMP)
	$(BIN)/python benchmarks/migration.py

clean:
	rm -rf $(VENV) .demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
