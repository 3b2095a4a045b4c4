# Two commands, complete on a machine with Python >= 3.11, git and make: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2
# Python keeps what it compiled, wherever it is told not to: tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

# What reads strangers' bytes.
PARSERS := keras_moe/zoo/model_card.py,keras_moe/zoo/toml.py,keras_moe/zoo/architecture.py,keras_moe/zoo/sources.py,keras_moe/zoo/store.py,keras_moe/zoo/calibration.py,keras_moe/labels.py,keras_moe/weights.py,keras_moe/torch_file.py,keras_moe/images.py,keras_moe/image_kinds.py,keras_moe/export/litert/integrity.py,keras_moe/datasets/files/*,keras_moe/insights/folders.py

.PHONY: demo test slow-upcycle slow-dtypes browser lint types cards docs docs-serve fuzz endurance versions release clean

demo: $(VENV)/demo-ready
	KERAS_BACKEND=jax $(BIN)/python examples/classify_photos.py --out demo.png

# Compiling takes most of JAX's time: processes of one run, and the next run, share what they compiled.
test versions: export JAX_COMPILATION_CACHE_DIR = $(abspath $(VENV))/jax-cache
test versions: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS = 0
test versions: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES = -1
# What a test compiles runs a few times at most: XLA's optimizations cost more than they give.
test versions: export JAX_DISABLE_MOST_OPTIMIZATIONS = 1
# Two workers on two cores: a second thread in each would only wait for the first.
test versions: export OMP_NUM_THREADS = 1
test: lint
	@for backend in tensorflow jax torch; do \
		echo "== $$backend"; \
		KERAS_BACKEND=$$backend $(BIN)/python -m pytest -q -n 2 --dist loadgroup || exit 1; \
	done
	@# Four processes of their own, none of which keeps two cores busy alone.
	@$(MAKE) --no-print-directory --output-sync=target -j 4 slow-upcycle slow-dtypes browser types

# What takes minutes, where it takes least or is most likely to break.
slow-upcycle: $(VENV)/test-ready
	KERAS_BACKEND=torch $(BIN)/python -m pytest -q -m slow tests/models/test_upcycle.py

slow-dtypes: $(VENV)/test-ready
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -q -m slow tests/contracts/test_dtypes.py

# The web page in headless Chromium; skipped where Chromium or npm cannot be had.
browser: $(VENV)/test-ready
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -q -m browser tests/browser

lint: $(VENV)/test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/test-ready
	$(BIN)/mypy

cards: $(VENV)/test-ready
	KERAS_BACKEND=jax $(BIN)/python -m keras_moe.zoo.model_cards_md
	KERAS_BACKEND=jax $(BIN)/python tests/zoo/test_variables.py

# The documentation; any warning fails it.
docs: $(VENV)/test-ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(VENV)/test-ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

# New cases for the parsers of strangers' data, and what share of the parsers they reach.
fuzz: MINUTES ?= 60
fuzz: $(VENV)/test-ready
	KERAS_BACKEND=torch $(BIN)/python -m coverage run --data-file=$(VENV)/fuzz-coverage --include='keras_moe/*' tests/fuzz --minutes $(MINUTES)
	$(BIN)/python -m coverage report --data-file=$(VENV)/fuzz-coverage --include='$(PARSERS)' --skip-empty

# Hours: 100,000 predictions on each backend, every model loaded 100 times, trainings killed, the service under load.
endurance: $(VENV)/test-ready
	@for backend in tensorflow jax torch; do \
		KERAS_BACKEND=$$backend $(BIN)/python -m benchmarks.endurance predictions || exit 1; \
	done
	KERAS_BACKEND=torch $(BIN)/python -m benchmarks.endurance models
	KERAS_BACKEND=torch $(BIN)/python -m benchmarks.endurance kills
	KERAS_BACKEND=torch $(BIN)/python examples/service/load_test.py --minutes 10

# The suite in new environments, each with one backend alone: the oldest versions that pyproject.toml names, and the
# newest without TensorFlow; five to ten minutes each.
versions: CASES ?= oldest-tensorflow oldest-jax oldest-torch newest-jax newest-torch
versions: $(VENV)/test-ready
	.ci/versions $(BIN) $(CASES)

# Wheel, sdist, sums and the list of what they bring along in dist/, tried in an empty environment.
release: versions
	.ci/release $(BIN)

$(VENV)/python-ready:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/demo-ready: $(VENV)/python-ready pyproject.toml
	$(BIN)/pip install --quiet --progress-bar on -e ".[jax,viz]"
	touch $@

# PyTorch is pinned: its CPU build of this version is what the suite is known to pass with. uv installs the rest, in
# seconds instead of minutes.
$(VENV)/test-ready: $(VENV)/python-ready pyproject.toml
	$(BIN)/pip install --quiet --no-compile --progress-bar on torch==2.13.0 uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e ".[tensorflow,jax,torch,litert,edge,onnx,tfmot,cv,browser,service,docs,dev]"
	touch $@

clean:
	rm -rf $(VENV) demo.png
