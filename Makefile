# make run: a virtual environment, the locked packages, the shipped recipe. make test: lint, import rules, tests.
PYTHON ?= python3
DEVICE ?= cpu
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run repro wheel image test test-long install install-dev lint viz ui docs docs-serve clean

run: install
	$(BIN)/kedro run

# The DVC stages that are not up to date, by their data, parameters and what their code does.
repro: install
	$(BIN)/kedro ruri dvc-code
	$(BIN)/dvc repro

# Two processes with a thread each; a file's tests stay together, since they share what they have set up.
test: install-dev lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# Those that start whole runs and trainings in processes of their own, five minutes more.
test-long: install-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long -n 2 --dist loadfile

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed, this is %d.%d: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	touch $@

# torch first and alone: a range that another package asks for would bring the CUDA build.
$(VENV)/.installed: $(VENV)/.python requirements.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements.lock)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	touch $@

# dist/ruri_kedro-*.whl, with the files of a new project inside.
wheel: $(VENV)/.python
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

# make image DEVICE=cuda: with CUDA.
image:
	docker build --build-arg DEVICE=$(DEVICE) --tag ruri-kedro:$(DEVICE) .

viz: install
	$(BIN)/kedro viz run

ui: install
	@echo "Open http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db

# The documentation, into site/; docs-serve shows it at http://127.0.0.1:8001 and follows changes.
docs: install-dev
	$(BIN)/mkdocs build

docs-serve: install-dev
	$(BIN)/mkdocs serve --dev-addr 127.0.0.1:8001

clean:
	rm -rf $(VENV)
