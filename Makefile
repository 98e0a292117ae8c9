# `make` lists the targets. Nothing here writes outside of this folder and one temporary folder of its own.

.DEFAULT_GOAL := help
.PHONY: help setup s3 cluster stop demo recipes ingest train evaluate generate sweep serve probe trace \
	find-learning-rate classify settings test test-fast chaos chaos-local peers lint format types lock clean

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LOCAL := $(BIN)/python -m textgen.local
COMPILE := uv pip compile -q --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
	--no-annotate --no-cache --python-version 3.11

# A Python to make the environment with; the first that TensorFlow has packages for.
IS_SUITED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c '$(IS_SUITED)' 2>/dev/null && echo $$python && break; done)

# $(call install,ENVIRONMENT,LOCK,SIZE,LOG): what pip says goes to the log, and its end to the terminal where it fails.
define install
@mkdir -p -m 700 $(dir $(4))
@echo "Installing into $(1) ($(3), some minutes; $(4) shows how far it is) ..."
@began=$$(date +%s); { $(PYTHON) -m venv $(1) && $(1)/bin/python -m pip install --no-cache-dir --no-deps \
	--require-hashes --progress-bar off -r $(2); } >$(4) 2>&1 \
	|| { { echo "error: the installation failed; $(4) has all that pip said, and ends so:"; tail -n 15 $(4); } >&2; exit 2; }; \
	echo "Installed into $(1) in $$(( $$(date +%s) - began )) s"
endef

export KERAS_HOME := $(CURDIR)/.run/keras
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0

help: ## list the targets
	@echo "textgen: from a bucket of text to a small language model that you train, measure and serve yourself"
	@echo
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 28
	@echo
	@echo "Arguments of a job go into ARGS:  make train ARGS=\"--help\""
	@echo "Another S3 than the embedded one: export TEXTGEN_BUCKET=name and the usual AWS_* variables"
	@echo "Other ports:                      export TEXTGEN_S3_PORT, TEXTGEN_RAY_PORT, TEXTGEN_DASHBOARD_PORT"

setup: $(INSTALLED) ## make .venv with everything in requirements.lock

$(INSTALLED): requirements.lock
	@if [ -z "$(PYTHON)" ]; then echo "error: Python 3.11, 3.12 or 3.13 is needed, and none was found; install one," \
		"or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; fi
	@$(PYTHON) -c '$(IS_SUITED)' || { echo "error: $(PYTHON) is not Python 3.11, 3.12 or 3.13; name one that is:" \
		"make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) lacks the module venv;" \
		"install it (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 2; }
	$(call install,$(VENV),requirements.lock,about 3 GB,.run/install.log)
	@touch $@

s3: $(INSTALLED) ## start the embedded S3 server
	@$(LOCAL) start-s3

cluster: $(INSTALLED) ## start the embedded S3 server and a local Ray head
	@$(LOCAL) start-head

stop: ## stop what s3, cluster, demo and the jobs started in the background
	@if [ -x $(BIN)/python ]; then $(LOCAL) stop; else echo "nothing runs: there is no $(VENV)"; fi

demo: $(INSTALLED) ## ingest, train, evaluate and generate on 33,530 movie reviews; FRESH=1 trains again
	@$(BIN)/python -m jobs.demo $(if $(FRESH),--fresh) $(ARGS)

recipes: $(INSTALLED) ## run the five published recipes in short form and print one table: at most 45 minutes
	@$(BIN)/python -m benchmarks.recipes $(ARGS)

ingest: $(INSTALLED) ## job: text files to window shards
train: $(INSTALLED) ## job: window shards to a checkpoint
evaluate: $(INSTALLED) ## job: score a checkpoint on a split
generate: $(INSTALLED) ## job: text from a checkpoint
sweep: $(INSTALLED) ## job: search hidden sizes and temperatures
serve: $(INSTALLED) ## job: put a checkpoint behind an endpoint
probe: $(INSTALLED) ## job: what the units of a checkpoint know of the documents' labels
trace: $(INSTALLED) ## job: the windows and texts that a step of a run was trained on
find-learning-rate: $(INSTALLED) ## job: a learning rate to begin with, as numbers and a picture
ingest train evaluate generate sweep serve probe trace find-learning-rate:
	@$(LOCAL) submit -- python -m jobs.$(subst -,_,$@) $(ARGS)

classify: $(INSTALLED) ## label texts with a classifier, at the terminal or from a file
settings: $(INSTALLED) ## list the settings with their meaning: make settings ARGS=training
classify settings:
	@$(BIN)/python -m jobs.$@ $(ARGS)

test: $(INSTALLED) ## run all tests, in two processes
	@$(BIN)/python -m pytest -n 2 $(ARGS)

test-fast: $(INSTALLED) ## run the tests that need neither Ray nor TensorFlow
	@$(BIN)/python -m pytest -m "not ray and not tensorflow and not slow" $(ARGS)

peers: .peers/.installed ## make .peers with PyTorch (5 GB), which benchmarks.training measures beside ours

.peers/.installed: benchmarks/peers/requirements.lock
	$(call install,.peers,$<,5 GB,.run/install-peers.log)
	@touch $@

chaos: $(INSTALLED) ## train while workers, drivers and nodes are ended 50 times and S3 fails 30 times, and compare: 45 min
	@$(BIN)/python -m tests.chaos --faults 80 $(ARGS)

chaos-local: $(INSTALLED) ## the same with everything on the local disk, where S3 cannot fail: each kind of fault once
	@$(BIN)/python -m tests.chaos --storage local $(ARGS)

lint: $(INSTALLED) ## check style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(INSTALLED) ## mend style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(INSTALLED) ## check types
	@$(BIN)/mypy

lock: $(INSTALLED) ## write the files of pinned versions anew from pyproject.toml
	@$(BIN)/$(COMPILE) --extra dev -o requirements.lock pyproject.toml
	@$(BIN)/$(COMPILE) --extra cuda -c requirements.lock -o requirements-cuda.lock pyproject.toml
	@$(BIN)/$(COMPILE) -o benchmarks/peers/requirements.lock benchmarks/peers/requirements.in

clean: ## stop everything and delete all that was made: .venv, buckets, runs, caches
	@if [ -x $(BIN)/python ]; then $(LOCAL) clean; fi
	@rm -rf .peers .s3 .run runs .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -rf $(VENV)
