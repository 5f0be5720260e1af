# Everything a newcomer needs: `make demo` and `make test` each set up what they use.

PYTHON ?= python3
BIN := .venv/bin
DATA ?= data
NAB ?= data/nab
PAPER := --data-dir $(DATA) --preset paper -b 256 --steps 8867 --checkpoint-every 2000 --resume

.PHONY: help setup demo curve benchmark paper best robustness torture anomaly nab test opencv-floor lowest check format \
	docs notebooks release clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/ready  ## the environment .venv, and nothing else

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $$($(PYTHON) --version) found, Python 3.11 or newer expected; name one: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable ".[dev]"
	@touch .venv/ready

demo: setup  ## train a convolutional model on bundled digits, evaluate it, draw what it predicts (8 minutes)
	$(BIN)/python -m video_ae demo

curve: setup  ## videos to a label-efficiency curve: make curve RUN=runs/mine FLAGS="--dataset video-folder --data-dir VIDEOS"
	$(BIN)/python train.py --composite --output-dir $(RUN) --resume $(FLAGS)
	$(BIN)/python evaluate.py $(RUN) --tasks predict classify

benchmark: setup  ## speed beside nn.LSTM, plain convolutions and, where installed, Keras, and on a shared machine
	$(BIN)/python benchmarks/training.py

paper: setup  ## the paper's four models of moving digits (needs a GPU; DATA=folder of MNIST/raw): 2.27 M sequences each
	$(BIN)/python train.py --predict --digits mnist $(PAPER) --output-dir runs/paper-future
	$(BIN)/python train.py --predict --conditional --digits mnist $(PAPER) --output-dir runs/paper-future-conditional
	$(BIN)/python train.py --composite --digits mnist $(PAPER) --output-dir runs/paper-composite
	$(BIN)/python train.py --composite --conditional future --digits mnist $(PAPER) --output-dir runs/paper-composite-conditional
	for MODEL in future future-conditional composite composite-conditional; do \
		$(BIN)/python evaluate.py runs/paper-$$MODEL --clips 10000; done

best: setup  ## the sharpest predictions that half an hour of a GPU gives (DATA=folder of MNIST/raw)
	$(BIN)/python train.py --composite --digits mnist --data-dir $(DATA) --hidden-size 128 --layers 2 -b 64 \
		--max-minutes 30 --checkpoint-every 2000 --output-dir runs/best --resume
	$(BIN)/python evaluate.py runs/best --clips 10000
	$(BIN)/python evaluate.py runs/best --tasks rollout

robustness: setup  ## train 200 random configurations: finite, or stopped with a named cause (20 minutes)
	$(BIN)/python benchmarks/robustness.py

torture: setup  ## kills, damage, faults and a soak of two hours: writes docs/reliability.json and .md (hours; FLAGS="--share 0.1")
	$(BIN)/python -m benchmarks.torture $(FLAGS)

anomaly: setup  ## faults in made series: LSTM autoencoder, PCA and IsolationForest (8 minutes)
	$(BIN)/python benchmarks/anomaly.py

nab: setup  ## anomalies in real series beside other methods (NAB=folder with data/ and windows.json; 5 minutes)
	$(BIN)/python benchmarks/nab.py $(NAB)

test: setup  ## the tests
	$(BIN)/python -m pytest

opencv-floor:  ## the tests of decoding with the oldest OpenCV and PyAV that pyproject.toml allows, without PyTorch
	$(PYTHON) -m venv --clear .venv-floor
	.venv-floor/bin/python -m pip install --disable-pip-version-check --quiet pytest hypothesis pillow \
		$$(grep -oE '"(opencv-python-headless|av)>=[0-9.]+' pyproject.toml | sed 's/"//; s/>=\(.*\)/==\1.*/')
	.venv-floor/bin/python -c 'import av, cv2; print("OpenCV", cv2.__version__, "PyAV", av.__version__)'
	.venv-floor/bin/python -m pytest -q -c /dev/null --rootdir . -p no:cacheprovider --noconftest tests/test_decoders.py

lowest:  ## the tests with the lowest versions that pyproject.toml allows (fetches an older PyTorch)
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --disable-pip-version-check --quiet uv
	.venv-lowest/bin/python -m uv pip install --quiet --python .venv-lowest/bin/python \
		--resolution lowest-direct --editable ".[dev]"
	.venv-lowest/bin/python -m pytest -o filterwarnings=default

check: setup  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## the site build/site/index.html with its gallery; warnings and broken links are errors (a minute)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "site     build/site/index.html"

notebooks: setup  ## examples/notebooks/*.py as .ipynb files, in build/notebooks
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable ".[notebooks]"
	mkdir -p build/notebooks
	for SCRIPT in examples/notebooks/*.py; do \
		$(BIN)/python -m jupytext --to ipynb --output build/notebooks/$$(basename $$SCRIPT .py).ipynb $$SCRIPT || exit 1; done

release: setup  ## sdist and wheel in dist/, checked, and both tried in an empty environment
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable ".[release]"
	rm -rf dist build/release
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv build/release
	build/release/bin/python -m pip install --disable-pip-version-check --quiet dist/*.whl
	cd build/release && bin/video-ae demo --pretrained --output-dir wheel
	build/release/bin/python -m pip install --disable-pip-version-check --quiet --force-reinstall --no-deps dist/*.tar.gz
	cd build/release && bin/video-ae demo --pretrained --output-dir sdist

clean:  ## remove the environment and caches, not the runs
	rm -rf .venv .venv-floor .venv-lowest .pytest_cache .mypy_cache .ruff_cache build *.egg-info
