"""Writes tables as TOML, which the standard library only reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def to_toml(
    values: Mapping[str, Any], preface: Iterable[str], comments: Mapping[str, Iterable[str]]
) -> str:
    """A document: single values first, then tables; None and empty tables are left out.

    Args:
        values: Texts, numbers, truth values, tuples of them, and tables by their names.
        preface: Lines to begin with.
        comments: Lines to put above tables, by their names.
    """
    head = {name: value for name, value in values.items() if not isinstance(value, dict)}
    lines = [*preface, *_lines(head)]
    for name, table in values.items():
        if isinstance(table, dict) and (table or name == "options"):
            lines += ["", *comments.get(name, ()), f"[{name}]", *_lines(table)]
    return "\n".join(lines) + "\n"


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(name)} = {_long(value)}" for name, value in table.items() if value is not None]


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else _value(name)


def _long(value: Any) -> str:
    """A value as TOML; a list of texts or lists takes a line an item."""
    if isinstance(value, tuple) and len(value) > 1 and isinstance(value[0], str | tuple):
        return "[\n" + "".join(f"  {_value(part)},\n" for part in value) + "]"
    return _value(value)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(name)} = {_value(part)}" for name, part in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)
