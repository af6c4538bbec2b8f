# make demo   sets everything up, trains on the embedded music, leaves songs in demo/music and a report in demo/evaluation
# make test   sets everything up and runs the tests

PYTHON ?= python3
VENV ?= .venv
STEPS ?= 2000
DEMO ?= demo
INSTALLED := $(VENV)/installed

.PHONY: demo test install clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml setup.py constraints.txt $(wildcard csrc/*.* csrc/*/*)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --constraint constraints.txt --editable ".[test]"
	touch $@

demo: install
	$(VENV)/bin/musegan info
	test -d $(DEMO)/freedoom || $(VENV)/bin/musegan prepare data/freedoom -o $(DEMO)/freedoom
	$(VENV)/bin/musegan train --config band --data.dataset $(DEMO)/freedoom --train.steps $(STEPS) \
		--out $(DEMO)/run $$(test -e $(DEMO)/run/checkpoint.pt && echo --resume)
	$(VENV)/bin/musegan generate --model $(DEMO)/run --n 8 --wav --out $(DEMO)/music --overwrite
	$(VENV)/bin/musegan evaluate --real $(DEMO)/freedoom --generated $(DEMO)/run --held-out 0.15 --out $(DEMO)/evaluation --overwrite

test: install
	$(VENV)/bin/python -m pytest -q

clean:
	rm -rf $(VENV) build demo *.egg-info musegan/*.so musegan/_not_built.txt musegan/_cuda_not_built.txt
