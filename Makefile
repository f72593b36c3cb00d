# Every target sets up what it needs, also on a fresh machine.
#   make demo     catch five attackers in recorded traffic, live, through a real broker
#   make test     run all tests              (make test ARGS="-k prada -x" for some,
#                                             ARGS="-n 0 ..." in one process, to debug)
#   make check    format, lint, import layers, types
#   make types    the type checker alone
#   make bench    measure; the tables of docs/results/speed.md come from here
#   make docs     build the documentation site, with warnings as errors
#   make clean    remove what was built, except .venv
# PYTHON=python3.12 chooses another interpreter for .venv, KAFKA_HOME and
# KAFKA_BOOTSTRAP_SERVERS the brokers that are tested against (see CONTRIBUTING.md).

PYTHON ?= $(or $(shell command -v python3.11),python3)
SHELL := bash
.SHELLFLAGS := -o pipefail -c
BIN := .venv/bin
PACKAGES := schemas detectors stream replay
LINKS := $(PACKAGES:%=build/types/gamekeeper/%)
# The type checker does not follow setuptools' mapping of the root folders into one package, so it
# gets a tree of links; what it finds is told with the true file names.
TYPES = MYPYPATH=build/types $(BIN)/mypy -p gamekeeper | sed -u 's|^build/types/gamekeeper/||'
# Of what pip says, the packages: one line that changes on a terminal, else every tenth one. What
# goes wrong it says on stderr, where only its warnings are left out.
define PROGRESS
{ n=0; while read -r did name _; do \
  case "$$did $$name" in \
    Collecting*|Processing*) n=$$((n + 1)); name=$$(basename "$$name"); name="$${name%%[<>=!~;[(]*}" ;; \
    "Installing collected") name="installing them" ;; \
    *) continue ;; \
  esac; \
  if test -t 1; then printf '\r\033[K  %d packages: %s' "$$n" "$$name"; \
  elif test "$$did" = Installing || test $$((n % 10)) = 0; then echo "  $$n packages: $$name"; fi; \
done; if test -t 1; then printf '\r\033[K'; fi; }
endef

.DEFAULT_GOAL := help
.PHONY: help demo test check types bench docs clean

help:
	@sed -n '/^# Every/,/^$$/s/^# \{0,1\}//p' Makefile

demo: .venv/demo.stamp
	@$(BIN)/gamekeeper demo $(ARGS)

test: .venv/dev.stamp
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

check: .venv/dev.stamp $(LINKS)
	@$(BIN)/ruff format --check --quiet . || { echo "Format with: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-logo
	@$(TYPES)

types: .venv/dev.stamp $(LINKS)
	@$(TYPES)

bench: .venv/dev.stamp
	@for bench in tests/bench/bench_*.py; do $(BIN)/python $$bench || exit 1; done

docs: .venv/docs.stamp
	@$(BIN)/sphinx-build --quiet --fail-on-warning --nitpicky --keep-going docs build/docs
	@echo "The documentation is in build/docs/index.html"

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(PACKAGES) docs tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(LINKS):
	@mkdir -p $(@D)
	@ln -sfn ../../../$(@F) $@

# An environment is made once, and again when what it is made from has changed.
.venv/%.stamp: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
	  echo "Gamekeeper needs Python 3.11 or newer with venv: make PYTHON=/path/to/python3 $(MAKECMDGOALS)"; \
	  exit 1; }
	@echo "Installing gamekeeper[$*] into .venv: some hundred packages, which take minutes ..."
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off \
	  -c constraints.txt -e '.[$*]' 2> >(grep -v '^WARNING: ' >&2) | $(PROGRESS)
	@touch $@ $(if $(filter dev,$*),.venv/demo.stamp .venv/docs.stamp)
