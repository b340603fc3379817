"""The course of a method: its state, and whether merges are true."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from toys import Averaging, Scripted, Sealed, Seeking, Sole, seekers

from colearn import Collective, Weights
from colearn.audit import audit_blobs
from colearn.committee import named
from colearn.course import Course
from colearn.errors import BlobMissing, StoreError, WrongMerge
from colearn.ledgers.local import LocalLedger
from colearn.methods import method
from colearn.records import Choice, Experiment, Propose, Rule, Update, Vote
from colearn.rules import Outcome
from colearn.stores.memory import MemoryStore
from colearn.stores.overlay import Overlay
from colearn.weights import Schema
from colearn.weights_store import WeightsStore

YES, NO = Choice.APPROVE, Choice.REJECT


class Corrected(Seeking):
    """Takes an offset, which its one step adds."""

    def set_offset(self, offset):
        self.offset = offset

    def training_size(self):
        return 1, len(self.numbers)

    def mli_propose_weights(self):
        guess = super().mli_propose_weights().weights["guess"]
        return Weights({"guess": guess + (self.offset or {}).get("guess", 0.0)})


def corrected():
    """Three learners that take offsets."""
    return [Corrected([1, 2, 3]), Corrected([2, 3, 4]), Corrected([1, 3, 5])]


def test_members_learn_by_merging():
    """Updates of all are merged, each proposal names them, and all end on one model."""
    collective = Collective(seekers(), method=Averaging())
    for each in collective.play(12):
        if each.accepted:
            proposal = collective._weights.proposal(each.model)
            assert [update.sender for update in proposal.merged] == list(collective.members)
    result = collective.result
    assert result.accepted >= 3
    truth = np.mean([2, 3, 3])
    assert abs(result.weights.weights["guess"] - truth) < 0.5


def test_the_proposer_alone_may_train():
    """A method of one trainer merges the proposer's update and nobody else's."""
    collective = Collective(seekers(), method=Sole())
    for each in collective.play(6):
        if each.accepted:
            proposal = collective._weights.proposal(each.model)
            assert [update.sender for update in proposal.merged] == [each.decision.proposer]


def test_the_same_seed_gives_the_same_digests_resumed_or_not(tmp_path):
    """A run that was stopped and taken up, state of the method and all, ends as if it had not."""
    whole = Collective(corrected(), method=Averaging(), seed=3).run(9)
    with Collective(corrected(), method=Averaging(), seed=3, folder=tmp_path) as collective:
        collective.run(4)
    with Collective(corrected(), method=Averaging(), seed=3, folder=tmp_path) as collective:
        resumed = collective.run(5)
    assert [each.model for each in resumed.rounds] == [each.model for each in whole.rounds]
    assert len({each.model for each in whole.rounds}) > 2


def test_offsets_reach_the_learner():
    """What the method's state says is set before each training, None at first."""
    given = []

    class Noting(Corrected):
        def set_offset(self, offset):
            given.append(None if offset is None else float(offset["guess"][0]))
            super().set_offset(offset)

    Collective([Noting([1, 2]), Corrected([2, 3]), Corrected([3, 4])], method=Averaging()).run(3)
    assert given[:3] == [None, 0.003, 0.003]


def test_memory_holds_one_model_and_one_state():
    """Updates and states of past rounds are let go."""
    collective = Collective(seekers(), method=Averaging())
    collective.run(10)
    blobs = len(collective._weights._store._blobs)
    collective.run(20)
    assert abs(len(collective._weights._store._blobs) - blobs) <= 2


