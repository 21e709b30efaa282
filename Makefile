# make study   installs what is needed and runs the default lesion study
# make test    the same set-up, then code checks and every test that takes seconds
# make slow    the tests that take longer: killed runs, clusters, simulations, wheels
# make docs    the pages, the reference and the gallery as a site, build/docs/index.html
# make mutants faults put in on purpose: which of them do the tests notice? (hours; needs mutmut)
# make wheels  the two wheels, facelesion and facelesion-weights, in dist/
# VENV=folder  where the environment lives (default: .venv here; a new lock file makes it install again)

PYTHON ?= python3
VENV ?= .venv
LOCK := requirements.lock
KEY := $(shell $(PYTHON) -c "import hashlib;print(hashlib.sha256(open('$(LOCK)','rb').read()).hexdigest()[:12])")
INSTALLED := $(VENV)/.installed-$(KEY)
BIN := $(VENV)/bin
# Tests run in as many processes, each computing with one thread; tests/conftest.py says which stay together.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(4, os.cpu_count() or 1))")
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
export PYTHONPATH := $(CURDIR)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: study test slow check docs install mutants wheels lock clean

study: install
	$(BIN)/python -m facelesion study configs/default.yaml

test: check
	$(PYTEST) -m "not slow"

slow: install
	$(PYTEST) -m slow

check: install
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: install
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --jobs auto docs build/docs
	@echo build/docs/index.html

install: $(INSTALLED) $(VENV)/.project
	@$(BIN)/python -c "import pathlib, sys; root = pathlib.Path('$(VENV)/.project').read_text().strip(); sys.exit(root != '$(CURDIR)')" \
	  || { $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . && echo "$(CURDIR)" > $(VENV)/.project; }

# Its name says which lock it is of: when that file was written does not matter.
$(INSTALLED): | $(LOCK)
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
	  || { echo "facelesion needs Python 3.11 or newer; $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 2; }
	@echo "Installing into $(VENV): some gigabytes (PyTorch), a few minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement $(LOCK)
	@rm -f $(VENV)/.installed-*
	@touch $@

$(VENV)/.project: $(INSTALLED)
	@echo none > $@

# Faults put in on purpose, to see which no test notices; hours on one core. CONTRIBUTING.md says what came out.
mutants: install
	@$(BIN)/python -c "import mutmut" 2>/dev/null || { echo "needs mutmut: $(BIN)/pip install 'mutmut>=3.8'"; exit 2; }
	PYTHONPATH= OMP_NUM_THREADS=1 $(BIN)/mutmut run --max-children $(WORKERS)
	$(BIN)/mutmut results

wheels: install
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python -m build --no-isolation --outdir dist weights
	$(BIN)/python -m twine check --strict dist/*

# Needs `uv` (pip install uv) and the package index; reads pyproject.toml. The weights are those of this folder.
EXTRAS := dev docs study faces train timm ray slurm hub lab
lock:
	uv pip compile --quiet --universal --python-version 3.11 $(EXTRAS:%=--extra %) --no-header --no-annotate --no-emit-index-url \
	  --no-emit-find-links --no-emit-package facelesion-weights -o $(LOCK) pyproject.toml

clean:
	rm -rf .venv build dist mutants docs/examples docs/reference .pytest_cache .mypy_cache .ruff_cache .hypothesis
