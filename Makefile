# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-fast fuzz soak lint device-bench results docs wheel sbom clean

# Each target installs the extra that it needs: demo or dev.
$(VENV)/.%: setup.py
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("lin_jax needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	touch $@

demo: $(VENV)/.demo
	$(BIN)/python -m experiments.demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

fuzz: $(VENV)/.dev
	PYTHONPATH=tests $(BIN)/python -m fuzz.audio 2000
	PYTHONPATH=tests $(BIN)/python -m fuzz.commands 2000

soak: $(VENV)/.dev
	PYTHONPATH=tests $(BIN)/python -m fuzz.soak

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What a GPU should tell, within eight minutes; TORCH=PYTHON puts PyTorch beside it.
device-bench: $(VENV)/.dev
	$(BIN)/python -m experiments.benchmark --what=device --seconds=420 --out runs/device.jsonl $(if $(TORCH),--torch $(TORCH))

results: $(VENV)/.demo
	$(BIN)/python -m experiments.results

docs: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(BIN)/python -m pdoc -d google -o site lin_jax data_pipelines

# The same commit gives the same bytes.
wheel: $(VENV)/.dev
	rm -rf build
	umask 022 && SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

sbom: $(VENV)/.dev
	$(BIN)/python tools/sbom.py > sbom.json

clean:
	rm -rf $(VENV) .pytest_cache runs site