class Net:
    """Three members' ledger and store, and proposals made by hand."""

    def __init__(self, method, signer=None, members=("a", "b", "c"), rule=None):
        self.members = members
        self.store = MemoryStore()
        initial = Weights({"guess": np.zeros(1)})
        schema = Schema.of(initial.weights)
        self.weights = WeightsStore(self.store, schema)
        digest = self.weights.put(initial, round_index=0, sender="", base="")
        self.ledger = LocalLedger(
            Experiment(
                members=self.members,
                initial=digest,
                schema=schema.digest,
                rule=rule or Rule(),
                method=method.name,
            )
        )
        self.signer = signer
        self.course = Course(method, self.ledger, self.weights, signer)

    def update(self, sender, value, **changes):
        """An update of this value."""
        template = Update(
            round=self.ledger.view().round,
            sender=sender,
            base=self.ledger.view().current,
            state=self.course.digest,
            weights="",
            size_bytes=0,
            steps=1,
            samples=1,
        )
        update = self.weights.put_update(Weights({"guess": np.full(1, value)}), template)
        update = msgspec.structs.replace(update, **changes)
        return update if self.signer is None else self.signer.sign(update)

    def proposal(self, updates, value=None, state=None):
        """A proposal that merges these, truly unless another value is given."""
        view = self.ledger.view()
        merged = self.course.merge(updates) if value is None else {"guess": np.full(1, value)}
        return self.weights.put(
            Weights(merged),
            round_index=view.round,
            sender=view.proposer,
            base=view.current,
            state=self.course.digest if state is None else state,
            merged=tuple(updates),
        )

    def check(self, digest):
        """Check a proposal of the live round."""
        self.course.check(digest, self.ledger.view())

    def decide(self, digest, *choices):
        """Propose, vote, follow."""
        view = self.ledger.view()
        voters = named(self.members, view.voters)
        if len(choices) == 1:
            choices *= len(voters)
        self.ledger.submit(
            Propose(view.round, view.proposer, digest),
            *(
                Vote(view.round, voter, digest, choice)
                for voter, choice in zip(voters, choices, strict=True)
            ),
        )
        self.course.follow()


def test_a_true_merge_holds_and_a_false_one_does_not():
    """Weights that are not what the method makes of the updates named are found."""
    net = Net(Averaging())
    updates = [net.update("a", 1.0), net.update("c", 2.0)]
    net.check(net.proposal(updates))
    with pytest.raises(WrongMerge, match="merge to"):
        net.check(net.proposal(updates, value=1.5000001))


@pytest.mark.parametrize(
    ("senders", "changes", "words"),
    [
        ((), {}, "one each"),
        (("a", "a"), {}, "one each"),
        (("b", "a"), {}, "one each"),
        (("a", "z"), {}, "one each"),
        (("a", "b"), {"round": 5}, "not of this round"),
        (("a", "b"), {"base": "9" * 64}, "not of this round"),
        (("a", "b"), {"state": "9" * 64}, "not of this round"),
    ],
)
def test_updates_that_do_not_belong_are_found(senders, changes, words):
    """Nothing, somebody twice, out of order, a stranger, another round, base or state."""
    net = Net(Averaging())
    updates = [net.update(sender, 1.0, **changes) for sender in senders]
    with pytest.raises(WrongMerge, match=words):
        net.check(net.proposal(updates, value=1.0))


def late(net):
    """An update from the present model and state, which nobody merges in its round."""
    return net.update("c", net.weights.get(net.ledger.view().current).weights["guess"][0] + 4.0)


@pytest.mark.parametrize("votes", [(YES, YES), (NO, NO)])
def test_a_late_update_is_the_same_move_from_what_is_everyones_by_then(votes):
    """Left over from the last round, it is merged in this one, whatever became of that."""
    net = Net(Averaging(), Sealed("abc"))
    left = late(net)
    net.decide(net.proposal([net.update("a", 1.0), net.update("b", 1.0)]), *votes)
    base = net.weights.get(net.ledger.view().current).weights["guess"]
    assert net.course.trained([left])[0].tensors["guess"] == pytest.approx(base + 4.0, rel=0.01)
    net.check(net.proposal([net.update("a", 2.0), left]))


