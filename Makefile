# Every target that needs the environment makes it first; nothing but Python 3.11 and make is needed.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-full lint bench clean
.DEFAULT_GOAL := demo

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "modalxai needs Python 3.11 or newer: make PYTHON=python3.11")'
	@echo 'Making .venv: PyTorch and the rest take a few minutes and 5 GB the first time.'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/modalxai demo --out report.html

# One thread for each worker: two workers with two threads each are slower than one.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

test-full: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m full tests/recipes

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	@set -e; for script in benchmarks/*.py; do \
		test -e "$$script" || continue; \
		echo "== $$script"; $(BIN)/python "$$script"; \
	done

clean:
	rm -rf .venv dist build demo report.html .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
