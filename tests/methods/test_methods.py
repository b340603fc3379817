"""Whole methods: what they propose, remember, and refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from colearn.errors import ConfigError, NotFinite, SchemaMismatch
from colearn.methods import METHODS, controls, method
from colearn.methods.centers import shares_of
from colearn.protocols import Trained
from colearn.records import digest_of
from colearn.weights import Schema, encode

MEMBERS = ("ann", "bob", "c/d")
MERGING = [name for name in METHODS if METHODS[name].all_train]
CORRECTED = ["solo-dc", "fast", "shield"]


def weights(seed):
    """Return weights of a small network with BatchNorm, the same bits on any machine."""
    numbers = ((13 * np.arange(8) ** 2 + 37 * seed) % 97 - 48) / 64
    return {
        "w": numbers[:6].reshape(2, 3).astype(np.float32),
        "b": numbers[6:],
        "running_var": np.abs(numbers[:2]).astype(np.float32),
        "num_batches_tracked": np.array(seed, np.int64),
    }


BASE = weights(0)


def updates(start=1, members=MEMBERS):
    """Return one update for each member."""
    return [
        Trained(member, weights(start + place), steps=4, samples=10 * (place + 1))
        for place, member in enumerate(members)
    ]


def flat(tensors):
    """Return the trained numbers of weights in a row."""
    return np.concatenate([tensors["b"], tensors["w"].ravel()]).astype(np.float64)


def digest(tensors):
    """Return the digest of tensors' canonical bytes; of no tensors, that of no bytes."""
    if not tensors:
        return digest_of(())
    return digest_of(encode(tensors, Schema.of(tensors)).parts)


@pytest.mark.parametrize("name", CORRECTED)
def test_a_state_of_something_else_is_refused(name):
    """A state that lacks a tensor, or has one misshapen, is refused by an error of ours, if any."""
    one, refused = method(name), 0
    state = one.advance(BASE, {}, updates(), BASE)
    state = one.advance(BASE, state, updates(5), BASE)
    assert "strength" in state
    for key, tensor in state.items():
        for wrong in ({}, {key: np.zeros((2, *tensor.shape))}):
            hostile = {each: state[each] for each in state if each != key} | wrong
            try:
                one.offset(hostile, "ann")
                one.advance(BASE, hostile, updates(7), one.merge(BASE, hostile, updates(7)))
            except SchemaMismatch:
                refused += 1
    assert refused > len(state)


def test_names_find_methods():
    """Every method is found by its name, and another name is refused with those there are."""
    assert all(method(name).name == name for name in METHODS)
    with pytest.raises(ConfigError, match="'best'.*plain, solo-dc, fast, shield"):
        method("best")


def test_plain_proposes_what_was_trained():
    """The proposal is the proposer's very arrays, and nothing is remembered."""
    (update,) = updates(members=("ann",))
    assert method("plain").merge(BASE, {}, [update]) is update.tensors
    assert method("plain").advance(BASE, {}, [update], update.tensors) == {}
    assert method("plain").offset({}, "ann") is None


@pytest.mark.parametrize("name", MERGING)
def test_merge_keeps_schema_and_arguments(name):
    """M′ has M's names, dtypes and shapes, and no argument is written into."""
    given = updates()
    before = [digest(update.tensors) for update in given]
    merged = method(name).merge(BASE, {}, given)
    assert Schema.of(merged) == Schema.of(BASE)
    assert [digest(update.tensors) for update in given] == before
    assert digest(BASE) == digest(weights(0))


@pytest.mark.parametrize("name", MERGING)
def test_first_offset_is_none(name):
    """Before anybody trained there is nothing to correct by."""
    assert method(name).offset({}, "ann") is None


def test_average_is_weighted_by_samples():
    """Federated averaging: shares are 10, 20 and 30 of 60."""
    merged = method("average").merge(BASE, {}, updates())
    expected = sum(
        share * flat(weights(seed)) for seed, share in ((1, 1 / 6), (2, 1 / 3), (3, 1 / 2))
    )
    assert flat(merged) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("name", ["average", "fast"])
