# Two commands do everything: `make demo` and `make test`. Both need Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Without compiled tests pytest rewrites every assertion anew at each start: 2 s become 5.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test fuzz soak chaos watch-chaos webhook-chaos drills disclosure check lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## create .venv and install the locked dependencies

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 setup"; exit 2; }
	@echo "Setting up $(VENV) (once; about a minute)"
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv"; exit 2; }
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes --only-binary :all: \
	  -r requirements/dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: setup ## a fictional county, live, on the embedded stack (ARGS="--for 30s" ends by itself)
	@exec $(BIN)/scores demo $(ARGS)

# Most of the time goes into waiting for brokers, sessions and budgets, which several tests can do at once. A file stays whole.
PARALLEL ?= --numprocesses 4 --dist loadfile

test: setup ## all tests that this machine can run (ARGS="tests/unit -k rescore" for some)
	@exec $(BIN)/python -m pytest $(PARALLEL) $(ARGS)

fuzz: setup ## hostile input: 1,000,000 events, 100,000 documents, 100,000 streams (ARGS="--events 5000 --documents 500 --streams 500 --seed 2", "--replay FILE")
	@PYTHONPATH=tests exec $(BIN)/python -m hostile $(ARGS)

soak: setup ## the engine under simulated faults, 100,000 schedules (ARGS="--schedules 5000 --seed 1 --jobs 2")
	@PYTHONPATH=tests exec $(BIN)/python -m simulation.soak $(ARGS)

chaos: setup ## real processes killed, stopped and cut off for 15 minutes (ARGS="--minutes 2 --seed 7 --kafka embedded")
	@exec $(BIN)/python -m tests.chaos $(ARGS)

watch-chaos: setup ## clients watch while gateways, Redis and connections are killed and cut, 5 minutes (ARGS="--minutes 1 --seed 7")
	@exec $(BIN)/python -m tests.watching $(ARGS)

webhook-chaos: setup ## 1,000 webhook endpoints, some dead or slow, while workers and Redis are killed, 5 minutes (ARGS="--minutes 1 --seed 7")
	@exec $(BIN)/python -m tests.webhook_fleet $(ARGS)

drills: setup ## operators' drills: each fault, the verdict on it, the alert, and how fast, 20 minutes (ARGS="--only worker_stopped --every 1")
	@exec $(BIN)/python -m tests.drills $(ARGS)

disclosure: setup ## attack the masked figures of 2,000 simulated seasons (ARGS="--seeds 200 --first 1")
	@PYTHONPATH=tests exec $(BIN)/python -m disclosure_attack $(or $(ARGS),--seeds 2000)

check: setup ## format, lint, types, dependency direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: setup ## resolve the dependencies anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --extra dev pyproject.toml -o requirements/dev.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" -c requirements/dev.txt pyproject.toml -o requirements/runtime.txt

clean: ## remove what setup, demo and tests made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist .scores
