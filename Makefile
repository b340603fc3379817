# One recipe per check. .ci/run calls these, so that what passes here passes there.
.PHONY: setup test machines killing lint types imports docs bench ci

setup:
	pip install -c constraints.txt -e '.[dev]'

test:
	python -m pytest

# The state machines of the rules and the contract, ten times as long as in CI.
machines:
	python -m pytest --hypothesis-profile=very-many tests/test_rules_machine.py tests/ledgers/test_contract.py

# Members killed over and over by kill -9: a hundred times, on a real chain.
killing:
	cd benchmarks && python killing.py

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