def test_statistics_are_averaged_and_counts_a_median(name):
    """A variance never goes below zero, however fast the weights move; counts stay whole."""
    one = method(name)
    given = updates()
    first = one.merge(BASE, {}, given)
    state = one.advance(BASE, {}, given, first)
    down = [
        update._replace(tensors=update.tensors | {"running_var": np.zeros(2, np.float32)})
        for update in given
    ]
    second = one.merge(first, state, down)
    assert second["running_var"].tolist() == [0, 0]
    assert second["num_batches_tracked"] == 2


@pytest.mark.parametrize("name", CORRECTED)
def test_correction_makes_members_move_alike(name):
    """Where a step moves each member by its own constant, corrected steps move all by the mean."""
    one = method(name)
    own = {member: weights(9 + place) for place, member in enumerate(MEMBERS)}

    def train(state, members):
        result = []
        for member in members:
            told = one.offset(state, member) or {}
            tensors = BASE | {
                key: BASE[key] + 4 * (own[member][key] + told.get(key, 0)).astype(BASE[key].dtype)
                for key in ("w", "b")
            }
            result.append(Trained(member, tensors, 4, 1))
        return result

    state = {}
    for round_members in (MEMBERS,) if one.all_train else [(each,) for each in MEMBERS]:
        state = one.advance(BASE, state, train(state, round_members), None)
    after = [flat(update.tensors) for update in train(state, MEMBERS)]
    mean = flat(BASE) + 4 * np.mean([flat(each) for each in own.values()], axis=0)
    if name != "shield":
        assert after[0] == pytest.approx(mean, abs=1e-5)
    assert after[1] == pytest.approx(after[0], abs=1e-5)
    assert after[2] == pytest.approx(after[0], abs=1e-5)


def test_one_trainer_moves_by_what_all_did_last():
    """In `solo-dc` M′ takes the proposer's steps, each the mean of every member's control."""
    one, state = method("solo-dc"), {}
    for place, member in enumerate(("ann", "bob")):
        (update,) = updates(1 + place, (member,))
        state = one.advance(BASE, state, [update], None)
    told = flat(one.offset(state, "ann"))
    (again,) = updates(5, ("ann",))
    own = (flat(again.tensors) - flat(BASE)) / 4 - told
    other = (flat(weights(2)) - flat(BASE)) / 4
    merged = one.merge(BASE, state, [again])
    assert flat(merged) == pytest.approx(flat(BASE) + 4 * (own + other) / 2, abs=1e-5)
    assert merged["running_var"].tolist() == again.tensors["running_var"].tolist()
    assert merged["num_batches_tracked"] == 5


def test_one_trainer_without_controls_proposes_its_own_move():
    """Where a control overflowed and all were given up, `solo-dc` proposes what was trained."""
    one, end = method("solo-dc"), np.finfo(np.float32).max
    low, high = (BASE | {"w": np.full((2, 3), way * end, np.float32)} for way in (-1, 1))
    state = one.advance(low, {}, [Trained("ann", high, 1, 1)], None)
    (update,) = updates(members=("ann",))
    assert one.offset(state, "ann") is None
    assert flat(one.merge(BASE, state, [update])) == pytest.approx(flat(update.tensors), abs=1e-6)


def test_absent_member_keeps_its_control():
    """Who misses a round is corrected by what was last known; a newcomer is not."""
    fast = method("fast")
    state = fast.advance(BASE, {}, updates(), None)
    later = fast.advance(BASE, state, updates(20, members=("ann", "bob")), None)
    kept = [key for key in state if key.startswith("control/c%2Fd/")]
    assert len(kept) == 2
    assert all(np.array_equal(later[key], state[key]) for key in kept)
    assert fast.offset(later, "c/d") is not None
    assert fast.offset(later, "eve") is None


def test_names_of_members_and_tensors_never_meet():
    """A member whose name looks like another's tensor reads nothing of it."""
    fast = method("fast")
    state = fast.advance(BASE, {}, updates(members=("ann",)), None)
    for name in ("ann/w", "", "center", "ann/"):
        assert fast.offset(state, name) is None


