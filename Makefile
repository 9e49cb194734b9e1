# `make study` runs the default study, `make test` everything that CI runs, `make bench` the benchmark,
# `make plan` says what a study costs; all set up .venv first.
PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= config/config.yaml
GPU ?= h100

.PHONY: study test test-slurm bench plan schema

study: .venv/study-installed
	$(BIN)/snakemake --cores all
	@echo
	@echo "The report of the study: $(CURDIR)/results/demo/report.html"

test: .venv/dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/mypy
	$(BIN)/snakemake --lint
	$(BIN)/pytest --numprocesses 2 --dist loadfile

# The slurm profile on the Slurm of this machine (partitions `main` and `gpu`, two GPUs; ten minutes).
test-slurm: .venv/dev-installed
	$(BIN)/pytest -m slurm tests/test_slurm.py

# How fast the injections are computed, beside a plain loop and beside what the machine can multiply.
bench: .venv/study-installed
	$(BIN)/python -m memory_injections.benchmark $(BENCH)

# Cells, arithmetic, memory and time of a study's jobs: `make plan CONFIG=config/paper.yaml GPU=a100-40`.
plan: .venv/study-installed
	$(BIN)/python -m memory_injections.costs --config $(CONFIG) --gpu $(GPU)

# The config's schema and key table, made from the config's model.
schema: .venv/study-installed
	$(BIN)/python -m memory_injections.schema

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/study-installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/dev-installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@
