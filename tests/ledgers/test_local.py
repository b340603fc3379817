"""The local ledger: in memory, in a file, and in a file that somebody touched."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, permutations
from pathlib import Path

import msgspec
import pytest

from colearn.errors import CorruptLedger, LedgerError, NotYourTurn
from colearn.ledgers.local import LocalLedger, read_ledger
from colearn.records import (
    AddMember,
    Choice,
    Endorse,
    Entry,
    Event,
    Experiment,
    Pass,
    Propose,
    Rule,
    Vote,
    digest_of,
    encode,
)
from colearn.rules import Outcome, replay
from colearn.testing import check_ledger

EXPERIMENT = Experiment(
    members=("ada", "bob", "cyd"), initial=digest_of([b"0"]), schema=digest_of([b"s"])
)
PROPOSAL = digest_of([b"1"])


def fill(ledger: LocalLedger) -> None:
    """Three rounds, one of each outcome, and a change of members."""
    ledger.submit(Propose(0, "ada", PROPOSAL))
    ledger.submit(Vote(0, "bob", PROPOSAL, Choice.APPROVE))
    ledger.submit(Vote(0, "cyd", PROPOSAL, Choice.APPROVE))
    ledger.wait(4, ledger.view().deadline + 7)
    ledger.submit(Propose(2, "cyd", PROPOSAL))
    ledger.submit(Endorse("ada", AddMember("dan")))
    ledger.submit(Vote(2, "ada", PROPOSAL, Choice.REJECT))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a ledger in it."""
    with LocalLedger(EXPERIMENT, tmp_path / "ledger") as ledger:
        fill(ledger)
    return tmp_path / "ledger"


def write(path: Path, *records: bytes) -> None:
    """Write a file whose hashes are all right, whatever the records are."""
    head, lines = "0" * 64, []
    for record in records:
        head = digest_of([head.encode(), b" ", record])
        lines.append(head.encode() + b" " + record + b"\n")
    path.write_bytes(b"".join(lines))


def overwrite(path: Path, content: bytes) -> None:
    """Change a file in place: far quicker than to write it anew, thousands of times."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


def entry(time: int, event: Event) -> bytes:
    """The record of an event."""
    return encode(Entry(time, event))


def test_keeps_the_promises_in_memory() -> None:
    """The conformance kit passes without a file."""
    check_ledger(LocalLedger)


def test_keeps_the_promises_in_a_file(tmp_path: Path) -> None:
    """The conformance kit passes with a file, and each file reads back as what was done."""
    numbers = count()
    ledgers: list[LocalLedger] = []

    def make(experiment: Experiment) -> LocalLedger:
        ledgers.append(LocalLedger(experiment, tmp_path / str(next(numbers))))
        return ledgers[-1]

    check_ledger(make)
    for number, ledger in enumerate(ledgers):
        recorded = read_ledger(tmp_path / str(number))
        assert list(recorded.entries) == ledger.events()
        assert recorded.head == ledger.head
        ledger.close()


def test_decisions_are_those_of_a_replay() -> None:
    """The ledger's own decisions are what anybody gets from its entries by the rules."""
    ledger = LocalLedger(EXPERIMENT)
    fill(ledger)
    assert ledger.decisions() == list(replay(EXPERIMENT, ledger.events()))
    assert [decision.outcome for decision in ledger.decisions()] == [
        Outcome.ACCEPTED,
        Outcome.EXPIRED,
        Outcome.REJECTED,
    ]
    ledger.wait(7, ledger.view().deadline)
    assert ledger.decisions()[-1].outcome is Outcome.EXPIRED
    assert ledger.head is None


def test_goes_on_after_a_restart(path: Path) -> None:
    """A ledger opened again is as it was, and goes on as if it had never been closed."""
    whole = LocalLedger(EXPERIMENT, path.with_name("whole"))
    fill(whole)
    with LocalLedger.open(path) as again:
        assert again.events() == whole.events()
        assert again.view() == whole.view()
        assert again.now() == whole.now()
        assert again.decisions() == whole.decisions()
        for ledger in (whole, again):
            ledger.submit(Pass(3, "ada"))
        assert again.head == whole.head
    whole.close()
    assert path.read_bytes() == path.with_name("whole").read_bytes()


def test_reading_says_everything_and_changes_nothing(path: Path) -> None:
    """An auditor gets experiment, entries, decisions, state and head; the file is untouched."""
    before = path.read_bytes()
    recorded = read_ledger(path)
    assert recorded.experiment == EXPERIMENT
    assert len(recorded.entries) == 6
    assert recorded.decisions == tuple(replay(EXPERIMENT, recorded.entries))
    assert recorded.state.round == 3
    assert recorded.head == before.splitlines()[-1][:64].decode()
    assert path.read_bytes() == before