def test_momentum_repeats_some_of_the_last_accepted_move():
    """The accepted move counts half in the next round, and half of that after a rejection."""
    fast = replace(method("fast"), momentum=0.5)
    still = [Trained("ann", BASE, 4, 1)]
    accepted = weights(5)
    state = fast.advance(BASE, {}, still, accepted)
    move = flat(accepted) - flat(BASE)
    assert flat(fast.merge(BASE, state, still)) == pytest.approx(flat(BASE) + move / 2, abs=1e-6)
    state = fast.advance(BASE, state, still, None)
    assert flat(fast.merge(BASE, state, still)) == pytest.approx(flat(BASE) + move / 4, abs=1e-6)


@pytest.mark.parametrize("name", MERGING)
def test_not_finite_updates_are_refused(name):
    """NaN never gets into a proposal."""
    bad = weights(3)
    bad["w"][0, 0] = np.nan
    with pytest.raises(NotFinite, match="'w'"):
        method(name).merge(BASE, {}, [*updates(), Trained("eve", bad, 4, 1)])


def test_shield_leaves_out_what_lies_far_away():
    """Two liars of seven, declaring most of the samples, change nothing in the merge."""
    members = [f"m{place}" for place in range(7)]
    given = updates(members=members)
    honest = [
        update._replace(tensors=weights(0) | {"b": BASE["b"] + (place - 3) / 64})
        for place, update in enumerate(given)
    ]
    lie = {"b": BASE["b"] - 1000}
    lied = [
        *(Trained(update.member, BASE | lie, 4, 10**9) for update in given[:2]),
        *honest[2:],
    ]
    shield = method("shield")
    assert digest(shield.merge(BASE, {}, lied)) == digest(shield.merge(BASE, {}, honest[2:]))