def test_a_late_update_counts_once_and_in_the_next_round_only():
    """What was merged, or is two rounds old, is none; an updates' sender has one a round."""
    net = Net(Averaging(), Sealed("abc"))
    left, merged = late(net), net.update("a", 1.0)
    net.decide(net.proposal([merged]), YES, YES)
    for wrong in ([merged], [net.update("b", 1.0), left, net.update("c", 1.0)]):
        with pytest.raises(WrongMerge, match="left over|one each"):
            net.check(net.proposal(wrong, value=1.0))
    net.decide(net.proposal([left]), YES, YES)
    with pytest.raises(WrongMerge, match="left over"):
        net.check(net.proposal([left]))


def test_updates_of_a_round_without_a_proposal_count_in_the_next():
    """An absent proposer costs the members nothing but time: model and state are the same."""
    net = Net(Averaging(), Sealed("abc"))
    net.decide(net.proposal([net.update("c", 1.0)]), YES, YES)
    left = late(net)
    net.ledger.wait(10**6, net.ledger.view().deadline)
    net.course.follow()
    net.check(net.proposal([left]))


def test_who_joins_late_judges_late_updates_alike():
    """A course taken up from the last accepted proposal allows the same updates."""
    net = Net(Averaging(), Sealed("abc"))
    net.decide(net.proposal([net.update("a", 1.0)]), YES, YES)
    left, merged = late(net), net.update("a", 2.0)
    net.decide(net.proposal([merged]), YES, YES)
    joined = Course(Averaging(), net.ledger, net.weights, net.signer)
    joined.check(net.proposal([left]), net.ledger.view())
    with pytest.raises(WrongMerge):
        joined.check(net.proposal([merged], value=1.0), net.ledger.view())
    net.decide(net.proposal([net.update("b", 1.0), left]), YES, YES)
    assert Course(Averaging(), net.ledger, net.weights, net.signer).digest == net.course.digest


def test_an_update_nobody_signed_is_found():
    """A proposer cannot make up an update in another member's name."""
    net = Net(Averaging(), Sealed("abc"))
    genuine = [net.update("a", 1.0), net.update("b", 2.0)]
    net.check(net.proposal(genuine))
    forged = msgspec.structs.replace(genuine[1], samples=1000)
    with pytest.raises(WrongMerge, match="'b'.*signed"):
        net.check(net.proposal([genuine[0], forged], value=1.5))


def test_a_false_state_is_found():
    """A proposal from another state of the method is found, whatever it merges."""
    net = Net(Averaging())
    with pytest.raises(WrongMerge, match="state"):
        net.check(net.proposal([net.update("a", 1.0)], value=1.0, state="7" * 64))


def test_a_sole_trainer_cannot_merge_anothers_update():
    """In a method of one trainer the update must be the proposer's own."""
    net = Net(Sole())
    with pytest.raises(WrongMerge, match="proposer's own"):
        net.check(net.proposal([net.update("b", 1.0)]))


def test_an_update_that_cannot_be_had_leaves_the_question_open():
    """Who cannot fetch an update can say neither yes nor no, and may ask again."""
    net = Net(Averaging())
    updates = [net.update("a", 1.0), net.update("b", 2.0)]
    digest = net.proposal(updates)
    net.weights.forget_updates(updates)
    blob = net.store._blobs.pop(updates[1].weights)
    with pytest.raises(BlobMissing):
        net.check(digest)
    net.store._blobs[updates[1].weights] = blob
    net.check(digest)


def test_state_advances_after_rejection_and_acceptance():
    """Both outcomes move the state, a round without a proposal does not."""
    net = Net(Averaging())
    net.decide(net.proposal([net.update("a", 1.0)]), NO, NO)
    assert net.ledger.decisions()[0].outcome is Outcome.REJECTED
    assert net.course.state["move"] == [0.0]
    after_rejection = net.course.digest
    net.ledger.wait(10**6, net.ledger.view().deadline)
    net.course.follow()
    assert net.course.digest == after_rejection
    net.decide(net.proposal([net.update("a", 1.0), net.update("b", 3.0)]), YES, YES)
    assert net.course.state["move"] == pytest.approx(2.0, rel=0.01)


