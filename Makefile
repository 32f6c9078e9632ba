# Everything a developer or a newcomer types. `make help` lists it; every target sets up what it needs and may be repeated.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The interpreter that all pinned versions have wheels for.
PYTHON ?= $(firstword $(foreach name,python3.11 python3 python,$(shell \
  $(name) -c 'import sys; sys.version_info[:2] == (3, 11) and print("$(name)")' 2>/dev/null)))
DATA ?=
KEEP ?=
MINUTES ?= 30
KILLS ?=
ROWS ?= 0
PYTEST_ARGS ?=
# Tests run in so many processes, each with servers of its own; 0: in one, as with PYTEST_ARGS.
WORKERS ?= 2
BENCH_ARGS ?=

BIN := .venv/bin
PACKAGES := protos client server trainer
UV := VIRTUAL_ENV=$(CURDIR)/.venv UV_NO_PROGRESS=1 $(BIN)/uv
UV3 := VIRTUAL_ENV=$(CURDIR)/.venv-keras3 UV_NO_PROGRESS=1 $(BIN)/uv
UVF := VIRTUAL_ENV=$(CURDIR)/.venv-feast UV_NO_PROGRESS=1 $(BIN)/uv
MANIFESTS := constraints.txt pyproject.toml $(PACKAGES:%=%/pyproject.toml)
NATIVE := server/CMakeLists.txt client/CMakeLists.txt \
  $(shell find server/core server/bindings server/wire client/native client/wire -type f 2>/dev/null)
