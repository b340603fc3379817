"""In what two experiments differ, said so that a person can put it right."""

from __future__ import annotations

from typing import Any

import msgspec

from colearn.records import Experiment


def difference(ours: Experiment, theirs: Experiment) -> str:
    """Name each term that differs, with both values; empty where none does."""
    mine, other = _fields(ours), _fields(theirs)
    return "; ".join(
        f"{name} is {_text(other.get(name))}, not {_text(mine.get(name))}"
        for name in dict.fromkeys([*mine, *other])
        if mine.get(name) != other.get(name)
    )


def _fields(experiment: Experiment) -> dict[str, Any]:
    """All terms by name, with those of the rule and the further ones each for itself."""
    fields = msgspec.structs.asdict(experiment)
    rule, terms = msgspec.structs.asdict(fields.pop("rule")), fields.pop("terms")
    return {
        **fields,
        **{f"rule.{name}": value for name, value in rule.items()},
        **terms,
    }


def _text(value: object) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return f"{text:.200}"