MANY = ("a", "b", "c", "d", "e")


def blobless(net, method):
    """A member's course whose store has what the others' has, but for what is taken out."""
    store = MemoryStore()
    store._blobs.update(net.store._blobs)
    return store, Course(method, net.ledger, WeightsStore(store, net.weights._schema))


def test_a_proposal_shown_to_few_moves_no_state():
    """Its maker chooses who has its bytes; who has them must not part from who has not."""
    net = Net(Averaging(), members=MANY)
    digest = net.proposal([net.update("a", 1.0)])
    store, other = blobless(net, Averaging())
    del store._blobs[digest]
    net.decide(digest, Choice.ABSTAIN, Choice.ABSTAIN, Choice.ABSTAIN, NO)
    other.follow()
    assert net.course.digest == other.digest == ""
    assert other.known


def test_who_lacks_what_others_judged_abstains_until_it_can_take_up_the_state():
    """It neither rejects what it cannot judge, nor stays apart once the others accept."""
    net = Net(Averaging(), members=MANY)
    rejected = net.proposal([net.update("a", 1.0)])
    store, other = blobless(net, Averaging())
    del store._blobs[rejected]
    net.decide(rejected, NO)
    other.follow()
    assert other.digest != net.course.digest
    accepted = net.proposal([net.update("b", 1.0)])
    store._blobs.update(net.store._blobs)
    del store._blobs[rejected]
    with pytest.raises(BlobMissing, match="state is not known here"):
        other.check(accepted, net.ledger.view())
    net.decide(accepted, YES)
    store._blobs.update(net.store._blobs)
    other.follow()
    assert other.known
    assert other.digest == net.course.digest


def test_what_could_not_be_had_is_asked_for_again(monkeypatch):
    """Who begins before it knows any address goes on with all others, without an acceptance."""
    net, now = Net(Averaging(), members=MANY), [0.0]
    monkeypatch.setattr("colearn.course.time.monotonic", lambda: now[0])
    for value in (1.0, 2.0):
        net.decide(net.proposal([net.update("a", value)]), NO)
    store, _ = blobless(net, Averaging())
    first, second = (store._blobs.pop(each.proposal) for each in net.ledger.decisions())
    other = Course(Averaging(), net.ledger, WeightsStore(store, net.weights._schema))
    assert not other.known
    store._blobs[net.ledger.decisions()[0].proposal] = first
    other.follow()
    assert not other.known, "it does not ask without a pause"
    now[0] = 1.0
    other.follow()
    assert not other.known
    store._blobs[net.ledger.decisions()[1].proposal] = second
    now[0] = 2.0
    other.follow()
    assert other.known
    assert other.digest == net.course.digest != ""


def test_who_reads_rounds_together_ends_where_who_reads_each_does():
    """What was rejected because it does not hold has merged nobody's update, for all alike."""
    net = Net(Averaging(), Sealed(MANY), members=MANY)
    together = Course(Averaging(), net.ledger, net.weights, net.signer)
    left = late(net)
    net.decide(net.proposal([net.update("a", 1.0), left], value=1.0, state="7" * 64), NO)
    net.decide(net.proposal([net.update("b", 1.0), left]), YES)
    together.follow()
    assert together.digest == net.course.digest != ""


