"""The ledger file under kill -9."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from colearn.ledgers.local import LocalLedger, read_ledger

APPEND = """
import sys
from pathlib import Path
from colearn.ledgers.local import LocalLedger
from colearn.records import Experiment, Pass

path = Path(sys.argv[1])
if path.exists():
    ledger = LocalLedger.open(path)
else:
    ledger = LocalLedger(Experiment(members=("ada", "bob"), initial="0", schema="0"), path)
while True:
    state = ledger.view()
    ledger.submit(Pass(state.round, state.proposer))
    print(len(ledger.events()), flush=True)
"""


@pytest.mark.parametrize("appends", [1, 40])
def test_what_was_submitted_survives_a_kill(tmp_path: Path, appends: int) -> None:
    """Killed at any moment, a ledger holds all that submit() returned for, and goes on."""
    path = tmp_path / "ledger"
    done = 0
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", APPEND, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(appends):
                done = int(process.stdout.readline())
            process.kill()
            rest = process.stdout.read().split("\n")
            done = max(done, *(int(line) for line in rest[:-1]), appends)
        with LocalLedger.open(path) as ledger:
            assert len(ledger.events()) >= done
        assert len(read_ledger(path).entries) >= done
