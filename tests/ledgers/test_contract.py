"""The contract, the rules, a local ledger and its file in lock-step: they agree to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from evm import KEYS, NAMES, Contract, begin_again, chain
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace
from vyper import compile_code

from colearn import rules
from colearn.committee import named
from colearn.errors import RefusedEvent
from colearn.ledgers import local
from colearn.ledgers.contract import (
    REFUSALS,
    Signature,
    call_of,
    commitment_on,
    rule_to_abi,
    sign_vote,
    together,
)
from colearn.ledgers.local import LocalLedger, read_ledger
from colearn.records import (
    AddMember,
    Change,
    Choice,
    Commit,
    Digest,
    Endorse,
    Event,
    Experiment,
    Pass,
    Propose,
    RemoveMember,
    ReplaceMember,
    Reveal,
    Rotate,
    Rule,
    SetRule,
    Vote,
    digest_of,
)
from colearn.rules import Decision, Phase, Poll, State
from colearn.testing.promises import require

ACTORS = NAMES[:7]
DIGESTS = tuple(digest_of([name]) for name in (b"M0", b"p", b"q", b"r"))

shares = st.sampled_from(["1/2", "1/3", "2/3", "1/4", "3/4", "2/5", "4/5"])
quorums = st.sampled_from(["0", "1", "3/4", "1", "1/2"])
seconds = st.sampled_from([60, 60, 30, 10, 3, 1])
voters = st.one_of(
    st.fixed_dictionaries(
        {
            "proposer_votes": st.booleans(),
            "reveal_seconds": st.sampled_from([0, 60, 0, 10, 0, 3]),
        }
    ),
    st.fixed_dictionaries({"committee": st.sampled_from([2, 3, 4, 2])}),
)
voting_rules = st.tuples(st.booleans(), voters).flatmap(
    lambda drawn: st.builds(
        Rule,
        threshold=shares | st.just("1") if drawn[0] else shares,
        inclusive=st.just(drawn[0]),
        quorum=quorums,
        propose_seconds=seconds,
        vote_seconds=seconds,
        governance=st.sampled_from(["1/2", "2/3", "3/4"]),
        **{name: st.just(value) for name, value in drawn[1].items()},
    )
)
actors = st.sampled_from(ACTORS)
digests = st.sampled_from(DIGESTS[1:])
choices = st.sampled_from(Choice)
PHASES = (Phase.PROPOSING, Phase.VOTING, Phase.COMMITTING, Phase.REVEALING)
ballots = st.lists(
    st.sampled_from([Choice.APPROVE, Choice.APPROVE, Choice.REJECT, Choice.ABSTAIN, None]),
    min_size=len(ACTORS),
    max_size=len(ACTORS),
)
positions = st.integers(0, 99)
changes = st.one_of(
    st.builds(AddMember, actors),
    st.builds(RemoveMember, actors),
    st.builds(ReplaceMember, actors, actors),
    st.builds(SetRule, voting_rules),
)


@cache
def _compiled(source: str, in_head: int) -> dict[str, Any]:
    """The contract with room for so many members' votes in its head."""
    usual = "IN_HEAD: constant(uint256) = 64\n"
    require(source.count(usual) == 1, "the source says how many votes lie in the head")
    source = source.replace(usual, f"IN_HEAD: constant(uint256) = {in_head}\n")
    return compile_code(source, output_formats=["abi", "bytecode"])


def shown(poll: State | Poll) -> int:
    """The bitmap that the contract shows: who voted, or whose vote is still hidden."""
    if poll.commitments:
        return sum(1 << index for index, each in enumerate(poll.commitments) if each is not None)
    return poll.voted


def _by_round(decisions: Sequence[Decision]) -> list[Decision]:
    """Each round for itself: rounds without a proposal are told of together, as they are seen."""
    return [
        replace(each, round=number, through=number)
        for each in decisions
        for number in range(each.round, each.through + 1)
    ]


