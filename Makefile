# Every target first sets up .venv with the versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= config/config.yaml
PROFILE ?= default
GPU ?= h100
HERE := $(dir $(realpath $(firstword $(MAKEFILE_LIST))))
CHECK := PYTHONPATH="$(HERE)workflow" $(BIN)/python -m memory_injections.command_line.cli check
# Profiles of clusters need Snakemake's plugins for them, and say themselves how much runs at a time.
ON_CLUSTER := $(filter slurm polaris,$(PROFILE))
OLD := import sys; sys.exit(sys.version_info < (3, 11))
# Whether .venv has a Python that is new enough, and no installation into it was killed.
FITS := $(shell test ! -e .venv/installing && .venv/bin/python -c 'import pip; $(OLD)' 2> /dev/null && echo yes)

# The config is checked before the rest is installed.
.NOTPARALLEL:

.DEFAULT_GOAL := help
.PHONY: help install study check-config rebuild lint fix unit test test-slurm docs crate picture bench bench-study plan schema coverage architectures lock

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

study: check-config .venv/$(if $(ON_CLUSTER),cluster,study)-installed ## run a study, from nothing to tables, figures and a report: make study CONFIG=… PROFILE=slurm (without them: the default study, here)
	@set -e; study=$$($(CHECK) "$(CONFIG)"); \
	$(BIN)/snakemake $(if $(ON_CLUSTER),,--cores all) --configfile "$(CONFIG)" --workflow-profile "$(HERE)workflow/profiles/$(PROFILE)"; \
	printf '\nThe report of the study: %s\n' "$(CURDIR)/results/$$study/report.html"

check-config: .venv/check-installed
	@test -f "$(HERE)workflow/profiles/$(PROFILE)/profile.yaml" || { echo "make: no profile $(PROFILE) is in workflow/profiles; correct PROFILE" >&2; exit 1; }
	@$(CHECK) "$(CONFIG)" > /dev/null

install: .venv/study-installed ## install everything that studies and the command memory-injections need, into .venv

lint: .venv/dev-installed ## check style, types, import rules, spelling and the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/snakemake --lint

fix: .venv/dev-installed ## fix what the linters can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt workflow
	$(BIN)/codespell --write-changes

# With two test processes on two cores, more PyTorch threads would wait for each other: tests would take three times as long.
unit test: export OMP_NUM_THREADS := 1

unit: .venv/dev-installed ## test the library: a minute, no network
	$(BIN)/pytest --numprocesses 2 --dist worksteal -m 'not network and not slow' tests/unit

test: lint ## everything that CI runs: linters, library, workflow, pages
	$(BIN)/pytest --numprocesses 2 --dist loadfile

test-slurm: .venv/dev-installed ## test the slurm profile on this machine's Slurm (partitions `main` and `gpu`, two GPUs; some minutes)
	$(BIN)/pytest -m slurm --numprocesses 2 -k 'not death' tests/cluster
	$(BIN)/pytest -m slurm -k death tests/cluster  # alone: it takes the node down

crate: .venv/study-installed ## pack a finished study as an RO-Crate, to archive and cite it: make crate CONFIG=…
	$(BIN)/memory-injections crate "$(CONFIG)" results logs benchmarks

picture: study ## draw the README's picture anew, from the default study
	cp results/demo/figures/controls.study.png docs/controls.png

docs: export NO_MKDOCS_2_WARNING := 1

docs: .venv/dev-installed ## build the documentation as a site, build/site/index.html; it needs no server
	$(BIN)/mkdocs build
	@echo "The documentation: $(CURDIR)/build/site/index.html"

bench: .venv/study-installed ## measure the engine's speed against a plain loop and the machine's matrix products
	$(BIN)/memory-injections bench "$(CONFIG)" $(BENCH)

bench-study: .venv/study-installed ## run a study from nothing in a temporary folder and show where its wall time goes: make bench-study CONFIG=…
	$(BIN)/python tools/bench_study.py --config $(CONFIG)

plan: .venv/study-installed ## estimate cells, arithmetic, memory and time of a study, and what it can find: make plan CONFIG=config/paper.yaml GPU=a100-40
	$(BIN)/memory-injections plan "$(CONFIG)" --gpu $(GPU) --shared results/shared $(if $(DIFFERENCE),--difference $(DIFFERENCE))

coverage: .venv/dev-installed ## simulate how often intervals hold the true mean, and write the table of docs/method.md (half a minute)
	$(BIN)/python tools/interval_coverage.py

schema: .venv/study-installed ## regenerate the config's schema and key table after a change to its model
	$(BIN)/memory-injections schema workflow/schemas/config.schema.json config/README.md

architectures: .venv/dev-installed ## write the table of docs/architectures.md anew, from a study of a tiny model of every family (half an hour)
	PYTHONPATH=tests:tests/support $(BIN)/python -m architecture_table docs/architectures.md

lock: ## update constraints.txt to the newest versions that pyproject.toml allows, from a temporary environment
	set -e; venv=$$(mktemp -d); trap 'rm -rf "$$venv"' EXIT; \
	$(PYTHON) -m venv --upgrade-deps "$$venv"; \
	"$$venv/bin/pip" install --quiet --editable ".[dev]"; \
	"$$venv/bin/pip" check; \
	{ echo "# Everything that the project uses and these bring along, as tested; 'make lock' renews it. Torch is named"; \
	  echo "# without its build, and CUDA's packages, which that build determines, are left out: CPU and GPU builds both do."; \
	  "$$venv/bin/pip" freeze --all --exclude-editable --exclude pip > "$$venv/frozen"; \
	  sed -E '/^(nvidia|cuda)-|^triton==/d; s/\+.*//' "$$venv/frozen"; } > "$$venv/constraints"; \
	cp "$$venv/constraints" constraints.txt

.venv/bin/python: $(if $(FITS),,rebuild)
	@$(PYTHON) -c '$(OLD)' || { echo "make: $(PYTHON) is $$($(PYTHON) --version 2>&1), but 3.11 or later is needed; name one: make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

# An installation that is killed leaves its mark behind; one that fails has changed nothing.
define install_into_venv
@touch .venv/installing
$(BIN)/python -m pip install --constraint constraints.txt $(1) || { rm .venv/installing; exit 1; }
@rm .venv/installing
@touch $@
endef

# What the check of a config imports: seconds, where the rest takes minutes.
.venv/check-installed: .venv/bin/python constraints.txt
	$(call install_into_venv,--quiet psutil pydantic PyYAML typer xxhash)

.venv/study-installed: .venv/bin/python pyproject.toml constraints.txt
	$(call install_into_venv,--editable .)

.venv/cluster-installed: .venv/bin/python pyproject.toml constraints.txt
	$(call install_into_venv,--editable ".[cluster]")

.venv/dev-installed: .venv/bin/python pyproject.toml constraints.txt
	$(call install_into_venv,--quiet --editable ".[dev]")
