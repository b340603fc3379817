"""Members that attack, over real sockets and the real contract: what happens instead."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("web3")

from evm import KEYS, NAMES
from group import RULE, group
from msgspec.structs import replace

from colearn.committee import named
from colearn.errors import (
    AlreadyVoted,
    BadSignature,
    NotAMember,
    NotDrawn,
    NotYourTurn,
    WrongReveal,
)
from colearn.ledgers.signing import KeySigner
from colearn.records import (
    Ballot,
    Candidate,
    Choice,
    Commit,
    Pass,
    Proposal,
    Propose,
    Reveal,
    Vote,
    digest_of,
    encode,
)
from colearn.rules import Outcome
from colearn.weights import Schema
from colearn.weights import encode as encode_weights

GOOD = 3.0
"""A guess that every honest member finds better than M₀'s."""


@pytest.fixture
def five(tmp_path):
    """Five members; the test plays the first, whose turn it is."""
    with group(tmp_path) as members:
        yield members


def shown(five, digest, *to):
    """Show a candidate to some members, or to all the honest ones."""
    candidate = five.attacker.signer.sign(Candidate(0, five.attacker.name, digest))
    for each in to or five.honest:
        assert five.attacker.tell(each, candidate) == 204


def collected(five):
    """The ballots that the attacker was brought, by sender."""
    notes = five.attacker.network.board.read(0)
    return {note.sender: note for note in notes if isinstance(note, Ballot)}


def assert_life_goes_on(five):
    """The next member's honest proposal is accepted by everybody who is honest."""
    before = five.ledger.view()
    five.go_on(lambda: five.ledger.view().round > before.round)
    decision = five.ledger.decisions()[-1]
    assert (decision.round, decision.outcome) == (before.round, Outcome.ACCEPTED)
    state = five.ledger.view()
    five.go_on(lambda: not any(each.participant.lacks(state) for each in five.honest))


def raw_proposal(five, parts, **changes):
    """Hold bytes as a proposal's weights, under their digest; return the proposal's digest."""
    content = five.attacker.held.put(parts)
    proposal = Proposal(
        round=0,
        sender=five.attacker.name,
        base=five.ledger.view().current,
        weights=content,
        size_bytes=sum(memoryview(part).nbytes for part in parts),
        dims={},
    )
    return five.attacker.held.put((encode(replace(proposal, **changes)),))


def parts_of(weights):
    """Weights as they travel, whatever their schema."""
    return [bytes(part) for part in encode_weights(weights, Schema.of(weights)).parts]


def honest_parts():
    """The bytes of a good model."""
    return parts_of({"guess": np.array([GOOD])})


def with_nan():
    """The bytes of a good model with NaN put in its place."""
    good, bad = np.array([GOOD]).tobytes(), np.array([np.nan]).tobytes()
    return [part.replace(good, bad) for part in honest_parts()]


def test_each_half_of_the_voters_is_shown_another_proposal(five):
    """Neither half is enough, nobody votes twice, and the round comes to nothing."""
    base = five.ledger.view().current
    one, other = five.attacker.offer(GOOD, base), five.attacker.offer(GOOD + 0.1, base)
    shown(five, one, *five.honest[:2])
    shown(five, other, *five.honest[2:])
    five.go_on(lambda: len(collected(five)) == 4)
    assert sorted(each.proposal for each in collected(five).values()) == sorted([one, other] * 2)
    ballots = [each for each in collected(five).values() if each.proposal == one]
    five.ledger.submit_together(Propose(0, five.attacker.name, one), ballots)
    assert five.idle() == []
    assert list(five.votes().values()) == ["approve"] * 2
    five.expire()
    assert five.ledger.decisions()[0].outcome is Outcome.EXPIRED
    assert five.ledger.view().current == base
    assert_life_goes_on(five)


def test_a_contradiction_is_kept_as_evidence(five):
    """Who is shown both proposals keeps both signatures, and takes the first."""
    base = five.ledger.view().current
    one, other = five.attacker.offer(GOOD, base), five.attacker.offer(GOOD + 0.1, base)
    shown(five, one)
    second = five.attacker.signer.sign(Candidate(0, five.attacker.name, other))
    assert five.attacker.tell(five.honest[0], second) == 409
    ((held, brought),) = five.honest[0].network.board.contradictions
    assert (held.proposal, brought.proposal) == (one, other)
    for note in (held, brought):
        five.honest[1].signer.check(note)


