PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help

.PHONY: lint types
lint: ## ruff: lint rules and formatting
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
types: ## mypy --strict
	$(BIN)/mypy
