# The verbs of the project: README, CI and a person type the same ones.

BIN := .venv/bin
STAMP := .venv/.complete
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -q -n $(WORKERS)

.DELETE_ON_ERROR:
.PHONY: run test test-all check dev snapshots clean lock

run: $(STAMP)
	$(BIN)/mlops-assets deliver flights --if-empty
	$(BIN)/mlops-assets run flights

test: $(STAMP)
	$(PYTEST) -m "not slow"

test-all: $(STAMP)
	$(PYTEST)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

dev: $(STAMP)
	$(BIN)/mlops-assets dev

# What the tests expect of the graph becomes what it is now; read the difference before you commit it.
snapshots: $(STAMP)
	RENEW_SNAPSHOTS=1 $(BIN)/python -m pytest -q mlops_assets_tests/test_graph_snapshot.py

# What can be made again; never data/ or .mlops/, which hold what cannot.
clean:
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find mlops_assets mlops_assets_tests -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): requirements.lock setup.cfg pyproject.toml tools/environment
	@tools/environment .venv $(STAMP)

# Every package pinned, as fresh environments resolve the requirements today.
lock:
	@tools/lock requirements.in requirements.lock
	@tools/lock benchmarks/dvc.in benchmarks/dvc.lock
	@tools/lock benchmarks/duckdb.in benchmarks/duckdb.lock