def test_the_weights_are_withheld(five):
    """Who cannot fetch what a digest stands for abstains, so that nothing is accepted."""
    digest = digest_of([b"nobody has this"])
    shown(five, digest)
    five.go_on(lambda: len(collected(five)) == 4)
    assert {each.choice for each in collected(five).values()} == {Choice.ABSTAIN}
    five.ledger.submit(Propose(0, five.attacker.name, digest))
    five.go_on(lambda: five.ledger.view().round == 1)
    assert set(five.votes().values()) == {"abstain"}
    assert five.ledger.decisions()[0].outcome is Outcome.REJECTED
    assert_life_goes_on(five)


def corrupt(five):
    """A good record, and other bytes than those of its digest."""
    five.attacker.held.put([b"x" * 200], digest_of(honest_parts()))
    content = digest_of(honest_parts())
    return raw_proposal(five, [b"y" * 10], weights=content, size_bytes=200)


@pytest.mark.parametrize(
    "proposal",
    [
        lambda five: raw_proposal(five, honest_parts(), size_bytes=10**12),
        lambda five: raw_proposal(five, honest_parts(), size_bytes=8),
        corrupt,
        lambda five: raw_proposal(five, with_nan()),
        lambda five: raw_proposal(five, parts_of({"guess": np.full((1, 2), GOOD)})),
        lambda five: raw_proposal(five, parts_of({"other": np.array([GOOD])})),
        lambda five: raw_proposal(five, [b"no weights at all"]),
        lambda five: five.attacker.held.put([b"no record at all"]),
        lambda five: raw_proposal(five, honest_parts(), base="0" * 64),
        lambda five: raw_proposal(five, honest_parts(), sender=five.honest[0].name),
        lambda five: raw_proposal(five, honest_parts(), round=7),
    ],
    ids=[
        "announces far more bytes",
        "announces fewer bytes",
        "other bytes",
        "NaN",
        "another shape",
        "another tensor",
        "no weights",
        "no record",
        "another base",
        "another's name",
        "another round",
    ],
)
def test_what_is_no_proposal_is_rejected(five, proposal):
    """Everybody rejects it, on the board and then on the ledger, and nobody goes down."""
    digest = proposal(five)
    shown(five, digest)
    five.go_on(lambda: len(collected(five)) == 4)
    assert {each.choice for each in collected(five).values()} == {Choice.REJECT}
    five.ledger.submit_together(
        Propose(0, five.attacker.name, digest), list(collected(five).values())
    )
    assert five.ledger.decisions()[0].outcome is Outcome.REJECTED
    assert_life_goes_on(five)


def test_a_proposal_out_of_turn(five):
    """The contract refuses it, and nobody votes on a candidate of whose turn it is not."""
    other = five.honest[0]
    digest = other.offer(GOOD, five.ledger.view().current)
    with pytest.raises(NotYourTurn):
        five.ledger.submit(Propose(0, other.name, digest))
    candidate = other.signer.sign(Candidate(0, other.name, digest))
    for each in five.honest[1:]:
        assert other.tell(each, candidate) == 204
    assert five.idle() == []
    assert collected(five) == {}


def test_rejections_that_a_proposer_drops_are_voted_directly(five):
    """It gains nothing: who finds its ballot missing sends its vote itself."""
    digest = five.attacker.offer(-9.0, five.ledger.view().current)
    shown(five, digest)
    five.go_on(lambda: len(collected(five)) == 4)
    five.ledger.submit_together(Propose(0, five.attacker.name, digest), [])
    five.go_on(lambda: five.ledger.view().round == 1)
    assert set(five.votes().values()) == {"reject"}
    assert five.ledger.decisions()[0].outcome is Outcome.REJECTED
    assert_life_goes_on(five)


def test_a_proposer_that_shows_and_never_submits(five):
    """Its turn ends at its deadline without a transaction of anybody's."""
    shown(five, five.attacker.offer(GOOD, five.ledger.view().current))
    five.go_on(lambda: len(collected(five)) == 4)
    five.expire()
    assert five.ledger.view().round == 1
    assert five.ledger.events() == []
    assert_life_goes_on(five)


def pass_the_turn(five):
    """Let the attacker pass, so that an honest member proposes."""
    five.ledger.submit(Pass(0, five.attacker.name))
    assert five.ledger.view().proposer == five.honest[0].name


def candidate_of(five):
    """What the proposer of round 1 has shown, once it did."""
    notes = five.attacker.network.board.read(1)
    return next((note for note in notes if isinstance(note, Candidate)), None)


def test_a_voter_that_copies_a_signature(five):
    """Another's ballot under one's own name is refused where it is brought."""
    pass_the_turn(five)
    five.go_on(lambda: candidate_of(five), five.honest[0])
    digest = candidate_of(five).proposal
    theirs = five.honest[1].signer.sign(Ballot(1, five.honest[1].name, digest, Choice.APPROVE))
    copied = replace(theirs, sender=five.attacker.name)
    assert five.attacker.tell(five.honest[0], copied) == 403
    with pytest.raises(BadSignature):
        five.ledger.submit_together(Propose(1, five.honest[0].name, digest), [copied])