def test_shield_hears_an_unusual_member_and_no_liar():
    """One at two median distances moves the common control of seven, but not in the first rounds.

    At first the usual lie close together, and liars there. One at a hundred never does.
    """
    usual = (-1.0, -1.0, -1.0, 0.0, 1.0, 1.0)
    shield = method("shield")

    def common(last, rounds):
        given = [
            Trained(f"m{place}", BASE | {"b": BASE["b"] + by}, 4, 1)
            for place, by in enumerate((*usual, last))
        ]
        state = shield.advance(BASE, {}, given, BASE)
        for _ in range(rounds):
            untold = [
                each._replace(
                    tensors=each.tensors
                    | {"b": each.tensors["b"] + 4 * shield.offset(state, each.member)["b"]}
                )
                for each in given
            ]
            state = shield.advance(BASE, state, untold, BASE)
        return float(state["center/b"].mean())

    without, drawn_in = sum(usual) / 6 / 4, (sum(usual) + 1.0) / 7 / 4
    assert [common(100.0, rounds) for rounds in (0, 20)] == pytest.approx([without] * 2, abs=1e-5)
    assert common(1.4, 0) == pytest.approx(drawn_in, abs=1e-5)
    assert common(2.0, 0) == pytest.approx(without, abs=1e-5)
    assert common(2.0, 20) == pytest.approx(drawn_in, abs=1e-5)
    assert common(2.6, 20) == pytest.approx(without, abs=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_state_is_bounded_and_names_are_in_any_order(name):
    """A state read back in another order gives the same bits, and does not grow over rounds."""
    one = method(name)
    members = MEMBERS if one.all_train else ("bob",)
    state, sizes = {}, []
    for start in (1, 4, 7):
        given = updates(start, members)
        merged = one.merge(BASE, state, given)
        shuffled = dict(reversed(state.items()))
        assert digest(one.merge(BASE, shuffled, given)) == digest(merged)
        after = one.advance(BASE, state, given, merged)
        if after:
            assert digest(after) == digest(one.advance(BASE, shuffled, given, merged))
            sizes.append(len(after))
        state = after
    assert not sizes or sizes[-1] <= sizes[1]


def trained_alike(state, spread):
    """Updates that lie ``spread`` apart, whatever they were told to add."""
    return [
        Trained(member, BASE | {"b": BASE["b"] + spread * (place - 1)}, 4, 1)
        for place, member in enumerate(MEMBERS)
    ]


@pytest.mark.parametrize("name", ["fast", "shield"])
def test_correction_that_diverges_is_given_up(name):
    """Corrected moves longer than uncorrected ones: M stays, and nobody is corrected again."""
    one = method(name)
    state = one.advance(BASE, {}, trained_alike({}, 1.0), BASE)
    assert one.offset(state, "ann") is not None
    assert one.backed_off({}) is None
    assert one.backed_off(state) is None
    worse = trained_alike(state, 2.0)
    assert digest(one.merge(BASE, state, worse)) == digest(BASE)
    state = one.advance(BASE, state, worse, BASE)
    assert all(one.offset(state, member) is None for member in MEMBERS)
    later = one.advance(BASE, state, trained_alike(state, 0.1), BASE)
    assert one.offset(later, "ann") is None
    assert "learning rate" in one.backed_off(state)
    assert one.backed_off(later) == one.backed_off(state)
    assert digest(one.merge(BASE, state, updates())) != digest(BASE)


def taken_in_turn(one, state, longer, turns):
    """The state after so many turns, each so many times as long as the member's last by itself."""
    for turn in range(turns):
        (update,) = updates(1 + turn, (MEMBERS[turn % 3],))
        alone = controls.foretold(state, update)
        if alone is not None:
            moved = {key: BASE[key] + longer * part for key, part in alone.items()}
            update = update._replace(tensors=BASE | moved)
        state = one.advance(BASE, state, [update], None)
    return state


def test_turns_that_correction_does_not_shorten_halve_it():
    """After ten corrected turns of full length each step and its offset are half as long."""
    one = method("solo-dc")
    assert one.backed_off(taken_in_turn(one, {}, 0.99, 40)) is None
    assert one.backed_off(taken_in_turn(one, {}, 1.01, 12)) is None
    state = taken_in_turn(one, {}, 1.01, 13)
    assert "halved" in one.backed_off(state)
    whole = {name: tensor for name, tensor in state.items() if name != "strength"}
    assert flat(one.offset(state, "ann")) == pytest.approx(0.5 * flat(one.offset(whole, "ann")))
    (newcomer,) = updates(30, ("eve",))
    half, full = (flat(one.merge(BASE, each, [newcomer])) - flat(BASE) for each in (state, whole))
    assert half == pytest.approx(0.5 * full, abs=1e-6)


def test_correction_is_halved_again_where_that_was_not_enough():
    """It is judged anew by the ten turns after it was halved, and not by those before."""
    one = method("solo-dc")
    halved = [taken_in_turn(one, {}, 1.01, turns)["strength"] for turns in (13, 22, 23)]
    assert halved == [0.5, 0.5, 0.25]


def test_liars_cannot_switch_correction_off():
    """Two of seven who move far away end the correction in `fast`, and not in `shield`."""

    def given(spread, lie):
        moves = [spread * (place - 3) + (lie if place < 2 else 1) for place in range(7)]
        return [
            Trained(f"m{place}", BASE | {"b": BASE["b"] + by}, 4, 1)
            for place, by in enumerate(moves)
        ]

    corrected = {}
    for name in ("fast", "shield"):
        one = method(name)
        state = one.advance(BASE, {}, given(0.5, -9), BASE)
        state = one.advance(BASE, state, given(0.1, -30), BASE)
        corrected[name] = one.offset(state, "m5") is not None
    assert corrected == {"fast": False, "shield": True}


@pytest.mark.parametrize("name", CORRECTED)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_state_stays_finite_however_far_members_move(name, kind):
    """Updates at the end of a dtype's range overflow no state: it can be stored and read."""
    one, far = method(name), np.finfo(kind).max
    base = {"w": np.zeros(3, kind)}
    state = {}
    for sign in (1, -1, 1, -1):
        given = [
            Trained(member, {"w": np.array([sign, -sign, place / 2], kind) * far}, 4, 1)
            for place, member in enumerate(MEMBERS)
        ]
        state = one.advance(base, state, given[: 3 if one.all_train else 1], given[0].tensors)
        assert all(np.isfinite(tensor).all() for tensor in state.values())
        assert digest(state)


def test_strength_follows_from_the_first_corrected_round():
    """Half the spread that was left is three quarters of the offset, and stays so."""
    fast = method("fast")
    state = fast.advance(BASE, {}, trained_alike({}, 1.0), BASE)
    assert "strength" not in state
    state = fast.advance(BASE, state, trained_alike(state, 0.5**0.5), BASE)
    assert state["strength"] == pytest.approx(0.75, abs=1e-6)
    state = fast.advance(BASE, state, trained_alike(state, 0.1), BASE)
    assert state["strength"] == pytest.approx(0.75, abs=1e-6)


def test_controls_count_by_samples_where_all_train_and_are_trusted():
    """Who declares three times the samples has three times the weight in `fast` alone."""
    leans = {}
    for name in CORRECTED:
        one = method(name)
        given = [each._replace(samples=1) for each in updates()]
        given[0] = given[0]._replace(samples=3)
        state = one.advance(BASE, {}, given, BASE)
        moves = [(each.tensors["b"] - BASE["b"]) / each.steps for each in given]
        by_samples = (3 * moves[0] + moves[1] + moves[2]) / 5
        leans[name] = np.allclose(state["center/b"], by_samples)
    assert leans == {"solo-dc": False, "fast": True, "shield": False}


@pytest.mark.parametrize("name", CORRECTED)
def test_who_cannot_be_steered_tells_nothing_of_drift(name):
    """Its update is merged as it is; the others' controls are those that they had without it."""
    one, (ann, bob, other) = method(name), updates()
    other = other._replace(steps=0, samples=0)
    turns = [[ann, bob]] if one.all_train else [[ann], [bob]]
    alone = mixed = {}
    for turn in turns:
        alone = one.advance(BASE, alone, turn, None)
        mixed = one.advance(BASE, mixed, [*turn, other] if one.all_train else turn, None)
    if not one.all_train:
        assert one.merge(BASE, mixed, [other])["w"] == pytest.approx(other.tensors["w"])
        mixed = one.advance(BASE, mixed, [other], None)
    assert digest(mixed) == digest(alone)
    assert one.offset(mixed, "ann") is not None
    assert one.offset(mixed, other.member) is None


def test_who_does_not_say_how_many_samples_it_has_counts_as_the_mean_of_the_others():
    """Of samples 1, 3 and 0 the shares are 1, 3 and 2 parts of six; of none known, equal."""
    assert shares_of([1, 3, 0]) == pytest.approx([1 / 6, 3 / 6, 2 / 6])
    assert shares_of([0, 0]) == [0.5, 0.5]


GOLDEN = {
    "plain": ("78b592175afb74e0", "af1349b9f5f9a1a6"),
    "solo-dc": ("c4ac5050bb78d0b0", "85f378c44be404a4"),
    "fast": ("5cf324ff85b1e1be", "af182f41f26efe57"),
    "shield": ("d868fb4e3f81b961", "4bf69a842e94602a"),
    "average": ("457b2cb5eb71f85b", "af1349b9f5f9a1a6"),
    "median": ("9cb0db58abcc331f", "af1349b9f5f9a1a6"),
    "trimmed-mean": ("626fd28908af7e42", "af1349b9f5f9a1a6"),
    "geometric-median": ("3e1baa8561006b41", "af1349b9f5f9a1a6"),
    "multi-krum": ("e75ceca159a7d17e", "af1349b9f5f9a1a6"),
}


PULLS = {"ann": 0.1, "bob": 0.2, "cleo": 0.3, "dora": 0.4, "eve": 0.9}


def pulled(one, base, state, members):
    """Return updates of members that train towards a point of their own, as they are told."""
    given = []
    for place, member in enumerate(members):
        told, aim, pull = one.offset(state, member) or {}, weights(5 + place), PULLS[member]
        tensors = dict(aim)
        for name in ("b", "w"):
            own = base[name] + np.float32(pull) * (aim[name] - base[name])
            tensors[name] = own + 4 * told[name] if told else own
        given.append(Trained(member, tensors, 4, 10 * (place + 1)))
    return given


@pytest.mark.parametrize("name", METHODS)
def test_bits_are_the_same_on_every_machine(name):
    """Three rounds, the second rejected, give the M′ and the state that they gave elsewhere."""
    one = method(name)
    base, state = BASE, {}
    for accept, turn in ((True, "bob"), (False, "ann"), (True, "bob")):
        given = pulled(one, base, state, PULLS if one.all_train else (turn,))
        merged = one.merge(base, state, given)
        state = one.advance(base, state, given, merged if accept else None)
        base = merged if accept else base
    assert name not in CORRECTED or "samples" in state
    assert (digest(base)[:16], digest(state)[:16]) == GOLDEN[name]
