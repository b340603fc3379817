"""A counter kept apart from a budget's file, to notice when an older copy of it comes back.

Two slots are written in turn, so that a crash in the middle of a write leaves the
other. Keep it on the same machine but outside of what is backed up with the budget:
restored together, both tell the same old story.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from colearn.errors import BudgetError

_SLOT_BYTES = 512
_slot = re.compile(rb"(\d{20}) ([0-9a-f]{32}) \1\n").match


class Seen(NamedTuple):
    """What a witness has seen last: the number of writes of the budget with this name."""

    writes: int
    budget: str


class Witness:
    """The counter in a file of its own; the file is made by the first `write`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._seen = self._read()

    @property
    def seen(self) -> Seen | None:
        """What was written last; None where there is no file.

        Raises:
            BudgetError: The file is there and cannot be read.
        """
        return self._seen

    def write(self, seen: Seen) -> None:
        """Write durably, unless it says so already."""
        if seen == self._seen:
            return
        slot = b"%020d %s %020d\n" % (seen.writes, seen.budget.encode(), seen.writes)
        try:
            if self._file is None:
                self._file = self._opened()
            os.pwrite(self._file, slot.ljust(_SLOT_BYTES), _SLOT_BYTES * (seen.writes % 2))
            os.fsync(self._file)
        except OSError as reason:
            raise BudgetError(f"witness {self.path} cannot be written: {reason.strerror}") from None
        self._seen = seen

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        return file

    def _read(self) -> Seen | None:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as reason:
            raise BudgetError(f"witness {self.path} cannot be read: {reason.strerror}") from None
        slots = [_slot(raw, start) for start in (0, _SLOT_BYTES)]
        seen = [Seen(int(slot[1]), slot[2].decode()) for slot in slots if slot]
        if not seen:
            raise BudgetError(f"witness {self.path} holds no count: put back the file that did")
        return max(seen)
