# Trackside: the verbs. `make` or `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help up test test-in-cluster lint fuzz docs shots cluster cluster-down bench bridge-report lock build clean
BIN := .venv/bin
# Settings make their keys where they are loaded: checks and tests leave your own home alone.
test test-in-cluster lint: export TRACKSIDE_HOME = $(CURDIR)/test-artifacts/home

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

up: .venv/ready ## run a whole Trackside here (PORT=8080, HOME_DIR=~/.trackside, DAGS=examples); Ctrl-C stops it
	@tools/frontend || echo "front end     could not be built: pages come without what moves by itself"
	@exec $(BIN)/python -m config.standalone $(if $(PORT),--port $(PORT)) $(if $(HOME_DIR),--home $(HOME_DIR)) $(if $(DAGS),--dags-folder $(DAGS))

test: lint ## lint, unit tests and end-to-end tests: everything
	@tools/frontend
	@tools/browser
	@tools/executors
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS); status=$$?; tools/left-out; exit $$status

test-in-cluster: .venv/ready-dev ## Trackside itself in that Kubernetes, from its own images and its Helm chart (root, Debian, Go 1.24)
	@tools/cluster/cluster prepare
	@env -u KUBECONFIG -u TRACKSIDE_TEST_TASK_IMAGE -u TRACKSIDE_TEST_SERVER_IMAGE TRACKSIDE_TEST_IN_CLUSTER=1 $(BIN)/python -m pytest -n0 tests/in_cluster $(ARGS)

cluster: .venv/ready-dev ## a one-node Kubernetes on this machine for tests (root, Linux; KUBECONFIG replaces it), with the task image
	@tools/cluster/cluster up
	@tools/images cluster

cluster-down: ## end it and remove all it left but the binary
	@tools/cluster/cluster wipe

lint: .venv/ready-dev ## style, types and import contracts; needs no database
	@$(BIN)/ruff check .
	@$(BIN)/mypy platform/trackside platform/config apps
	@$(BIN)/lint-imports

fuzz: .venv/ready-dev ## call every REST operation with generated input as every role for 20 minutes (the nightly form)
	@TRACKSIDE_FUZZ_SECONDS=$${TRACKSIDE_FUZZ_SECONDS:-1200} $(BIN)/python -m pytest -n0 -s tests/fuzz $(ARGS)

docs: .venv/ready ## write docs/reference and the tables of docs/migrate.md from the code
	@$(BIN)/python tools/reference_docs.py

shots: .venv/ready-dev ## take the pictures of docs/guide from a Trackside that is started for them (needs Chromium)
	@tools/frontend
	@$(BIN)/python tools/guide/shots.py $(ARGS)

bench: .venv/ready ## time Trackside against its budgets (docs/performance.md)
	@$(BIN)/python bench/run.py $(ARGS)

bridge-report: .venv/ready-dev ## names of Airflow that published provider packages import, and which of them the bridge lacks
	@$(BIN)/python tools/bridge_report.py $(ARGS)

lock: ## write requirements*.lock, the hashes of what requirements*.txt pin (needs uv)
	@tools/lock

build: .venv/ready-dev ## the front end into static/dist, the wheel for workers and pods into dist/
	@tools/frontend
	@cd platform && ../$(BIN)/python -m hatchling build -t wheel -d ../dist

clean: ## remove what was built or cached; .venv and the homes of instances stay
	@rm -rf dist build static/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache test-artifacts
	@find apps platform tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/ready: requirements.lock requirements-build.lock platform/pyproject.toml
	@tools/environment requirements.txt
	@touch $@

.venv/ready-dev: requirements-dev.lock .venv/ready
	@tools/environment requirements-dev.txt
	@touch $@