@pytest.mark.parametrize("gone", [False, True])
def test_who_joins_behind_a_late_update_is_not_led_astray(gone):
    """It cannot tell whose updates a rejected round merged; who accepted the next one knew."""
    net = Net(method("fast"), Sealed(MANY), members=MANY)
    net.decide(net.proposal([net.update("a", 1.0)]), YES)
    left = late(net)
    if gone:
        rejected = net.proposal([net.update("a", 2.0)])
    else:
        rejected = net.proposal([net.update("a", 1.0), left], value=1.0, state="7" * 64)
    net.decide(rejected, NO)
    net.decide(net.proposal([net.update("b", 1.0), left]), YES)
    store = MemoryStore()
    store._blobs.update(net.store._blobs)
    if gone:
        del store._blobs[rejected]
    weights = WeightsStore(store, net.weights._schema)
    joined = Course(method("fast"), net.ledger, weights, net.signer)
    assert joined.known
    assert joined.digest == net.course.digest
    found = audit_blobs(
        net.ledger.experiment, net.weights._schema, net.ledger.decisions(), store, net.signer
    )
    assert found.merges == 2


def test_what_is_no_proposal_moves_no_state():
    """All that reject it have its bytes, and none of them waits for others that do not come."""
    net = Net(Averaging(), members=MANY)
    net.decide(net.store.put((b"no proposal",)), NO)
    assert net.course.known
    assert net.course.digest == ""


def test_a_proposal_of_another_round_moves_no_state():
    """All reject it unseen, so that nobody need have what it names."""
    net = Net(Averaging(), members=MANY)
    nowhere = net.update("a", 1.0, weights="e" * 64)
    view = net.ledger.view()
    digest = net.weights.put(
        Weights({"guess": np.ones(1)}),
        round_index=view.round + 1,
        sender=view.proposer,
        base=view.current,
        merged=(nowhere,),
    )
    net.decide(digest, NO)
    assert net.course.known
    assert net.course.digest == ""


def test_states_that_cannot_be_dropped_stop_nothing(monkeypatch):
    """A bucket may not let its members delete: states stay there, and are dropped once it does."""
    net = Net(Averaging())
    drop = net.store.drop

    def refused(digest):
        raise StoreError("no")

    monkeypatch.setattr(net.store, "drop", refused)
    for value in (1.0, 2.0, 3.0, 4.0):
        net.decide(net.proposal([net.update("a", value)]), YES)
        assert net.course.known
    assert len(net.course._kept) == 3
    monkeypatch.setattr(net.store, "drop", drop)
    net.decide(net.proposal([net.update("a", 5.0)]), YES)
    assert len(net.course._kept) == 1


def test_an_audit_goes_on_behind_what_is_gone():
    """One rejected proposal whose bytes were collected does not hide all other merges."""
    net = Net(method("fast"), Sealed(MANY), members=MANY)
    for value, choice in ((1.0, YES), (9.0, NO), (2.0, YES), (3.0, YES)):
        digest = net.proposal([net.update(member, value) for member in MANY])
        net.decide(digest, choice)
    decisions = net.ledger.decisions()

    def audited(*dropped):
        store = MemoryStore()
        store._blobs.update(net.store._blobs)
        for each in dropped:
            del store._blobs[each]
        return audit_blobs(
            net.ledger.experiment, net.weights._schema, decisions, store, Sealed(MANY)
        )

    whole = audited()
    assert (whole.merges, whole.unmade, whole.gone) == (3, (), ())
    rejected = decisions[1].proposal
    found = audited(rejected)
    assert (found.merges, found.unmade) == (2, (2,))
    assert found.gone == ((1, Outcome.REJECTED),)
    merged = net.weights.proposal(decisions[0].proposal).merged
    assert audited(merged[0].weights).unmade == (0, 2), "states are kept for the last one only"


