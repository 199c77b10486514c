# Each target works as the first command typed in a fresh clone; it installs what it needs.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
KAFKA_PORT ?= 9092

.PHONY: help install up test check check-extras format bench soak soak-edge soak-chain mutants kafka kafka-down lock clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(STAMP)  ## make .venv with everything in it

$(STAMP): pyproject.toml requirements.lock deploy/install
	@PYTHON=$(PYTHON) sh deploy/install
	@touch $@

up: install  ## run milepost on this machine
	@exec $(BIN)/milepost up

test: install  ## run all tests, against real servers
	@sh deploy/test-tools
	@sh deploy/kafka/warm
	$(BIN)/python -m pytest -n 2 --dist loadfile tests

check: install  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-extras:  ## each service imports with its own extra alone
	@PYTHON=$(PYTHON) sh deploy/check-extras

format: install  ## bring the sources into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install  ## print every figure of benchmarks/README.md beside its peer
	$(BIN)/python -m benchmarks

soak: soak-edge soak-chain  ## both of the long runs that follow

soak-edge: install  ## ten minutes at full rate with ingest stopped: is the edge's memory flat?
	$(BIN)/python -m tests.soak.edge_memory --minutes 10

soak-chain: install  ## a million clicks and 200 faults over the whole chain: answered = stored, exactly once?
	@sh deploy/test-tools
	$(BIN)/python -m tests.faults.chain --mode kafka --faults 200 --clicks 1000000 --rate 600 --seed 1

mutants: install  ## take each mechanism out and watch its test fail
	$(BIN)/python -m tests.faults.mutants

kafka:  ## start a Kafka broker for development (KAFKA_PORT, 9092)
	@sh deploy/kafka/up .kafka $(KAFKA_PORT)
	@echo "Kafka answers on 127.0.0.1:$(KAFKA_PORT): 'MILEPOST_KAFKA_BOOTSTRAP=127.0.0.1:$(KAFKA_PORT) make up' uses it, 'make kafka-down' stops it."

kafka-down:  ## stop it; its data stay in .kafka
	@sh deploy/kafka/down .kafka

lock: install  ## write requirements.lock anew from pyproject.toml
	$(BIN)/python -m pip install --quiet --upgrade --target .boot uv
	.boot/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url \
	    --all-extras --upgrade -o requirements.lock pyproject.toml

clean:  ## forget the installation (not the data)
	rm -rf .venv .boot