def test_a_refused_event_is_not_written(tmp_path: Path) -> None:
    """What the rules refuse reaches neither memory nor disk."""
    with LocalLedger(EXPERIMENT, tmp_path / "ledger") as ledger:
        before = (tmp_path / "ledger").read_bytes()
        with pytest.raises(NotYourTurn):
            ledger.submit(Propose(0, "bob", PROPOSAL))
        assert (tmp_path / "ledger").read_bytes() == before
        assert ledger.events() == []


def test_every_changed_bit_is_found(path: Path) -> None:
    """No bit of a ledger file can be flipped, and no byte taken out, without notice."""
    good = path.read_bytes()
    for position in range(len(good)):
        for changed in (
            *(bytes([good[position] ^ 1 << bit]) for bit in range(8)),
            b"",
            b"\n",
            good[position : position + 1] * 2,
        ):
            if changed != good[position : position + 1]:
                overwrite(path, good[:position] + changed + good[position + 1 :])
                with pytest.raises(CorruptLedger, match=r"record \d+ does not hold"):
                    read_ledger(path)


def test_lines_out_of_place_are_found(path: Path) -> None:
    """A line deleted, doubled or moved is found; a shorter file has another head."""
    lines = path.read_bytes().splitlines(keepends=True)
    head = read_ledger(path).head
    doubled = [lines[:at] + lines[at - 1 :] for at in range(1, len(lines) + 1)]
    deleted = [lines[:at] + lines[at + 1 :] for at in range(len(lines) - 1)]
    swapped = [
        [*lines[:a], lines[b], *lines[a + 1 : b], lines[a], *lines[b + 1 :]]
        for a, b in permutations(range(len(lines)), 2)
        if a < b
    ]
    for wrong in (*doubled, *deleted, *swapped, [b"\n", *lines], [*lines, b"\n"]):
        overwrite(path, b"".join(wrong))
        with pytest.raises(CorruptLedger, match="hash does not match"):
            read_ledger(path)
    for kept in range(1, len(lines)):
        overwrite(path, b"".join(lines[:kept]))
        assert read_ledger(path).head != head


def test_a_torn_end_is_repaired_by_the_owner_only(path: Path) -> None:
    """Cut anywhere inside its last record, a file loses that record and no other."""
    good = path.read_bytes()
    last = good.rindex(b"\n", 0, -1) + 1
    entries = read_ledger(path).entries
    for size in range(last, len(good)):
        overwrite(path, good[:size])
        if size > last:
            with pytest.raises(CorruptLedger, match="record 7 .* no end"):
                read_ledger(path)
            assert path.read_bytes() == good[:size]
        with LocalLedger.open(path) as ledger:
            assert tuple(ledger.events()) == entries[:-1]
            ledger.submit(entries[-1].event)
        assert path.read_bytes() == good


def test_a_ledger_torn_in_its_first_record_may_start_over(path: Path) -> None:
    """A run that was killed before it had written anything whole is no ledger yet."""
    good = path.read_bytes()
    path.write_bytes(good[:100])
    with LocalLedger(EXPERIMENT, path) as ledger:
        fill(ledger)
    assert path.read_bytes() == good


def test_an_owner_leaves_a_corrupt_file_as_it_is(path: Path) -> None:
    """Only a torn end is repaired: all else raises, and the evidence stays."""
    damaged = bytearray(path.read_bytes())
    damaged[300] ^= 1
    path.write_bytes(damaged + b"torn")
    with pytest.raises(CorruptLedger, match="hash does not match"):
        LocalLedger.open(path)
    assert path.read_bytes() == damaged + b"torn"


