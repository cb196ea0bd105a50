# make demo and make test need nothing but Python 3.11 or 3.12; both set up what they use.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: setup demo test check format clean sheets

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 12), "likeness needs Python 3.11 or 3.12; say which with make PYTHON=..."'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==$$(sed -n 's/^torch==//p' constraints.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: setup
	$(BIN)/likeness demo --out demo

test: setup
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff format --check src tests examples benchmarks
	$(BIN)/ruff check src tests examples benchmarks
	$(BIN)/pyright
	$(BIN)/python -m pytest

format: setup
	$(BIN)/ruff check --fix-only src tests examples benchmarks
	$(BIN)/ruff format src tests examples benchmarks

sheets: setup
	$(BIN)/python benchmarks/clay_sheet.py
	$(BIN)/python benchmarks/synth_sheet.py

clean:
	rm -rf .venv demo build dist *.egg-info src/*.egg-info .pytest_cache .ruff_cache .hypothesis
