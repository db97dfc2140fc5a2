# Three commands do everything on a fresh machine:
#   make demo   sets up .venv, animates a real portrait and lets it talk, leaves demo/out.mp4 and demo/talk.mp4
#   make page   sets up .venv with the web page and opens it
#   make test   sets up .venv with the test tools, checks the style, runs the tests

PYTHON ?= python3
VENV ?= .venv
MOTION ?= smile
SPEECH ?= talking_face/speech/hello.flac
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# GLOG/TF levels: MediaPipe writes a page of its own log at every start otherwise.
export GLOG_minloglevel ?= 2
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo page test lint format setup clean help

help:
	@sed -n '2,5s/^# \{0,1\}//p' Makefile

setup: $(VENV)/.installed-demo

# One stamp for each set of extras: an install runs again only when what it reads has changed.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mien: $(PYTHON) is too old, Mien needs Python 3.11 or newer: run make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "mien: $(PYTHON) cannot make a virtual environment: on Debian run apt-get install python3-venv"; exit 1; }

$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Mien into $(VENV) (a few minutes the first time)"
	@$(INSTALL) -e '.[demo]'
	@$(BIN)/python -m ui.system
	@touch $@

$(VENV)/.installed-page: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Mien and its page into $(VENV) (a few minutes the first time)"
	@$(INSTALL) -e '.[ui,demo]'
	@$(BIN)/python -m ui.system
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Mien and its test tools into $(VENV) (a few minutes the first time)"
	@$(INSTALL) -e '.[dev,train,bench]'
	@$(BIN)/python -m ui.system
	@touch $@ $(VENV)/.installed-demo

demo: $(VENV)/.installed-demo
	@mkdir -p demo
	@$(BIN)/python -m ui.demo portrait demo/astronaut.png
	$(BIN)/mien animate -s demo/astronaut.png -m $(MOTION) -o demo/out.mp4
	@$(BIN)/python -m ui.demo sheet demo/out.mp4 demo/out.png
	$(BIN)/mien talk -s demo/astronaut.png -a $(SPEECH) -o demo/talk.mp4
	@$(BIN)/python -m ui.demo sheet demo/talk.mp4 demo/talk.png
	@echo "demo/out.mp4 and demo/talk.mp4 are the animations, the .png beside each shows it as one picture"

page: $(VENV)/.installed-page
	$(BIN)/mien ui

lint: $(VENV)/.installed-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

format: $(VENV)/.installed-dev
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

test: lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --max-worker-restart 2 --durations=10

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .ruff_cache .hypothesis