PROTOS := $(wildcard protos/src/rowbank_protos/v1/*.proto)
CXX_SOURCES := $(filter %.cc %.cpp %.h %.hpp,$(NATIVE))

# TFRA's layers need Keras 2; TensorFlow's own start-up notices are not ours to show.
export TF_USE_LEGACY_KERAS := 1
# Developers' compilers may not warn of anything; users' may.
export CMAKE_ARGS ?= -DROWBANK_WERROR=ON
export TF_CPP_MIN_LOG_LEVEL ?= 2
ifneq ($(wildcard $(DATA)/u.data),)
export MOVIELENS_100K := $(abspath $(DATA))
endif

.PHONY: help install gen format check test demo up bench soak model docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

install: .venv/.native ## create .venv with all packages, build the native core

.venv/bin/uv: constraints.txt
	@[ -n "$(PYTHON)" ] || { echo "error: no Python 3.11 on PATH (the last that TensorFlow Recommenders Addons has wheels" \
	  "for); install it or say where it is: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@command -v c++ >/dev/null || { echo "error: no C++ compiler (c++) on PATH; on Debian: apt-get install g++" >&2; exit 1; }
	@scripts/nghttp2.sh
	@echo "== creating .venv with $(PYTHON)"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv || { echo "error: $(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt uv
	@touch $@

# Build tools come first and the packages are built without isolation, so that the pinned ones build them.
.venv/.packages: $(MANIFESTS) .venv/bin/uv
	@echo "== installing the pinned packages into .venv (a few minutes the first time)"
	@$(UV) pip install -q -c constraints.txt --group build
	@$(UV) pip install -q -c constraints.txt --group dev --compile-bytecode --no-build-isolation \
	  -e protos -e "client[cli,tfra,parquet,redis]" -e "server[embedded,tracing,ui]" -e trainer
	@touch $@

.venv/.native: .venv/.packages $(NATIVE)
	@echo "== building the native core and the client's native part"
	@$(UV) pip install -q --no-deps --no-build-isolation --reinstall-package rowbank-server --reinstall-package rowbank \
	  -e server -e client
	@touch $@

# Keras 3 and current TensorFlow do not go with the TensorFlow that TFRA needs: its tests have an environment of their own.
.venv-keras3/.ready: constraints-keras3.txt client/pyproject.toml protos/pyproject.toml client/CMakeLists.txt \
  $(shell find client/native -type f 2>/dev/null) .venv/bin/uv
	@echo "== installing Keras 3 and the client into .venv-keras3"
	@[ -x .venv-keras3/bin/python ] || $(UV3) venv -q --python $(BIN)/python .venv-keras3
	@$(UV3) pip install -q -r constraints-keras3.txt
	@$(UV3) pip install -q --no-deps --no-build-isolation --reinstall-package rowbank -C build-dir=build/keras3 -e protos -e client
	@touch $@

# Feast does not go with TensorFlow 2.16: the tests of its layout have an environment of their own. Without it they are skipped.
.venv-feast/.tried: constraints-feast.txt .venv/bin/uv
	@echo "== installing Feast into .venv-feast"
	@[ -x .venv-feast/bin/python ] || $(UVF) venv -q --python $(BIN)/python .venv-feast
	@$(UVF) pip install -q -r constraints-feast.txt || \
	  { rm -rf .venv-feast && mkdir .venv-feast && echo "notice: Feast cannot be installed here; its tests are skipped"; }
	@touch $@

# What `bench capacity` compares with, each in an environment of its own; what cannot be installed is left out with a notice.
# By pip, whose configuration says where else wheels lie: torch for processors alone is a tenth of the other.
define try_peer
	@echo "== installing $(2) into .venv-$(1)"
	@[ -x .venv-$(1)/bin/python ] || $(BIN)/python -m venv .venv-$(1)
	@.venv-$(1)/bin/python -m pip install -q --disable-pip-version-check -r constraints-$(1).txt || \
	  { rm -rf .venv-$(1) && mkdir .venv-$(1) && echo "notice: $(2) cannot be installed here; it is not compared with"; }
	@touch $@
endef

.venv-torch/.tried: constraints-torch.txt .venv/bin/uv
	$(call try_peer,torch,torch)

# PaddlePaddle 2.6 needs protobuf below 5.
.venv-paddle/.tried: constraints-paddle.txt .venv/bin/uv
	$(call try_peer,paddle,PaddlePaddle)

gen: install ## regenerate the protobuf code from the .proto files
	@$(BIN)/python -m grpc_tools.protoc -I protos/src --python_out=protos/src --pyi_out=protos/src --grpc_python_out=protos/src $(PROTOS)

format: install ## rewrite Python and C++ sources in the project's style
	@$(BIN)/ruff check -q --fix-only . && $(BIN)/ruff format -q .
	@$(BIN)/clang-format -i $(CXX_SOURCES)

check: install ## static checks: style, types, import directions
	@echo "== ruff" && $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "== clang-format" && $(BIN)/clang-format --dry-run -Werror $(CXX_SOURCES)
	@echo "== import directions" && PYTHONPATH= $(BIN)/lint-imports --no-cache
	@echo "== mypy" && $(BIN)/mypy

test: install .venv-keras3/.ready .venv-feast/.tried ## every test; DATA=folder adds those on MovieLens 100k, PYTEST_ARGS is handed to pytest, WORKERS=0 runs them in one process
	@$(if $(strip $(PYTEST_ARGS)),$(BIN)/python -m pytest $(PYTEST_ARGS),$(BIN)/python scripts/every_test.py -n $(WORKERS) --dist loadfile)

demo: install ## train a two-tower model through a real server and ask it for recommendations (DATA=MovieLens folder; KEEP=1 leaves its page up to look at)
	@$(BIN)/python scripts/demo.py $(if $(DATA),--data "$(DATA)") $(if $(KEEP),--keep)

up: install ## run parameter server, Redis and retrieval service here until Ctrl-C
	@$(BIN)/rowbank up --data-dir data

bench: install $(if $(findstring capacity,$(BENCH_ARGS)),.venv-torch/.tried .venv-paddle/.tried) ## measure every workload beside its reference (BENCH_ARGS="grpc_pull --rows 100000")
	@$(BIN)/python -m bench $(BENCH_ARGS)

soak: install ## kill servers for MINUTES=30 while workers push, and check that nothing is lost or doubled; KILLS=100 ROWS=0: owners with a standby
	@PYTHONPATH=. $(BIN)/python -m $(if $(KILLS),tests.standby.soak --kills $(KILLS) --rows $(ROWS),tests.journal.soak --minutes $(MINUTES))

model: install ## search every run of the model of a shard's owners; needs spin
	@command -v spin >/dev/null || { echo "error: no spin on PATH; on Debian: apt-get install spin" >&2; exit 1; }
	@PYTHONPATH=. $(BIN)/python -m tests.model.checker

docs: install ## build the documentation's site into site/, with reference pages made from the code
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q && echo "site/index.html; to search it, serve it: python3 -m http.server -d site --bind 127.0.0.1"

clean: ## remove .venv and everything built
	@rm -rf .venv .venv-keras3 .venv-feast .venv-torch .venv-paddle build dist site server/build client/build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache out
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