@pytest.mark.parametrize(("left", "holds"), [("", True), ("b", True), ("bc", False)])
def test_a_merge_leaves_out_fewer_than_a_third_of_what_was_there(left, holds):
    """Its proposer cannot choose whose updates count; some it may not have seen itself."""
    net = Net(Averaging(), Sealed(MANY), members=MANY)
    updates = [net.update(member, 1.0) for member in MANY]
    digest = net.proposal([each for each in updates if each.sender not in left])
    state = net.ledger.view()
    if holds:
        net.course.check_whole(digest, state, updates, early=False)
    else:
        with pytest.raises(WrongMerge, match="leaves out 2, of b, c: a third of them or more"):
            net.course.check_whole(digest, state, updates, early=False)
    net.course.check_whole(digest, state, updates[:2], early=False)
    forged = [msgspec.structs.replace(each, samples=9) for each in updates]
    net.course.check_whole(digest, state, forged, early=False)


def test_a_merge_that_came_early_leaves_out_nobody_who_had_something_to_give():
    """A proposer that did not wait for the others is found out before their updates come."""
    net = Net(Averaging(), members=MANY)
    updates = [net.update(member, 1.0) for member in MANY]
    nothing = [msgspec.structs.replace(each, weights="") for each in updates]
    early, state = net.proposal(updates[:3]), net.ledger.view()
    with pytest.raises(WrongMerge, match="merges 3 updates and leaves out 2, of d, e"):
        net.course.check_whole(early, state, updates[:3], early=True)
    net.course.check_whole(early, state, updates[:3], early=False)
    net.course.check_whole(early, state, [*updates[:3], *nothing[3:]], early=True)
    net.course.check_whole(net.proposal(updates[:4]), state, [], early=True)


def test_who_was_late_or_rests_is_not_missed_in_an_early_merge():
    """A late update stands for its member's; whom the round asks for nothing gives nothing."""
    net = Net(Averaging(), members=MANY)
    late = [net.update(member, 1.0) for member in MANY[2:]]
    net.decide(net.proposal([net.update(member, 1.0) for member in MANY[:2]]), *[YES] * 4)
    fresh = [net.update(member, 2.0) for member in MANY[:2]]
    state = net.ledger.view()
    net.course.check_whole(net.proposal([*fresh, *late]), state, [], early=True)
    with pytest.raises(WrongMerge, match="leaves out 3, of c, d, e"):
        net.course.check_whole(net.proposal(fresh), state, late, early=True)
    net = Net(Averaging(), members=MANY, rule=Rule(committee=2))
    state = net.ledger.view()
    drawn = [net.update(member, 1.0) for member in MANY if member in state.at_work]
    assert len(drawn) == 3
    net.course.check_whole(net.proposal(drawn), state, [], early=True)
    with pytest.raises(WrongMerge, match="merges 1 updates and leaves out 2"):
        net.course.check_whole(net.proposal(drawn[:1]), state, [], early=True)


def test_who_joins_late_takes_up_the_state_from_the_last_accepted_proposal():
    """Without the blobs of the past, only the last accepted round's, the state is the same."""
    net = Net(Averaging())
    for value in (1.0, 2.0, 3.0):
        net.decide(net.proposal([net.update("a", value), net.update("b", value)]), YES, YES)
    net.decide(net.proposal([net.update("c", 9.0)]), NO, NO)
    last = net.weights.proposal(net.ledger.view().current)
    rejected = net.ledger.decisions()[-1].proposal
    needed = {
        net.ledger.view().current,
        last.base,
        last.state,
        last.weights,
        net.weights.proposal(last.base).weights,
        *(update.weights for update in last.merged),
        rejected,
        *(update.weights for update in net.weights.proposal(rejected).merged),
    }
    store = MemoryStore()
    for digest in needed:
        store.put(net.store.open(digest))
    late = Course(Averaging(), net.ledger, WeightsStore(store, net.weights._schema))
    assert late.digest == net.course.digest != ""


def test_a_state_that_is_too_large_or_no_state_is_refused():
    """What a proposal names as state is bounded and must be tensors; else the past is replayed."""
    net = Net(Averaging())
    net.decide(net.proposal([net.update("a", 1.0)]), YES, YES)
    for blob in (b"x" * 10_000, b"\x08" + b"\0" * 7 + b"{broken}"):
        digest = net.store.put((blob,))
        record = msgspec.structs.replace(
            net.weights.proposal(net.ledger.view().current), state=digest
        )
        net.weights._proposals[net.ledger.view().current] = record
        assert Course(Averaging(), net.ledger, net.weights).state == {}


