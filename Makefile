# Every target sets up what it needs; tools/make.py does the work (python tools/make.py TARGET where there is no make).
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help book test reproduce mutants bench site lab clean

help book test reproduce mutants bench site lab clean:
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "There is no $(PYTHON): install Python 3.11 or newer (https://www.python.org/downloads), or name yours: make $@ PYTHON=python3.12"; exit 1; }
	@$(PYTHON) tools/make.py $@
