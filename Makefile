# Needs Python 3.11 or newer and make; everything else goes into .venv.
#
#   make demo    lithium and magnesium in seven MnO2 polymorphs: table, structures, pictures, report.html in demo/
#   make test    the tests, in parallel on JOBS processes (default 3), and those on a SLURM where there is one
#   make lint    style, types and spelling: ruff, mypy, codespell
#   make train   a small training run (configs/train-small.yaml)
#   make train-slice      ten minutes of it on another machine: REMOTE="ssh gpu-machine" CONFIG=configs/train-large.yaml
#   make venv    only the installation
#   make results the tables of docs/benchmarks.md and docs/weights.md anew (DATA=folder of the benchmark sets); takes long
#   make clean   removes the installation, the demonstration and caches
#   make help    prints this
#   make demo-slurm       a campaign on a SLURM of two nodes that is brought up here for it
#   make test-slurm       only the tests on such a SLURM; "slurm/dev-cluster up --install" gets it (root, Debian, Ubuntu)
#   make test-slurm-slow  tests of time limits, preemption, deaths, a cut cable, accounting: about half an hour
#
# PYTHON=python3.12 picks the interpreter; TORCH_ARGS is passed on to the installation of torch, e.g. an index of
# builds for CPU or for one CUDA version.

PYTHON ?= python3
TORCH_ARGS ?=
# On two cores three are a fourth faster than two: tests also wait, for Ray to start and for child processes.
JOBS ?= 3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-slurm results lint train train-slice venv clean help
.DELETE_ON_ERROR:

demo: venv
	$(BIN)/inpaint-hpc demo $(ARGS)

# One thread per process: crystals are small, and test processes would fight for the cores.
test: venv
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m 'not slow and not slurm' $(ARGS)
	$(if $(ARGS),,$(MAKE) test-slurm)

# One after the other: jobs of theirs need the cores, and some tests look at the clock.
test-slurm: venv
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'slurm and not slow' tests/slurm $(ARGS)

# Each in a folder of RESULTS, in which the same command goes on.
DATA ?= ../shared/data
RESULTS ?= results
BENCHMARK = $(BIN)/inpaint-hpc benchmark
WBM = wbm $(DATA)/wbm_dev.h5 --ions Li,Na,Mg,Ca
ELECTRODES = electrodes $(DATA)/electrodes_dev.h5
GENERATION = generation $(DATA)/mp_train.h5 --max-atoms 12 --limit 40
results: venv
	$(BENCHMARK) $(WBM) --limit 50 --samples 4 --out $(RESULTS)/wbm-4
	$(BENCHMARK) $(WBM) --limit 100 --out $(RESULTS)/wbm
	$(BENCHMARK) $(WBM) --limit 15 --samples 4 --matchers --out $(RESULTS)/matchers
	$(BENCHMARK) $(ELECTRODES) --limit 30 --random 100 --out $(RESULTS)/electrodes-30
	$(BENCHMARK) $(ELECTRODES) --limit 100 --no-les --out $(RESULTS)/electrodes
	$(BENCHMARK) sites $(DATA)/electrodes_dev.h5 --limit 120 --out $(RESULTS)/sites
	$(BENCHMARK) sites $(DATA)/hops_dev.h5 --limit 60 --out $(RESULTS)/hops
	$(BENCHMARK) sites $(DATA)/obelix_dev.h5 --limit 15 --out $(RESULTS)/obelix
	$(BENCHMARK) mno2 $(RESULTS)/mno2
	$(BENCHMARK) $(GENERATION) --out $(RESULTS)/generation
	$(BENCHMARK) $(GENERATION) --random --out $(RESULTS)/generation-chance
	for weights in small large; do set -e; samples="--no-score --weights $$weights --out $(RESULTS)/$$weights"; \
	  $(BENCHMARK) wbm $(DATA)/wbm_dev.h5 --limit 100 --training $(DATA)/mp_train.h5 $$samples-wbm; \
	  $(BENCHMARK) $(ELECTRODES) --no-les --limit 100 $$samples-electrodes; \
	  $(BENCHMARK) $(ELECTRODES) --no-les --limit 80 --samples 4 $$samples-electrodes-80; \
	  $(BENCHMARK) $(ELECTRODES) --no-les --samples 4 $$samples-electrodes-290; \
	  $(BENCHMARK) electrodes $(DATA)/electrodes_mno_showcase.h5 --no-les $$samples-mno; \
	done

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy inpaint_hpc
	$(BIN)/codespell

train: venv
	$(BIN)/inpaint-hpc train configs/train-small.yaml $(ARGS)

CONFIG ?= configs/train-small.yaml
REMOTE ?= bash -c
train-slice: venv
	slurm/train-slice $(CONFIG) --remote "$(REMOTE)" $(ARGS)

venv: $(STAMP)

# torch goes first: a plain "pip install ." may pick another build of it and download gigabytes.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Error: $(PYTHON) is older than Python 3.11; run make with PYTHON=python3.11 or newer" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(TORCH_ARGS) torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# The comment at the top of this file, so that each target is described once.
help:
	@sed -n -e '/^#/!q' -e 's/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

clean:
	rm -rf $(VENV) demo .pytest_cache .ruff_cache .mypy_cache .rehearsal *.egg-info

.PHONY: demo-slurm test-slurm-slow

# A SLURM of its own on this machine, a campaign over its two nodes, the archive, and everything down again.
demo-slurm: venv
	slurm/dev-cluster up
	@trap 'slurm/dev-cluster down' EXIT; eval "$$(slurm/dev-cluster env)"; set -e; \
	  $(BIN)/inpaint-hpc submit slurm/demo.yaml --nodes 2 --time 20 --cpus-per-task 1; \
	  while squeue -h -t PD,R,CG -o '%i %T %M on %N' | grep .; do sleep 5; done; \
	  $(BIN)/inpaint-hpc status runs/demo-slurm; $(BIN)/inpaint-hpc logs runs/demo-slurm --rank 0

# What a cluster does to jobs: time limits, preemption, deaths of processes and nodes.
test-slurm-slow: venv
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'slurm and slow' tests/slurm $(ARGS)
