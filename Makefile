# Every target sets up .venv first, with the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= config/config.yaml
GPU ?= h100

.DEFAULT_GOAL := help
.PHONY: help study lint fix unit test test-slurm bench plan schema lock

help: ## say what the targets are
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

study: .venv/study-installed ## run the default study: from nothing to tables, figures and a report
	$(BIN)/snakemake --cores all
	@echo
	@echo "The report of the study: $(CURDIR)/results/demo/report.html"

lint: .venv/dev-installed ## check style, types, spelling, import directions and the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/snakemake --lint

fix: .venv/dev-installed ## repair what the linters can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt workflow
	$(BIN)/codespell --write-changes

# Two processes on two cores: PyTorch's threads would wait for each other, and the tests take three times as long.
unit test: export OMP_NUM_THREADS := 1

unit: .venv/dev-installed ## test the library: a minute, no network
	$(BIN)/pytest --numprocesses 2 --dist worksteal -m 'not network' tests/unit

test: lint ## everything that CI runs: linters, library, workflow, pages
	$(BIN)/pytest --numprocesses 2 --dist loadfile

test-slurm: .venv/dev-installed ## the slurm profile on the Slurm of this machine (partitions `main` and `gpu`, two GPUs; ten minutes)
	$(BIN)/pytest -m slurm tests/cluster

bench: .venv/study-installed ## how fast injections are computed, beside a plain loop and what the machine can multiply
	$(BIN)/python -m memory_injections.planning.benchmark --pairs resources/prompt_pairs.csv --config config/config.yaml $(BENCH)

plan: .venv/study-installed ## cells, arithmetic, memory and time of a study: make plan CONFIG=config/paper.yaml GPU=a100-40
	$(BIN)/python -m memory_injections.planning.command --config $(CONFIG) --gpu $(GPU) --shared results/shared

schema: .venv/study-installed ## renew the config's schema and key table after a change of its model
	$(BIN)/python -m memory_injections.config.reference --schema workflow/schemas/config.schema.json --readme config/README.md

lock: ## renew constraints.txt: the newest versions that pyproject.toml allows, of a throw-away environment
	set -e; venv=$$(mktemp -d); trap 'rm -rf "$$venv"' EXIT; \
	$(PYTHON) -m venv --upgrade-deps "$$venv"; \
	"$$venv/bin/pip" install --quiet --editable ".[dev]"; \
	"$$venv/bin/pip" check; \
	{ echo "# Everything that the project uses and these bring along, as tested; 'make lock' renews it. Torch is named"; \
	  echo "# without its build, and CUDA's packages, which that build determines, are left out: CPU and GPU builds both do."; \
	  "$$venv/bin/pip" freeze --all --exclude-editable --exclude pip > "$$venv/frozen"; \
	  sed -E '/^(nvidia|cuda)-|^triton==/d; s/\+.*//' "$$venv/frozen"; } > "$$venv/constraints"; \
	cp "$$venv/constraints" constraints.txt

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/study-installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/dev-installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