class LockStep(RuleBasedStateMachine):
    """Whatever is tried, contract, rules and local ledger allow and refuse the same, alike."""

    folder: TemporaryDirectory[str] | None = None
    source = (files("colearn.ledgers") / "contracts" / "CollectiveLearning.vy").read_text()

    @initialize(count=st.integers(2, 6), voting_rule=voting_rules, in_head=st.sampled_from([64, 2]))
    def start(self, count: int, voting_rule: Rule, in_head: int) -> None:
        """Found a group; in half of the cases, votes of all but two lie in their own words."""
        begin_again()
        experiment = Experiment(
            members=ACTORS[:count], initial=DIGESTS[0], schema=DIGESTS[0], rule=voting_rule
        )
        self.contract = Contract(experiment, _compiled(self.source, in_head))
        self.state = rules.start(experiment, self.contract.opened)
        self.folder = TemporaryDirectory()
        self.local = LocalLedger(experiment, Path(self.folder.name) / "ledger.log")
        self.local._commitment_to = self.commitment
        self.seen = -1
        self.choices: dict[tuple[int, str], Choice] = {}

    # What happens, to both.

    @property
    def now(self) -> int:
        """Time of the next transaction."""
        return chain().now()

    @property
    def present(self) -> State:
        """What the rules say at that time."""
        return rules.advance(self.state, self.now)[0]

    def submit(self, event: Event) -> bool:
        """Put an event to both; return whether it is allowed."""
        return self.do([event], *call_of(event))

    def submit_together(self, propose: Propose, votes: list[Vote]) -> None:
        """Put a proposal with signed votes to both: all happens, or nothing."""
        signed = {vote.sender: (vote.choice, self.sign(vote)) for vote in votes}
        members = (*self.present.members, *(set(ACTORS) - set(self.present.members)))
        self.do([propose, *votes], *together(propose, signed, members))

    def do(self, events: list[Event], name: str, arguments: tuple[Any, ...]) -> bool:
        """Try it on both: refused for the same reason, or logged as what happened."""
        sender, before = events[0].sender, self.present
        refusal = self.apply(events)
        self.keep(events, refusal)
        if refusal is None:
            recorded = self.contract.send(sender, name, arguments).events(before)
            require(recorded == events, f"the contract records {recorded}, not {events}")
            self.state = self.after
        else:
            reason = self.contract.refusal(sender, name, arguments)
            require(
                reason is not None and REFUSALS[reason] is refusal,
                f"the rules: {refusal}; the contract: {reason}; for {events}",
            )
        return refusal is None

    def keep(self, events: list[Event], refusal: type[RefusedEvent] | None) -> None:
        """Put events to the local ledger too, whose time starts with the contract."""
        self.local.wait(len(self.local.events()), self.now - self.contract.opened)
        if refusal is not None and len(events) > 1:
            return  # there each event stands for itself
        found = None
        try:
            self.local.submit(*events)
        except RefusedEvent as reason:
            found = type(reason)
        require(found is refusal, f"the rules: {refusal}; the local ledger: {found}; for {events}")

    def teardown(self) -> None:
        """What the file holds is what happened, read back with the contract's commitments."""
        if self.folder is None:
            return
        entries, decisions = self.local.events(), self.local.decisions()
        self.local.close()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(local, "commitments_in", lambda _: self.commitment)
            found = read_ledger(Path(self.folder.name) / "ledger.log")
        require(list(found.entries) == entries, "the file holds other entries")
        known = _by_round(found.decisions)
        told = _by_round(decisions)[: len(known)]
        require(known == told, f"the file tells of {known}, not {told}")
        self.folder.cleanup()

    def apply(self, events: list[Event]) -> type[RefusedEvent] | None:
        """Put events to the rules; return the kind of their refusal."""
        self.after, now = self.state, self.now
        for event in events:
            try:
                self.after, _ = rules.apply(self.after, event, now, self.commitment)
            except RefusedEvent as refusal:
                return type(refusal)
        return None

    def sign(self, vote: Vote, contract: str = "", chain_id: int = 0) -> Signature:
        """A member's signature for its vote, on this contract or on another."""
        return sign_vote(
            key=KEYS[vote.sender],
            chain_id=chain_id or chain().web3.eth.chain_id,
            contract=contract or self.contract.address,
            round_index=vote.round,
            proposal=vote.proposal,
            choice=vote.choice,
        )

    def commitment(self, vote: Vote, salt: str) -> Digest:
        """What hides a vote on this contract."""
        return commitment_on(
            chain_id=chain().web3.eth.chain_id,
            contract=self.contract.address,
            vote=vote,
            salt=salt,
        )

    def open_vote(self) -> State:
        """See to it that there is something to vote on, where time allows."""
        state = self.present
        if state.proposal is None:
            self.submit(Propose(state.round, state.proposer, DIGESTS[1]))
        return self.present

    def vote(self, number: int, sender: str, proposal: Digest, choice: Choice) -> None:
        """Somebody votes; where votes are secret, it commits to its vote.

        Round and sender tell the salt.
        """
        vote = Vote(number, sender, proposal, choice)
        if self.present.rule.reveal_seconds == 0:
            self.submit(vote)
            return
        salt = digest_of([f"{number}/{sender}".encode()])
        if self.submit(Commit(number, sender, proposal, self.commitment(vote, salt))):
            self.choices[number, sender] = choice

    def reveal(self, number: int, sender: str, off: int = 0) -> None:
        """Somebody reveals its vote, if it has one; or another choice than it had."""
        choice = self.choices.get((number, sender), Choice.APPROVE)
        choice = list(Choice)[(list(Choice).index(choice) + off) % 3]
        self.submit(Reveal(number, sender, choice, digest_of([f"{number}/{sender}".encode()])))

    def almost_agree(self, change: Change) -> None:
        """As many endorse a change as are not yet enough for it."""
        state = self.present
        share = state.rule.governance
        for member in state.members[: int(share * len(state.members))]:
            self.submit(Endorse(member, change))

    def end_round(self) -> None:
        """See to it that the next round opens, for want of a proposal or of votes."""
        number = self.present.round
        while (state := self.present).round == number:
            if state.proposal is None:
                self.submit(Pass(number, state.proposer))
            else:
                chain().travel(state.deadline)

    def reveal_all(self, state: State, *offs: int) -> None:
        """Those who committed to votes in a round reveal them, once it is time to."""
        if not state.commitments:
            return
        present = self.present
        if present.round == state.round and present.phase is Phase.COMMITTING:
            chain().travel(present.deadline)
        for member in state.members:
            for off in offs:
                self.reveal(state.round, member, off)

    # Steps that take a round on.

    @rule(proposal=digests)
    def propose_in_turn(self, proposal: Digest) -> None:
        """The proposer proposes; it is refused if it has already."""
        self.submit(Propose(self.present.round, self.present.proposer, proposal))

    @rule()
    def pass_in_turn(self) -> None:
        """The proposer gives its turn away; it is refused if it has proposed."""
        self.submit(Pass(self.present.round, self.present.proposer))

    @rule(proposal=digests, ballots=ballots, also_proposer=st.booleans())
    def round_in_one(
        self, proposal: Digest, ballots: list[Choice | None], also_proposer: bool
    ) -> None:
        """The proposer proposes together with signed votes, now and then with its own."""
        state = self.present
        voters = named(state.members, state.workers if also_proposer else state.voters)
        votes = [
            Vote(state.round, member, proposal, choice)
            for member, choice in zip(state.members, ballots, strict=False)
            if choice and member in voters
        ]
        self.submit_together(Propose(state.round, state.proposer, proposal), votes)

    @rule(proposal=digests, choice=choices, size=st.integers(2, 3))
    def those_not_drawn_vote(self, proposal: Digest, choice: Choice, size: int) -> None:
        """Some are drawn; the others vote together with the proposal, and then by hand.

        Together with votes that decide the round, the contract refuses theirs still, while
        the rules, which take votes one after the other, would record them as too late.
        """
        rule = self.present.rule
        if not rule.committee:
            drawn = replace(rule, committee=size, proposer_votes=False, reveal_seconds=0)
            self.agree_and_go_on(SetRule(drawn))
        state = self.present
        resting = [member for member in state.members if member not in state.at_work]
        votes = [Vote(state.round, member, proposal, choice) for member in resting]
        self.submit_together(Propose(state.round, state.proposer, proposal), votes)
        state = self.open_vote()
        for member in state.members:
            if member not in state.at_work:
                self.submit(Vote(state.round, member, state.proposal or proposal, choice))

    @rule(
        proposal=digests,
        choice=choices,
        which=positions,
        wrong=st.sampled_from(["voter", "round", "proposal", "choice", "contract", "chain"]),
    )
    def round_with_a_wrong_signature(
        self, proposal: Digest, choice: Choice, which: int, wrong: str
    ) -> None:
        """All sign in the proposer's turn, one of them something else: then nothing happens."""
        state = self.present
        votes = [
            Vote(state.round, member, proposal, choice)
            for member in named(state.members, state.voters)
            if member != state.proposer
        ]
        signed = {vote.sender: (choice, self.sign(vote)) for vote in votes}
        vote = votes[which % len(votes)]
        other = {
            "voter": lambda: self.sign(replace(vote, sender=state.proposer)),
            "round": lambda: self.sign(replace(vote, round=vote.round + 1)),
            "proposal": lambda: self.sign(replace(vote, proposal=DIGESTS[0])),
            "choice": lambda: self.sign(
                replace(vote, choice=next(each for each in Choice if each is not choice))
            ),
            "contract": lambda: self.sign(vote, contract=ACTORS[0]),
            "chain": lambda: self.sign(vote, chain_id=1),
        }[wrong]()
        signed[vote.sender] = (choice, other)
        propose = Propose(state.round, state.proposer, proposal)
        refusal = self.apply([propose, *votes])
        reason = self.contract.refusal(state.proposer, *together(propose, signed, state.members))
        require(reason is not None, f"the contract takes a vote signed for another {wrong}")
        if refusal is None:
            require(
                reason == "colearn: wrong signature", f"a wrong {wrong} is refused for {reason}"
            )

    @rule(which=positions, choice=choices)
    def vote_in_time(self, which: int, choice: Choice) -> None:
        """One of those who may still vote does, or reveals its vote."""
        state = self.open_vote()
        if state.phase is Phase.REVEALING:
            hidden = [
                member for index, member in enumerate(state.members) if shown(state) >> index & 1
            ]
            if hidden:
                self.reveal(state.round, hidden[which % len(hidden)], which % 5 == 0)
        elif state.proposal is not None:
            waiting = named(state.members, state.voters & ~shown(state))
            if waiting:
                self.vote(state.round, waiting[which % len(waiting)], state.proposal, choice)

    @rule(ballots=ballots)
    def everybody_votes(self, ballots: list[Choice | None]) -> None:
        """All vote on one proposal, some after it is decided, some that may not."""
        state = self.open_vote()
        for member, choice in zip(state.members, ballots, strict=False):
            if choice and state.proposal is not None:
                self.vote(state.round, member, state.proposal, choice)
        self.reveal_all(state, 0)

    @rule(which=positions)
    def all_but_one_approve(self, which: int) -> None:
        """One is silent, or does not commit; all others approve."""
        state = self.open_vote()
        voters = named(state.members, state.voters)
        for index, member in enumerate(voters):
            if index != which % len(voters) and state.proposal is not None:
                self.vote(state.round, member, state.proposal, Choice.APPROVE)
        self.reveal_all(state, 0)

    @rule(first=choices, proposer_too=st.booleans())
    def votes_come_in(self, first: Choice, proposer_too: bool) -> None:
        """The proposer votes, then all others who may, yes but for the first.

        Each votes three times: on another proposal, as it should, and once more.
        """
        state = self.open_vote()
        others = named(state.members, state.voters)
        others = [member for member in others if member != state.proposer]
        if state.proposal is not None:
            another = next(digest for digest in DIGESTS if digest != state.proposal)
            for member in (*([state.proposer] if proposer_too else []), *others):
                choice = first if member == others[0] else Choice.APPROVE
                for proposal in (another, state.proposal, state.proposal):
                    self.vote(state.round, member, proposal, choice)
                if member == others[0]:
                    self.reveal(state.round, member)
                self.they_agree()
        self.reveal_all(state, 1, 0, 0)

    @rule(which=positions, choice=choices)
    def vote_too_late(self, which: int, choice: Choice) -> None:
        """One of those who might have voted on the proposal decided last does now."""
        last = self.present.last
        if last is not None:
            voter = last.members[which % len(last.members)]
            self.submit(Vote(last.round, voter, last.proposal, choice))
            self.reveal(last.round, voter, which % 5 == 0)

    @rule(choice=choices)
    def everybody_votes_too_late(self, choice: Choice) -> None:
        """Members of then and of now vote on the proposal decided last, or reveal votes."""
        state = self.present
        if state.last is not None:
            for voter in dict.fromkeys((*state.last.members, *state.members)):
                self.submit(Vote(state.last.round, voter, state.last.proposal, choice))
                for _ in range(2):
                    self.reveal(state.last.round, voter)

    @rule(offset=st.integers(-1, 1), rounds=st.sampled_from([0, 0, 0, 1, 2, 1000]))
    def wait_for_a_deadline(self, offset: int, rounds: int) -> None:
        """Time passes to just before, at, or after a deadline, or that of a later round."""
        state = self.present
        until = state.deadline + rounds * state.rule.propose_seconds + offset
        chain().travel(until)

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        chain().travel(self.now + seconds)

    # Changes.

    @rule(sender=actors, change=changes)
    def endorse(self, sender: str, change: Change) -> None:
        """Somebody endorses something."""
        self.submit(Endorse(sender, change))

    @rule(change=changes, short=st.integers(0, 1))
    def agree(self, change: Change, short: int) -> None:
        """All members endorse the same, or all but one."""
        members = self.present.members
        for member in members[: len(members) - short]:
            self.submit(Endorse(member, change))

    @rule(change=changes, other=changes)
    def waver(self, change: Change, other: Change) -> None:
        """One after the other endorses something, and then rather something else."""
        for member in self.present.members:
            self.submit(Endorse(member, change))
            self.submit(Endorse(member, other))

    @rule(change=changes)
    def agree_and_go_on(self, change: Change) -> None:
        """All endorse the same, and the round ends."""
        self.agree(change, 0)
        self.end_round()

    @rule(choice=choices)
    def change_who_votes(self, choice: Choice) -> None:
        """From the next round on proposers vote, or no longer do; then all vote too late."""
        state = self.open_vote()
        other = replace(state.rule, proposer_votes=not state.rule.proposer_votes, committee=0)
        self.agree_and_go_on(SetRule(other))
        self.everybody_votes_too_late(choice)

    @rule(which=positions, other=positions)
    def change_places(self, which: int, other: int) -> None:
        """A member is replaced by somebody, by common consent."""
        members = self.present.members
        leaves, comes = members[which % len(members)], ACTORS[other % len(ACTORS)]
        self.agree_and_go_on(ReplaceMember(leaves, comes))

    @rule(which=positions, successor=actors)
    def rotate(self, which: int, successor: str) -> None:
        """A member rotates its key, and then once more; another does, to the same one."""
        members = self.present.members
        sender = members[which % len(members)]
        self.submit(Rotate(sender, successor))
        if which % 3 == 0:
            self.submit(Rotate(sender, ACTORS[which % len(ACTORS)]))
            self.submit(Rotate(ACTORS[which % len(ACTORS)], successor))

    @rule(which=positions, successor=actors, later=st.booleans())
    def flee(self, which: int, successor: str, later: bool) -> None:
        """A member that one more endorsement would remove rotates its key; then that comes."""
        leaves = self.present.members[which % len(self.present.members)]
        self.almost_agree(RemoveMember(leaves))
        self.submit(Rotate(leaves, successor))
        if later:
            self.end_round()
        for member in self.present.members:
            self.submit(Endorse(member, RemoveMember(leaves)))
            self.submit(Endorse(member, RemoveMember(successor)))

    @rule(which=positions, newcomer=actors)
    def lend_a_name(self, which: int, newcomer: str) -> None:
        """While a newcomer is endorsed, a member takes its name and gives it back."""
        self.almost_agree(AddMember(newcomer))
        member = self.present.members[which % len(self.present.members)]
        for rotation in (Rotate(member, newcomer), Rotate(newcomer, member)):
            self.submit(rotation)
            self.end_round()
        for member in self.present.members:
            self.submit(Endorse(member, AddMember(newcomer)))

    @rule(which=positions, successor=actors)
    def come_back(self, which: int, successor: str) -> None:
        """A member rotates its key and is to join under the old one; one wants neither."""
        members = self.present.members
        leaves, judge = members[which % len(members)], members[(which + 1) % len(members)]
        self.submit(Endorse(judge, RemoveMember(leaves)))
        self.submit(Rotate(leaves, successor))
        for member in members:
            if member != judge:
                self.submit(Endorse(member, AddMember(leaves)))
        for name in (leaves, successor):
            self.submit(Endorse(judge, RemoveMember(name)))

    # Steps that are mostly refused.

    @rule(sender=actors, off=st.integers(-2, 1), proposal=digests)
    def act_out_of_turn(self, sender: str, off: int, proposal: Digest) -> None:
        """Somebody proposes, or passes, in some round."""
        number = max(self.present.round + off, 0)
        self.submit(Propose(number, sender, proposal))
        self.submit_together(Propose(number, sender, proposal), [])
        self.submit(Pass(number, sender))

    @rule(sender=actors, off=st.integers(-2, 1), proposal=digests, choice=choices)
    def vote_somehow(self, sender: str, off: int, proposal: Digest, choice: Choice) -> None:
        """Somebody votes on something."""
        number = max(self.present.round + off, 0)
        self.submit(Vote(number, sender, proposal, choice))
        self.submit(Commit(number, sender, proposal, DIGESTS[0]))
        self.reveal(number, sender)

    @rule(which=positions, wrong=st.sampled_from(["voter", "round", "proposal", "again"]))
    def vote_wrongly(self, which: int, wrong: str) -> None:
        """A vote that is right but for one thing, on the live or on the last proposal."""
        state = self.present
        if state.proposal is None and state.last is None:
            return
        if state.proposal is None or (which % 3 == 0 and state.last is not None):
            assert state.last is not None
            number, proposal, members = state.last.round, state.last.proposal, state.last.members
        else:
            number, proposal, members = state.round, state.proposal, state.members
        voter = members[which % len(members)]
        if wrong == "voter":
            voter = ACTORS[which % len(ACTORS)]
        elif wrong == "round":
            number += 1
        elif wrong == "proposal":
            proposal = DIGESTS[which % len(DIGESTS)]
        for _ in range(2 if wrong == "again" else 1):
            self.submit(Vote(number, voter, proposal, list(Choice)[which % 3]))

    # What must always hold.

    @invariant()
    def they_agree(self) -> None:
        """Same round, same deadline, same members, same rule, same votes, same model."""
        state, last = self.present, self.present.last
        shows = {name: self.contract.view(name) for name in ("state", "voters", "last")}
        expected = {
            "state": (
                bytes.fromhex(state.current),
                state.round,
                state.proposer,
                state.deadline,
                PHASES.index(state.phase),
                bytes.fromhex(state.proposal or "0" * 64),
                state.approve.bit_count(),
                state.voted.bit_count(),
                shown(state),
                bool(state.scheduled),
            ),
            "voters": state.voters,
            "last": (
                (False, 0, bytes(32), 0)
                if last is None
                else (True, last.round, bytes.fromhex(last.proposal), shown(last))
            ),
        }
        require(shows == expected, f"the contract shows {shows}, expected {expected} for {state}")
        opened = self.contract.opened
        self.local.wait(len(self.local.events()), self.now - opened)
        local = self.local.view()
        moved = replace(
            local,
            opened=local.opened + opened,
            proposed=local.proposed + opened if local.proposal else state.proposed,
            revealing=None if local.revealing is None else local.revealing + opened,
        )
        require(moved == state, f"the local ledger shows {moved} for {state}")
        if state.round != self.seen:
            members, group_rule = self.contract.view("members"), self.contract.view("rule")
            require(tuple(members) == state.members, f"the contract's members are {members}")
            require(group_rule == rule_to_abi(state.rule), f"the contract's rule is {group_rule}")
            self.seen = state.round


LockStep.TestCase.settings = settings(
    max_examples=settings.default.max_examples // 6, stateful_step_count=40
)
TestLockStep = LockStep.TestCase
