# aiagents: `make run` needs Python 3.11 or newer and nothing else.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run test test-long test-soak clients coverage lint bench doctor lock audit clean

help: ## the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1	/' | expand -t 18

run: $(VENV)/.base ## everything in this terminal: page, API, worker, its own PostgreSQL and Valkey; Ctrl-C stops it
	@exec $(PY) manage.py up --launcher $$PPID

# Whole files to one worker: their tests share an installation or a browser. The files that cost most come first.
PYTEST_OPTIONS = -n 3 --dist loadfile --no-loadscope-reorder
PYTEST = $(PY) -m pytest $(PYTEST_OPTIONS)

test: $(VENV)/.dev ## the suite without its long part, in parallel, on servers of its own
	@$(PYTEST) -m "not long" $(ARGS)

test-long: $(VENV)/.dev ## the long part: kill -9, restarts, outages, full disks, backups, fuzzing, every page in a browser
	@$(PYTEST) -m long $(ARGS)

test-soak: $(VENV)/.dev ## the generated tests again with everything that they can make up; about an hour
	@SOAK=1 $(PYTEST) -m soak $(ARGS)

clients: $(VENV)/.dev ## today's clients, unchanged, against a started product (needs npm and both registries; ARGS names some)
	@$(PY) -m tests.kit.clients $(ARGS)

# Subprocesses are measured too, and the sum is about half more processor time: so this stands beside `make test`.
coverage: $(VENV)/.dev ## branch coverage of test and test-long: at least 90 %, 95 % in billing and in agents (ARGS chooses tests)
	@$(PY) -m coverage erase
	@$(PY) -m coverage run -m pytest $(PYTEST_OPTIONS) $(ARGS)
	@$(PY) -m coverage combine --quiet
	@$(PY) -m coverage report --fail-under=90
	@for app in billing agents; do echo "$$app:" && $(PY) -m coverage report --include="$$app/*" --fail-under=95 | tail -1 || exit 1; done

lint: $(VENV)/.dev ## style, types, migrations, deployment checks, OpenAPI
	@PY=$(PY) .ci/lint

bench: $(VENV)/.dev ## what the product adds to a call, measured (benchmarks/README.md)
	@exec $(PY) -m benchmarks $(ARGS)

doctor: $(VENV)/.base ## list what is missing or wrong
	@exec $(PY) manage.py doctor

AGE ?= 7 days
# One resolution for every supported Python and platform; the smaller sets take their versions from the largest.
COMPILE = $(PY) -m uv --quiet pip compile --universal --python-version 3.11 --exclude-newer "$(AGE)" --generate-hashes --no-annotate --no-strip-extras \
	--custom-compile-command "make lock"

lock: $(VENV)/.dev ## the newest allowed versions, exact and with hashes, into requirements/lock (one package: ARGS="-P openai")
	@$(COMPILE) $(or $(ARGS),--upgrade) requirements/dev.txt -o requirements/lock/dev.txt
	@for set in local prod; do $(COMPILE) requirements/$$set.txt -c requirements/lock/dev.txt -o requirements/lock/$$set.txt || exit 1; done

audit: $(VENV)/.dev ## known vulnerabilities in what is locked (asks the package index)
	@$(PY) -m uv --quiet tool run --from pip-audit==2.10.1 pip-audit --require-hashes --disable-pip -r requirements/lock/dev.txt $(ARGS)

clean: ## stop and delete the embedded servers and their data, and the virtual environment
	@if [ -x $(PY) ]; then $(PY) -c 'from pathlib import Path; from aiagents.local import embedded; [embedded.remove(Path(d).resolve()) for d in (".data", ".data/test")]'; fi
	@rm -rf .data $(VENV) .pytest_cache .mypy_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp file shows that the current requirements are installed.
$(VENV)/.base: requirements/lock/local.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "aiagents needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make run PYTHON=python3.12"; exit 1; }
	@[ -x $(PY) ] || $(PYTHON) -m venv $(VENV)
	@echo "Installing the product's requirements (once; about half a minute) ..."
	@$(PY) -m pip install --quiet --require-hashes -r $<
	@touch $@

$(VENV)/.dev: requirements/lock/dev.txt $(VENV)/.base
	@echo "Installing the tests' requirements (once) ..."
	@$(PY) -m pip install --quiet --require-hashes -r $<
	@touch $@
