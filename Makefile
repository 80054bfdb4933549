# Every target that needs the environment makes it first; nothing but Python 3.11 and make is needed.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DOCS := .venv/.docs

.PHONY: demo test test-full lint docs bench tonebench clean
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
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m full

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(DOCS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

# No network: links to other projects come from docs/inventories. Then every example is run: those of
# the docstrings, and those of the pages. The tutorials run while they are built.
docs: $(DOCS)
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -n -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html
	OMP_NUM_THREADS=1 $(BIN)/pytest -q src tests/test_docs.py
	@echo 'written: docs/_build/html/index.html'

# The speed table first, which writes docs/speed.md; shapiq_recorded.py needs a Python of its own.
bench: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed.py
	@set -e; for script in benchmarks/*.py; do \
		case "$$script" in benchmarks/speed.py|benchmarks/shapiq_recorded.py) continue;; esac; \
		test -e "$$script" || continue; \
		echo "== $$script"; $(BIN)/python "$$script"; \
	done

# Who is right about what a model listens to. Hours on two cores; a killed run goes on.
tonebench: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m modalxai.benchmark.tonebench build/tonebench
	mkdir -p docs/pictures
	cp build/tonebench/tonebench.md docs/tonebench.md
	cp build/tonebench/pictures/tonebench_*.png docs/pictures/

clean:
	rm -rf .venv dist build demo report.html docs/_build docs/tutorials .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
