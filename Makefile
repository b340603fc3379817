# One recipe per check. .ci/run calls these, so that what passes here passes there.
.PHONY: setup test lint types imports docs bench ci

setup:
	pip install -c constraints.txt -e '.[dev]'

test:
	python -m pytest

lint:
	ruff check .
	ruff format --check .

types:
	mypy

imports:
	lint-imports --no-cache

docs:
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet --site-dir build/site

bench:
	for script in benchmarks/*.py; do python $$script || exit 1; done

ci:
	bash .ci/run
