"""Columns of CSV files, found by name and read strictly.

Headers differ in spaces and marks from one release of a table to the next: a name is
taken for the same where its letters and digits are.
"""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from colearn.errors import ConfigError

Reader = Callable[[str], float]
"""Turns a cell into a number, NaN for a missing one; raises `ValueError` for anything else."""

_MISSING = frozenset({"", "?", "na", "n/a", "nan", "null"})
_LARGEST = float(np.finfo(np.float32).max)
_CODES = 4096
_LINES_BEFORE_HEADER = 40  # Scania's table begins with its licence


def number(text: str) -> float:
    """Read a number that float32 can hold."""
    text = text.strip()
    if text.lower() in _MISSING:
        return math.nan
    value = float(text)
    if abs(value) > _LARGEST:
        raise ValueError(text)
    return value


def code(text: str) -> float:
    """Read a word as a number that is the same for whoever reads it, whatever else there is.

    This is the hashing trick (arXiv 0902.2206): no list of words has to be agreed on.
    """
    text = text.strip().lower()
    return math.nan if text in _MISSING else float(crc32(text.encode()) % _CODES)


def choice(*words: str) -> Reader:
    """Make a reader of words: the first stands for 0, the next for 1, as do the digits."""
    places = {word: float(place) for place, word in enumerate(words)}
    places |= {str(place): float(place) for place in range(len(words))}

    def read(text: str) -> float:
        try:
            return places[text.strip()]
        except KeyError:
            raise ValueError(text) from None

    return read


def read_columns(path: Path, columns: Mapping[str, Reader]) -> NDArray[np.float64]:
    """Read some columns of a table.

    Lines before the header, at most 40, are skipped.

    Args:
        path: A CSV file in UTF-8, with commas.
        columns: Readers by the columns' names.

    Returns:
        Of shape (rows, columns), in the order of ``columns``; NaN for what is missing.

    Raises:
        ConfigError: The file is missing or unreadable, lacks a column or any row, or a
            cell cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            width, places = _header(path, lines, columns)
            readers = list(zip(places, columns.values(), strict=True))
            values = array("d")
            for cells in lines:
                try:
                    row = [read(cells[place]) for place, read in readers]
                except (IndexError, ValueError):
                    row = []
                if row and len(cells) == width:
                    values.extend(row)
                elif cells:
                    raise _unreadable(f"line {lines.line_num} of {path}", width, cells, readers)
    except OSError as reason:
        raise ConfigError(f"{path} cannot be read: {reason.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as reason:
        raise ConfigError(
            f"{path} is no CSV file in UTF-8 ({reason}): save the table as one"
        ) from None
    if not values:
        raise ConfigError(f"{path} has a header, but no row: fetch the file again")
    return np.frombuffer(values).reshape(-1, len(columns))


def _header(
    path: Path, lines: Iterator[list[str]], columns: Iterable[str]
) -> tuple[int, list[int]]:
    """Number of cells in a row, and the places of the columns that are wanted."""
    lacking = list(columns)
    for _, cells in zip(range(_LINES_BEFORE_HEADER), lines, strict=False):
        places = {_plain(name): place for place, name in enumerate(cells)}
        missed = [name for name in columns if _plain(name) not in places]
        if not missed:
            return len(cells), [places[_plain(name)] for name in columns]
        lacking = min(lacking, missed, key=len)
    more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    raise ConfigError(
        f"{path} has no column {lacking[0]!r}{more}: is it the right file, with its header?"
    )


def _plain(name: str) -> str:
    return re.sub(r"\W|_", "", name).lower()


def _unreadable(
    where: str, width: int, cells: Sequence[str], readers: Iterable[tuple[int, Reader]]
) -> ConfigError:
    if len(cells) != width:
        return ConfigError(
            f"{where} has {len(cells)} cells, but the header {width}: fetch the file again"
        )
    for place, read in readers:
        try:
            read(cells[place])
        except ValueError:
            break
    return ConfigError(
        f"{where} has {cells[place]!r:.80} in column {place + 1}, which cannot be read: "
        "fetch the file again"
    )
