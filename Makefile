# `make story` and `make test` do all of their own set-up in .venv.
PYTHON ?= python3
VENV := .venv
NODE := tests/exporters/node tests/server/node  # what Node.js runs in tests
BIN := $(VENV)/bin
SOURCES := src tests benchmarks docs hatch_build.py
C_SOURCES := $(wildcard src/tinybuddy/backends/engine/*.[ch] src/tinybuddy/exporters/c/*/*.[ch] \
	tests/backends/engine/*.c tests/exporters/*.c tests/exporters/*/*.c benchmarks/*.c benchmarks/*/*.c)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# pip compiles the engine, with zig where no compiler is, or fails; here it is seen to load.
CHECK_ENGINE := $(BIN)/python -c "import sys, tinybuddy.backends.engine.library as engine; \
	engine.used_kernels() or sys.exit('The engine does not load: install a C compiler, gcc or \
	clang, and make this again.')"

# A worker a processor; 8 at most, since each that imports PyTorch takes 0.5 GB.
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal

.PHONY: help story course docs test test-all check reproduce bench wheels clean
help:  ## list what can be made
	@sed -n 's/^\([a-z-]*\):[^#]*## /make \1\t/p' Makefile | expand -t 18

story: $(VENV)/story  ## install, train a model, tell its story
	@if [ -e runs/story/recipe.toml ]; then $(BIN)/tinybuddy resume runs/story; \
	else $(BIN)/tinybuddy train --out runs/story; fi
	@echo
	@echo "A story of the model that you have just trained:"
	@$(BIN)/tinybuddy generate "Once upon a time" --model runs/story </dev/null
	@echo
	@echo "A story of tinybuddy-80k, released, which had 36 minutes and 19,390 stories:"
	@$(BIN)/tinybuddy generate "Once upon a time" </dev/null
	@echo
	@echo "See how yours works, in a browser: runs/story/story.html"
	@echo "To go on, so that tinybuddy is found: source $(BIN)/activate"

course: $(VENV)/story  ## install, open the course in a browser
	@$(INSTALL) -c constraints.txt -e '.[lab]'
	$(BIN)/jupyter lab docs/course

docs: $(VENV)/docs  ## the site, in build/site; it needs no network once that is installed
	@$(MAKE) --no-print-directory build/course/ran
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open build/site/index.html"

test: check  ## install, lint, types, imports, the fast tests
	$(PYTEST)

test-all: test $(VENV)/test-all $(NODE:%=%/node_modules)  ## the slow tests too; it names what it skips and why
	@$(MAKE) --no-print-directory build/course/ran
	$(PYTEST) -m slow

check: $(VENV)/test  ## install, lint, types, imports
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/clang-format --dry-run --Werror $(C_SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

reproduce: RECIPE = card
reproduce: $(VENV)/test  ## the published figures; DATA=folder of TinyStories, RECIPE=name
	$(BIN)/python benchmarks/reproduce.py $(DATA) --recipe $(RECIPE)

bench: $(VENV)/test  ## speed against the peers that are installed
	$(BIN)/python benchmarks/decode_speed.py
	$(BIN)/python benchmarks/train_speed.py
	$(BIN)/python benchmarks/cold_start.py

wheels: export ZIG_GLOBAL_CACHE_DIR ?= $(CURDIR)/build/zig
wheels: $(VENV)/test  ## wheels of every platform, in dist
	for platform in $$($(BIN)/python -c "from tinybuddy.backends.engine.build import PLATFORMS; \
	print(*PLATFORMS)"); do TINYBUDDY_PLATFORM=$$platform $(BIN)/python -m pip wheel --quiet \
	--disable-pip-version-check --no-deps --no-build-isolation -w dist . || exit 1; done
	@ls -l dist

$(VENV)/test-all: $(VENV)/test
	@for extra in browser cluster docs; do $(INSTALL) -c constraints.txt -e ".[$$extra]" || \
		echo "What $$extra needs could not be installed: its tests are skipped."; done
	@echo "Compiling llama.cpp for its tests; it takes ten minutes of one core ..."
	@$(INSTALL) -c constraints.txt -e '.[llama-cpp]' && touch $@ || \
		echo "llama.cpp could not be compiled: what needs it is skipped."

clean:  ## remove what was installed and trained here
	rm -rf $(VENV) $(NODE:%=%/node_modules) runs build

# The notebooks are run in a copy, in turn, since 7 and 8 take what 6 trained. The site shows what
# they printed and drew.
build/course/ran: $(wildcard docs/course/*.py docs/course/*/*.py)
	rm -rf build/course && mkdir -p build && cp -R docs/course build/course
	$(BIN)/python -m pytest --nbmake --overwrite --nbmake-timeout 3600 build/course/*.ipynb
	@touch $@

# What needs Node.js is skipped where it is not.
%/node/node_modules: %/node/package-lock.json
	@! command -v npm >/dev/null || { npm ci --silent --prefix $*/node && touch $@; } || \
		echo "$*/node/package.json could not be installed: what needs it is skipped."

$(VENV)/story: pyproject.toml constraints.txt
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(INSTALL) -c constraints.txt -e .
	@$(CHECK_ENGINE)
	@touch $@

$(VENV)/docs: $(VENV)/story
	@$(INSTALL) -c constraints.txt -e '.[docs]'
	@touch $@

$(VENV)/test: pyproject.toml constraints.txt tests/transformers4.txt
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(INSTALL) -c constraints.txt -e '.[dev]'
	@$(CHECK_ENGINE)
	@$(INSTALL) --no-deps --upgrade --target $(VENV)/transformers4 -r tests/transformers4.txt
	@touch $@ $(VENV)/story
