# The front door. `make` alone prints what there is. uv does the work; it is bootstrapped into .tools.
.DEFAULT_GOAL := help
.PHONY: help setup run test test-fast lint bench bench-quick bench-peers chaos lock clean

PYTHON ?= python3
MINUTES ?= 60
BUS ?= embedded
SEED ?= 1
UV := .tools/bin/uv
export UV_PYTHON_DOWNLOADS := never
# Every process of ours would compile all that it imports again.
unexport PYTHONDONTWRITEBYTECODE

help: ## print the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: .venv/.installed ## create .venv from the locked requirements

run: .venv/.installed ## start everything on this machine, with a demo provider when no key is set
	@exec .venv/bin/llm-proxy server --demo $(RUN_ARGS)

test: .venv/.dev lint ## everything: lint, types, unit, real servers, browser
	@bash tests/support/install_chromium.sh
	.venv/bin/python -m pytest -n 3 --dist loadgroup $(TEST_ARGS)

test-fast: .venv/.dev ## the tests that take no browser and no long runs (under two minutes)
	.venv/bin/python -m pytest -n 3 --dist loadgroup -m "not slow and not browser" $(TEST_ARGS)

lint: .venv/.dev ## ruff and the strict type checker
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: .venv/.dev ## measure on this machine, against nginx, LiteLLM and Portkey where they are installed
	.venv/bin/python -m tests.bench $(BENCH_ARGS)

bench-quick: .venv/.dev ## the same in under two minutes: fewer cases, wider noise, nothing published
	@mkdir -p .tools/bench
	.venv/bin/python -m tests.bench --quick --out .tools/bench/quick.md $(BENCH_ARGS)

bench-peers: $(UV) ## fetch LiteLLM and Portkey into .tools/bench, for bench to compare with
	@test -x .tools/bench/litellm/bin/python || $(UV) venv -q --python $(PYTHON) .tools/bench/litellm
	$(UV) pip install -q --python .tools/bench/litellm/bin/python 'litellm[proxy]==1.106.2'
	@if command -v npm >/dev/null; then \
	  npm install --prefix .tools/bench/portkey --no-audit --no-fund --loglevel error @portkey-ai/gateway@1.15.2; \
	else echo "no npm on this machine: bench will do without Portkey"; fi

chaos: .venv/.dev ## break a running system for MINUTES=60 (BUS=embedded or redis, SEED=1), with a report
	.venv/bin/python -m tests.chaos --minutes $(MINUTES) --bus $(BUS) --seed $(SEED) --report tests/chaos/reports/$(BUS)-seed-$(SEED) $(CHAOS_ARGS)

lock: $(UV) ## renew the lock files after pyproject.toml changed
	$(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate --no-emit-index-url pyproject.toml --group build -o requirements.lock
	$(UV) pip compile -q --universal --generate-hashes --no-header --no-annotate --no-emit-index-url pyproject.toml --group build --group dev -o requirements-dev.lock

clean: ## remove what the targets above made
	rm -rf .venv .tools .run .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(UV): requirements-tools.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "llm-proxy needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) -V`. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv .tools || { echo "python3 has no venv module. Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@.tools/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements-tools.lock
	@touch $@

.venv/.installed: requirements.lock pyproject.toml | $(UV)
	@test -x .venv/bin/python || $(UV) venv -q --python $(PYTHON) .venv
	@$(UV) pip install -q --python .venv/bin/python --require-hashes -r requirements.lock
	@$(UV) pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.installed
	@$(UV) pip install -q --python .venv/bin/python --require-hashes -r requirements-dev.lock
	@touch $@