def test_a_voter_that_equivocates(five):
    """One of its two ballots counts, both are kept as evidence, and the contract takes no third."""
    pass_the_turn(five)
    proposer = five.honest[0]
    five.go_on(lambda: candidate_of(five), proposer)
    digest = candidate_of(five).proposal
    sign = five.attacker.signer.sign
    no = sign(Ballot(1, five.attacker.name, digest, Choice.REJECT))
    yes = sign(Ballot(1, five.attacker.name, digest, Choice.APPROVE))
    assert [five.attacker.tell(proposer, each) for each in (no, yes)] == [204, 409]
    ((held, brought),) = proposer.network.board.contradictions
    assert (held.choice, brought.choice) == (Choice.REJECT, Choice.APPROVE)
    five.go_on(lambda: five.ledger.view().round == 2)
    assert five.votes(1)[five.attacker.name] == "reject"
    assert five.ledger.decisions()[-1].outcome is Outcome.ACCEPTED
    with pytest.raises(AlreadyVoted):
        five.ledger.submit(Vote(1, five.attacker.name, digest, Choice.APPROVE))


def test_a_voter_that_never_answers(five):
    """The others' approvals are enough, after a moment."""
    pass_the_turn(five)
    assert_life_goes_on(five)
    assert five.attacker.name not in five.votes(1)
    assert len(five.votes(1)) == 3


def test_a_voter_that_copies_a_hidden_vote(tmp_path):
    """A commitment is its voter's own: copied, it cannot be revealed."""
    with group(tmp_path, replace(RULE, reveal_seconds=900)) as five:
        ledger, copier, other = five.ledger, five.attacker.name, five.honest[1].name
        ledger.submit(Pass(0, copier))
        five.go_on(lambda: ledger.view().proposal, five.honest[0])
        digest, salt = ledger.view().proposal, "5" * 64
        hidden = ledger.commitment(Vote(1, other, digest, Choice.REJECT), salt)
        for name in (other, copier):
            ledger.submit(Commit(1, name, digest, hidden))
        five.go_on(lambda: ledger.view().revealing, *five.honest[2:])
        ledger.submit(Reveal(1, other, Choice.REJECT, salt))
        with pytest.raises(WrongReveal):
            ledger.submit(Reveal(1, copier, Choice.REJECT, salt))


def test_a_voter_that_was_not_drawn(tmp_path):
    """Its ballot is left out, and its vote refused by the contract; those drawn decide."""
    with group(tmp_path, replace(RULE, committee=2)) as five:
        ledger, attacker = five.ledger, five.attacker

        def to_rest():
            while attacker.name in ledger.view().at_work:
                ledger.submit(Pass(ledger.view().round, ledger.view().proposer))
            return ledger.view()

        state = to_rest()
        proposer = next(each for each in five.honest if each.name == state.proposer)
        five.go_on(lambda: proposer.network.board.read(state.round), proposer)
        shown = proposer.network.board.read(state.round)[0].proposal
        ballot = Ballot(state.round, attacker.name, shown, Choice.REJECT)
        attacker.tell(proposer, attacker.signer.sign(ballot))
        five.go_on(lambda: ledger.view().round > state.round)
        drawn = set(named(state.members, state.voters))
        assert set(five.votes(state.round)) == drawn
        assert ledger.decisions()[-1].outcome is Outcome.ACCEPTED

        state = to_rest()
        ledger.submit(Propose(state.round, state.proposer, shown))
        with pytest.raises(NotDrawn):
            ledger.submit(Vote(state.round, attacker.name, shown, Choice.REJECT))
        assert ledger.view().voted == 0


def test_a_stranger(five):
    """Who is no member is heard by nobody, neither on the board nor on the ledger."""
    stranger = NAMES[5]
    with pytest.raises(NotAMember):
        five.ledger.submit(Propose(0, stranger, "1" * 64))
    pass_the_turn(five)
    five.go_on(lambda: candidate_of(five), five.honest[0])
    digest = candidate_of(five).proposal
    with pytest.raises(NotAMember):
        five.ledger.submit(Vote(1, stranger, digest, Choice.REJECT))
    signer = KeySigner({stranger: KEYS[stranger]}, five.ledger.chain_id, five.ledger.address)
    ballot = signer.sign(Ballot(1, stranger, digest, Choice.REJECT))
    assert five.attacker.tell(five.honest[0], ballot) == 403
    forged = replace(ballot, sender=five.attacker.name)
    assert five.attacker.tell(five.honest[0], forged) == 403
    assert_life_goes_on(five)
