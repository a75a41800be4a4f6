# `make run` and `make test` do all the set-up that they need. Nothing but make, a shell and Python 3.11 or newer is assumed.
PY := .venv/bin/python

# Containers often forbid Python to keep what it compiled: every process of the app and of the tests would compile all libraries again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run browser check test test-slow bench bench-setup bench-truth bench-cifar bench-speed bench-scale bench-metagradient bench-mislabelled bench-unlearning captum-suite docs clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile

setup: ## make .venv and install what is pinned; nothing to do if it is as it should be
	@sh scripts/setup.sh

run: setup ## start Lethe and open it in the browser (PORT=8600 for another port)
	INFLUENCE_DEMO=1 $(PY) -m streamlit run app.py $(if $(PORT),--server.port $(PORT))

browser: setup ## find a Chromium for the tests, or install one
	@$(PY) -m scripts.browser

check: setup ## format, lint, types, import contracts
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports

# Files of tests run one per core; then the browser has the machine to itself. pytest ends with 5 where ARGS chooses none of a part.
test test-slow: export OMP_NUM_THREADS := 1
test: check browser ## all checks and all tests but the slow ones (ARGS="-k name" to choose)
	$(PY) -m pytest -m "not slow and not browser" -n auto --maxprocesses 8 --dist loadfile $(ARGS) || [ $$? -eq 5 ]
	$(PY) -m pytest -o testpaths=tests/e2e -m "browser and not slow" $(ARGS) || [ $$? -eq 5 ]

test-slow: setup browser ## the slow tests alone
	$(PY) -m pytest -m slow $(ARGS)

bench: setup ## list the benchmarks, or run one: make bench NAME=speed ARGS="--help"
	@$(if $(NAME),$(PY) -m benchmarks.$(NAME) $(ARGS),ls benchmarks/*.py)

captum-suite: setup ## Captum's own tests of TracIn, run on influence.drop_in
	@$(PY) -m scripts.captum_suite

bench-cifar: bench-setup ## metagradient and unlearning on all of the CIFAR-10 subset with a full ResNet-9: long nights, or a GPU; goes on where it was stopped
	$(PY) -m benchmarks.truth cifar_full --methods metagradient,tracin
	$(PY) -m benchmarks.unlearning cifar_full

bench-speed: setup ## time exact gradient products against training epochs and Captum (ARGS="--only mlp" to choose)
	$(PY) -m benchmarks.speed $(ARGS)

bench-scale: setup ## one question to a million rows, the index, and how costs grow
	$(PY) -m benchmarks.scale $(ARGS)

bench-metagradient: setup ## what the walk back costs, in plain trainings and MiB (ARGS="--only mlp" to choose)
	$(PY) -m benchmarks.metagradient $(ARGS)

bench-mislabelled: bench-setup ## find flipped labels on Fashion-MNIST, digits and MNIST, beside cleanlab (ARGS="digits" to choose)
	$(PY) -m benchmarks.mislabelled $(ARGS)

bench-unlearning: bench-setup ## every unlearning method beside retraining, on kinds of forget sets (ARGS="digits" to choose); goes on where it was stopped
	$(PY) -m benchmarks.unlearning $(ARGS)

bench-setup: setup ## install what the benchmarks compare with (requirements-bench.txt) into .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt -c requirements.txt

bench-truth: bench-setup ## compare our methods and dattri's with retraining in the published setting (ARGS="mnist_lr" to choose)
	$(PY) -m benchmarks.truth.compared $(or $(ARGS),mnist_lr mnist_mlp same/digits same/mnist_mlp same/adult same/mnist_cnn same/sst2)

docs: setup ## write docs/methods.md anew from what is registered
	$(PY) -m scripts.make_docs

clean: ## remove what can be made again; projects/ stays
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
