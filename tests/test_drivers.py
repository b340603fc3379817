"""A member's drivers, opened on a real chain."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from msgspec.structs import replace

from colearn import drivers
from colearn import experiment as files
from colearn.records import Propose, Rule

pytest.importorskip("web3")

from anvils import ask
from evm import KEYS, NAMES
from toys import Scripted

from colearn.ledgers.anvil import Anvil
from colearn.ledgers.keys import Key
from colearn.ledgers.nodes import connect

ADA, BOB, _ = MEMBERS = NAMES[:3]
DEPTH = 5


@pytest.mark.usefixtures("anvil_program")
@pytest.mark.parametrize(
    "case",
    [(9, 0, True), (0, DEPTH, True), (0, 0, False)],
    ids=["secret votes", "blocks that do not count yet", "neither"],
)
def test_who_lost_its_folder_is_silent_in_a_bucket(tmp_path, optional, caplog, case):
    """It could not see its commitment; before there is a proposal it has made none."""
    optional("obstore")
    reveal_seconds, depth, silent = case
    agreement, initial = files.draw_up(
        Scripted(()),
        task="own:make",
        rounds=1,
        seed=0,
        members=MEMBERS,
        rule=Rule(reveal_seconds=reveal_seconds),
    )
    path = tmp_path / "experiment.toml"
    bucket = drivers.Connection(bucket=(tmp_path / "bucket").as_uri())
    with Anvil() as node:
        node.fund(MEMBERS)
        chain = drivers.Chain(rpc=(node.url,))
        payer = Key(KEYS[ADA])
        agreement = replace(agreement, contract=drivers.deploy(agreement.experiment, payer, chain))
        files.write(path, agreement, initial)
        ask(connect([node.url]), "anvil_mine", hex(2 * DEPTH))

        def silent_through(name):
            """What a member writes down that begins with an empty folder."""
            caplog.clear()
            with drivers.open_member(
                agreement,
                path,
                Scripted(()),
                key=Key(KEYS[BOB]),
                chain=drivers.Chain(rpc=(node.url,), depth=depth),
                folder=tmp_path / name,
                connection=bucket,
            ):
                pass
            with closing(sqlite3.connect(tmp_path / name / drivers.JOURNAL_FILE)) as file:
                return file.execute("SELECT silent_through FROM owner").fetchone()[0]

        assert silent_through("before") is None
        ledger = drivers.open_ledger(agreement, chain, {ADA: payer})
        ledger.submit(Propose(0, ADA, "2" * 64))
        assert silent_through("after") == (0 if silent else None)
        assert ("this member is silent there" in caplog.text) is silent
        assert silent_through("before") is None, "it has its journal, and knows what it said"