def test_a_learner_that_cannot_be_steered_trains_uncorrected():
    """Any learner takes part in a method that merges; its steps count as one."""
    collective = Collective([Scripted([True] * 9) for _ in range(3)], method=ScriptedAverage())
    result = collective.run(3)
    assert result.weights.weights["w"] == pytest.approx(np.full(3, 3.0), rel=0.01)


def test_that_correction_is_given_up_is_said_once(caplog):
    """The round that ends drift correction warns of it, and no other does."""
    net = Net(method("fast"))
    said = []
    for _ in range(4):
        apart = [net.update(*each) for each in (("a", 1.0), ("b", -1.0), ("c", 1.0))]
        net.decide(net.proposal(apart), YES)
        said.append([each.getMessage() for each in caplog.records])
        caplog.clear()
    (warning,) = said.pop(1)
    assert warning.startswith("round 1: drift correction is given up: ")
    assert said == [[], [], []]


class ScriptedAverage(Averaging):
    """The mean of the updates; no memory."""

    def merge(self, base, state, updates):
        return {"w": sum(each.tensors["w"] for each in updates) / len(updates)}

    def advance(self, base, state, updates, accepted):
        return {}


@pytest.mark.parametrize("name", ["steps", "samples"])
def test_an_update_of_fewer_than_no_steps_or_samples_is_unsound(name):
    """A share below none would turn the others' around; 0 says that it is not known."""
    net = Net(Averaging(), members=("a", "b", "c"))
    live = net.ledger.view()
    assert net.course.sound(net.update("b", 1.0, **{name: 0}), live)
    assert not net.course.sound(net.update("b", 1.0, **{name: -1}), live)


def test_a_committee_merges_updates_of_those_drawn():
    """An update of who is not at work in the round is refused, by proposers and by judges.

    One left over from the round before counts if its member was drawn then.
    """
    net = Net(Averaging(), members=tuple("abcdefgh"), rule=Rule(committee=3))
    live = net.ledger.view()
    sitting = named(net.members, live.workers)
    resting = [each for each in net.members if each not in sitting]
    updates = {member: net.update(member, 1.0) for member in net.members}
    late, out = sitting[-1], resting[0]
    assert [net.course.sound(updates[each], live) for each in (*sitting, *resting)] == (
        [True] * 4 + [False] * 4
    )
    with pytest.raises(WrongMerge, match=f"an update of '{out}' that is not of this round"):
        net.check(net.proposal([updates[sitting[0]], updates[out]], value=1.0))
    net.decide(net.proposal([updates[each] for each in sitting[:-1]]), Choice.APPROVE)
    live = net.ledger.view()
    assert live.round == 1
    assert net.course.late(updates[late], 1)
    assert net.course.sound(updates[late], live)
    assert not net.course.late(updates[out], 1)
    assert not net.course.sound(updates[out], live)
    net.check(net.proposal([updates[late]]))


def test_who_rests_makes_the_accepted_model_of_the_updates():
    """A member that did not check a proposal follows it, state and all, without fetching M′."""
    net = Net(Averaging())
    schema = Schema.of({"guess": np.zeros(1)})
    resting = Course(net.course.method, net.ledger, WeightsStore(Overlay(net.store), schema))
    updates = [net.update("a", 1.0), net.update("b", 2.0)]
    digest = net.proposal(updates)
    net.decide(digest, YES, YES)
    assert net.ledger.view().current == digest
    net.store.drop(net.weights.proposal(digest).weights)
    resting.follow()
    assert resting.state == net.course.state
    assert resting.digest == net.course.digest
