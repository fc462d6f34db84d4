# `make train` and `make test` are all that a new user needs; both build the environment first.
# Nothing is written outside this folder: caches and downloads go to .cache, runs to $(WORKDIR).

PYTHON  ?= python3
VENV    ?= .venv
WORKDIR ?= runs/digits
CONFIG  ?= trainers/configs/dvaepp_digits.py
JOBS    ?= 2
ARGS    ?=

CACHE := $(CURDIR)/.cache

# Set here whatever the shell's environment says; override on the command line
# (`make train TFDS_DATA_DIR=/data`).
export TFDS_DATA_DIR        := $(CACHE)/tensorflow_datasets
export KERAS_HOME           := $(CACHE)/keras
export KERAS_BACKEND        := tensorflow
export MPLCONFIGDIR         := $(CACHE)/matplotlib
export MPLBACKEND           := Agg
export IPYTHONDIR           := $(CACHE)/ipython
export JUPYTER_CONFIG_DIR   := $(CACHE)/jupyter/config
export JUPYTER_DATA_DIR     := $(CACHE)/jupyter/data
export JUPYTER_RUNTIME_DIR  := $(CACHE)/jupyter/runtime
export XDG_CACHE_HOME       := $(CACHE)/xdg/cache
export XDG_CONFIG_HOME      := $(CACHE)/xdg/config
export XDG_DATA_HOME        := $(CACHE)/xdg/data
export TMPDIR               := $(CACHE)/tmp
export TF_CPP_MIN_LOG_LEVEL ?= 2
# No cache of pip's own: the wheels are large and would be kept twice.
export PIP_NO_CACHE_DIR     := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Pins the tools that build source packages too; newer pips read the second name for that.
export PIP_CONSTRAINT       := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt

# Written for any Python, so that an old one gets the message and not a syntax error.
define CHECK_PYTHON
import sys
found = "%d.%d.%d" % sys.version_info[:3]
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit("tfdvae needs Python 3.11, 3.12 or 3.13. Received: PYTHON=%s, which is Python %s. "
             "Name another one, for example: make PYTHON=python3.12 env" % (sys.argv[1], found))
try:
    import ensurepip, venv
except ImportError:
    sys.exit("Python %s has no venv or ensurepip module. Install it (on Debian and Ubuntu: "
             "apt-get install python3-venv), or name another Python: make PYTHON=python3.12 env" % found)
endef
export CHECK_PYTHON

.DEFAULT_GOAL := help
.PHONY: help env train test lint format docs clean

help: ## list the targets
	@echo "make TARGET [PYTHON=$(PYTHON)] [VENV=$(VENV)] [WORKDIR=$(WORKDIR)] [CONFIG=$(CONFIG)] [JOBS=$(JOBS)] [ARGS=...]"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-9s %s\n", $$1, $$2}'

env: $(VENV)/.stamp ## create the virtual environment with the pinned versions

$(VENV)/.stamp: setup.py constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "No such command: PYTHON=$(PYTHON)." \
	  "Install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python3 env" >&2; exit 1; }
	@"$(PYTHON)" -c "$$CHECK_PYTHON" "$(PYTHON)"
	@mkdir -p "$(TMPDIR)"
	"$(PYTHON)" -m venv "$(VENV)"
	"$(VENV)/bin/python" -m pip install --quiet -e ".[test,dev]"
	@touch "$@"

train: env ## train on the digits: prints the likelihood, writes samples and the exported generator to WORKDIR
	@mkdir -p "$(TMPDIR)"
	"$(VENV)/bin/python" -m trainers.train --config="$(CONFIG)" --workdir="$(WORKDIR)" $(ARGS)
	"$(VENV)/bin/python" -m trainers.export --workdir="$(WORKDIR)" --out="$(WORKDIR)/generator"
	"$(VENV)/bin/python" -m trainers.sample --generator="$(WORKDIR)/generator" --out="$(WORKDIR)/generator.png"

test: env ## run the tests in JOBS processes (ARGS="-m slow" runs the slow ones)
	@mkdir -p "$(TMPDIR)"
	"$(VENV)/bin/python" -m pytest -n $(JOBS) --dist loadfile $(ARGS)

lint: env ## check style
	"$(VENV)/bin/python" -m ruff check .
	"$(VENV)/bin/python" -m ruff format --check .

format: env ## rewrite the files in the project's style
	"$(VENV)/bin/python" -m ruff check --fix .
	"$(VENV)/bin/python" -m ruff format .

docs: $(VENV)/.stamp-docs ## build the reference and the models' pages in docs/_build
	@mkdir -p "$(TMPDIR)"
	rm -rf docs/_build docs/api
	"$(VENV)/bin/python" -m sphinx -q -W --keep-going -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

$(VENV)/.stamp-docs: $(VENV)/.stamp
	@mkdir -p "$(TMPDIR)"
	"$(VENV)/bin/python" -m pip install --quiet -e ".[docs]"
	@touch "$@"

clean: ## remove the environment and all caches; training runs stay
	rm -rf "$(VENV)" docs/_build docs/api .cache .ruff_cache .mypy_cache build dist tfdvae.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