@pytest.mark.parametrize(
    ("records", "number", "why"),
    [
        ([b"{}"], 1, "no valid experiment record"),
        ([entry(0, Pass(0, "ada"))], 1, "no valid experiment record"),
        ([encode(msgspec.structs.replace(EXPERIMENT, version=99))], 1, "wire version 99"),
        ([encode(EXPERIMENT), encode(EXPERIMENT)], 2, "no valid entry record"),
        ([encode(EXPERIMENT), b" " + entry(0, Pass(0, "ada"))], 2, "not in canonical form"),
        ([encode(EXPERIMENT), b"\xff\x00"], 2, "no valid entry record"),
        (
            [encode(EXPERIMENT), entry(0, Pass(0, "ada")), entry(0, Pass(1, "cyd"))],
            3,
            "refused by the rules: round 1 is the turn of 'bob'",
        ),
        (
            [encode(EXPERIMENT), entry(9, Pass(0, "ada")), entry(8, Pass(1, "bob"))],
            3,
            "refused by the rules: ledger time 8",
        ),
        (
            [
                encode(EXPERIMENT),
                entry(3, Propose(0, "ada", PROPOSAL)),
                entry(5, Vote(0, "bob", PROPOSAL, Choice.ABSTAIN)),
                entry(4, Endorse("ada", AddMember("dan"))),
            ],
            4,
            "refused by the rules: ledger time 4",
        ),
    ],
)
def test_a_rewritten_ledger_must_follow_the_rules(
    tmp_path: Path, records: list[bytes], number: int, why: str
) -> None:
    """With all hashes made right, the first record that does not hold is still named."""
    path = tmp_path / "ledger"
    write(path, *records)
    for read in (read_ledger, LocalLedger.open):
        with pytest.raises(CorruptLedger) as caught:
            read(path)
        assert f"{path}: record {number} does not hold: " in str(caught.value)
        assert why in str(caught.value)


def test_two_owners_cannot_append_to_one_file(path: Path) -> None:
    """A file open for appending is locked; readers and later owners are let in."""
    with LocalLedger.open(path):
        for intruder in (LocalLedger.open, lambda path: LocalLedger(EXPERIMENT, path)):
            with pytest.raises(LedgerError, match="open for writing elsewhere"):
                intruder(path)
        assert len(read_ledger(path).entries) == 6
    LocalLedger.open(path).close()


def test_a_ledger_is_never_written_over(path: Path) -> None:
    """Making a new ledger in a file that holds one is refused and changes nothing."""
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="holds a ledger already"):
        LocalLedger(EXPERIMENT, path)
    assert path.read_bytes() == before


def test_what_cannot_be_opened_says_so(tmp_path: Path) -> None:
    """Missing, empty and impossible files each get one line that names them."""
    (tmp_path / "empty").touch()
    for name, why in (
        ("missing", "is not there|No such file"),
        ("empty", "holds no record"),
        ("", "Is a directory"),
    ):
        for read in (read_ledger, LocalLedger.open):
            with pytest.raises(LedgerError, match=why) as caught:
                read(tmp_path / name)
            assert "\n" not in str(caught.value)
    with pytest.raises(LedgerError, match="No such file"):
        LocalLedger(EXPERIMENT, tmp_path / "no folder" / "ledger")
    assert not (tmp_path / "missing").exists()


def test_after_closing_it_reads_but_does_not_write(path: Path) -> None:
    """A closed ledger can be read, refuses to append, and may be closed again."""
    ledger = LocalLedger.open(path)
    ledger.close()
    ledger.close()
    before = ledger.view()
    with pytest.raises(LedgerError, match="closed"):
        ledger.submit(Pass(3, "ada"))
    assert ledger.view() == before
    assert len(ledger.events()) == 6


@contextmanager
def full_disk(size_bytes: int) -> Iterator[None]:
    """No file may grow beyond a size: the kernel itself refuses, as with a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room_bytes", [0, 1, 100])
def test_a_full_disk_loses_nothing_before_it(path: Path, room_bytes: int) -> None:
    """A record that does not fit is no entry; what was there can be opened and gone on with."""
    size = path.stat().st_size
    ledger = LocalLedger.open(path)
    with full_disk(size + room_bytes), pytest.raises(LedgerError, match="cannot|only a part"):
        ledger.submit(Pass(3, "ada"))
    assert len(ledger.events()) == 6
    assert ledger.view().round == 3
    with LocalLedger.open(path) as again:
        again.submit(Pass(3, "ada"))
    assert len(read_ledger(path).entries) == 7


def test_a_rule_travels_with_the_experiment(tmp_path: Path) -> None:
    """A ledger opened again decides by the very rule it was made with."""
    rule = Rule(threshold="2/3", inclusive=True, proposer_votes=True, quorum="1/3")
    experiment = Experiment(members=("ada", "bob"), initial=PROPOSAL, schema=PROPOSAL, rule=rule)
    LocalLedger(experiment, tmp_path / "ledger").close()
    shutil.copy(tmp_path / "ledger", tmp_path / "copy")
    with LocalLedger.open(tmp_path / "copy") as ledger:
        assert ledger.experiment == experiment
        assert ledger.view().rule == rule
