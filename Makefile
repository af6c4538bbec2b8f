# make demo   sets everything up, trains on the embedded music and leaves songs in demo/music
# make test   sets everything up and runs the tests

PYTHON ?= python3
VENV ?= .venv
STEPS ?= 3000
INSTALLED := $(VENV)/installed

.PHONY: demo test install clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml setup.py constraints.txt $(wildcard csrc/*)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --constraint constraints.txt --editable ".[test]"
	touch $@

demo: install
	$(VENV)/bin/musegan info
	test -d demo/freedoom || $(VENV)/bin/musegan prepare data/freedoom -o demo/freedoom
	$(VENV)/bin/musegan train --config band --data.dataset demo/freedoom --train.steps $(STEPS) \
		--out demo/run $$(test -e demo/run/config.yaml && echo --resume)
	$(VENV)/bin/musegan generate --model demo/run --n 8 --seed 7 --wav --out demo/music

test: install
	$(VENV)/bin/python -m pytest -q

clean:
	rm -rf $(VENV) build demo *.egg-info musegan/*.so musegan/_not_built.txt
