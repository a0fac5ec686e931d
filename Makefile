# make demo   install, then the whole path on simulated data: simulate, ingest, fit, sample, evaluate, report
# make test   install, then the tests
# make quick  the fast tests of every module
# make newcomer  a newcomer's path, timed: every documented step from frames to a training loop
# make bounds  the demo and the quick tests with the lower bounds of all dependencies, and with the newest releases
# make test-adapters  the adapters to other libraries, each within its own (several GB in .venv-adapters)
# make lint   ruff and mypy
# make docs   the documentation, into site/
# make clean  remove what these made, the environment included
PYTHON ?= python3
OLDEST_PYTHON ?= python3.10
NEWEST_PYTHON ?= python3.13
VENV ?= .venv
ADAPTERS ?= .venv-adapters
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test quick newcomer bounds test-adapters lint docs clean
.DELETE_ON_ERROR:

# A process for each processor, of one thread; the tests of a file stay in one, for their fixtures; slow files go first.
TOGETHER := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Compiled modules are kept: a test that starts Python would compile the whole package.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

# The stamps make the second call quick; the install is editable, so that a change of code needs none.
$(VENV)/torch.stamp: constraints.txt tools/install_torch.sh
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 10) <= v <= (3, 13) and f"Python 3.10 to 3.13 is needed; {sys.executable} is {v[0]}.{v[1]}. Say which: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	tools/install_torch.sh $(BIN)/python
	touch $@

$(VENV)/package.stamp: $(VENV)/torch.stamp setup.cfg setup.py pyproject.toml
	@echo 'Installing noiseflow into $(VENV)'
	$(PIP_INSTALL) --editable .
	touch $@

$(VENV)/develop.stamp: $(VENV)/torch.stamp setup.cfg setup.py pyproject.toml
	@echo 'Installing noiseflow and its development tools into $(VENV)'
	$(PIP_INSTALL) --editable '.[dev,train,fits,cluster,export,hub,docs]'
	touch $@ $(VENV)/package.stamp

# Of an environment of its own: torchvision wants the torch that it was built for, several GB.
$(ADAPTERS)/adapters.stamp: setup.cfg setup.py pyproject.toml
	$(PYTHON) -m venv $(ADAPTERS)
	$(ADAPTERS)/bin/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[deepinv,kornia,torchvision,albumentations,monai]' pytest hypothesis pytorch-lightning
	touch $@

test-adapters: $(ADAPTERS)/adapters.stamp
	$(ADAPTERS)/bin/python -m pytest tests/augment/adapters tests/augment/training_loop/test_lightning.py

demo: $(VENV)/package.stamp
	$(BIN)/noiseflow demo demo --overwrite

test: $(VENV)/develop.stamp
	$(PYTEST) $(TOGETHER)

quick: $(VENV)/develop.stamp
	$(PYTEST) --quick -q $(TOGETHER)

newcomer: $(VENV)/develop.stamp
	$(BIN)/python -m tools.checks.newcomer $(NEWCOMER)

bounds: $(VENV)/develop.stamp
	$(BIN)/python -m tools.checks.bounds lowest --python $(OLDEST_PYTHON)
	$(BIN)/python -m tools.checks.bounds newest --python $(NEWEST_PYTHON)

lint: $(VENV)/develop.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/develop.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/python -m tools.site.links site

clean:
	rm -rf $(VENV) $(ADAPTERS) demo site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
