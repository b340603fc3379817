"""``experiment.toml``: what is written is read back, and what does not fit is refused."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

from colearn import experiment as files
from colearn import tasks
from colearn.errors import ConfigError, InvalidRule, SchemaMismatch
from colearn.learners.forest import ForestLearner
from colearn.learners.sklearn import SklearnLearner
from colearn.records import WIRE_VERSION, Rule, decode, digest_of, encode
from colearn.records import Experiment as Record
from colearn.stores.memory import MemoryStore
from colearn.terms import difference
from colearn.weights_store import WeightsStore

MEMBERS = ("ann", "bob", "cyd")


def learner(activation="relu", classes=(0, 1), shift=0.0):
    """A learner whose M₀ is the same for all, but for what the arguments change."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((20, 4)) + shift
    y = np.array(classes)[(x[:, 0] > shift).astype(int)]
    model = MLPClassifier(hidden_layer_sizes=(8,), activation=activation, random_state=3)
    return SklearnLearner(model, train=(x, y), classes=np.array(sorted(classes)))


def drawn_up(**changes):
    """An agreement and M₀'s bytes."""
    terms = {"task": "own:make", "rounds": 9, "seed": 5, "members": MEMBERS, **changes}
    return files.draw_up(learner(), **terms)


def check(agreement, own):
    """Check a learner as `colearn join` does."""
    files.check_schema(agreement, own)
    files.check_outputs(agreement, own)


@pytest.fixture
def written(tmp_path):
    """A file that was written, and what it says."""
    agreement, initial = drawn_up(
        rule=Rule(threshold="2/3", vote_seconds=60),
        options={"split": "iid", "rate": 0.5, "odd name": 'with "quotes"', "flag": True},
    )
    path = tmp_path / "experiment.toml"
    files.write(path, agreement, initial)
    return path, agreement


def test_what_is_written_is_read_back(written):
    """Reading gives the same agreement, and so the same digest of the experiment."""
    path, agreement = written
    found = files.read(path)
    assert found == agreement
    assert encode(found.experiment) == encode(agreement.experiment)


@pytest.mark.parametrize("task", tasks.names()[:4])
def test_every_task_can_be_written_down(task, tmp_path):
    """Any task's schema and probe survive the file, and each member's learner passes the check."""
    learners = tasks.build(tasks.get(task), learners=3, split="iid", seed=2).learners
    agreement, initial = files.draw_up(learners[0], task=task, rounds=3, seed=2, members=MEMBERS)
    files.write(tmp_path / "it.toml", agreement, initial)
    found = files.read(tmp_path / "it.toml")
    assert found == agreement
    for each in learners:
        check(found, each)


def test_a_method_that_cannot_merge_this_model_is_refused():
    """Before anything is written: a name that nobody knows, and a model that grows."""
    with pytest.raises(ConfigError, match="no method is called 'slow'"):
        drawn_up(method="slow")
    forest = ForestLearner(RandomForestClassifier(), train=(np.eye(4), np.array([0, 1, 0, 1])))
    with pytest.raises(ConfigError, match="grow"):
        files.draw_up(forest, task="own:make", rounds=1, seed=0, method="fast")


def test_the_place_of_the_contract_is_not_agreed_on(written):
    """Putting the contract's place into the file leaves the experiment what it was."""
    path, agreement = written
    place = files.Place(address="0x" + "1" * 40, chain_id=31337, first_block=2)
    files.write(path, msgspec.structs.replace(agreement, contract=place))
    assert files.read(path).contract == place
    assert files.read(path).experiment == agreement.experiment


@pytest.mark.parametrize(
    "change",
    [
        {"task": "own:other"},
        {"rounds": 10},
        {"seed": 6},
        {"method": "fast"},
        {"members": MEMBERS[::-1]},
        {"rule": Rule(threshold="3/4")},
        {"options": {"split": "iid"}},
    ],
)
def test_each_term_makes_the_digest(change):
    """Who changes any term has another experiment, and is told in what."""
    ours, theirs = drawn_up()[0].experiment, drawn_up(**change)[0].experiment
    assert encode(ours) != encode(theirs)
    assert next(iter(change)).removesuffix("s") in difference(ours, theirs)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (f"version = {WIRE_VERSION}", "version = 99", "wire version 99"),
        ("rounds = 9", "rounds = 0", "at least 1"),
        ("rounds = 9", "rounds = 9.5", "Expected `int`, got `float` - at `rounds`"),
        ("rounds = 9", "", "missing required field `rounds`"),
        ("rounds = 9", "rounds = 9\nextra = 1", "unknown field `extra`"),
        ("rounds = 9", "rounds =", "Invalid value"),
        ('threshold = "2/3"', 'threshold = "0"', "threshold 0 is refused"),
        ('threshold = "2/3"', 'threshold = "most"', "not a fraction"),
        ("inclusive = false", "inclusive = 0", "Expected `bool`, got `int` - at `rule.inclusive`"),
        ("shape = [4, 8]", "shape = [4, 8.5]", "at `tensors"),
        ("seed = 5", "seed = -1", "seed -1 is refused"),
        ('weights = "', 'weights = "x', "not 64 digits"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(written, old, new, says):
    """Whatever is wrong in the file, the error names the file and the place."""
    path, _ = written
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as reason:
        files.read(path)
    assert says in str(reason.value)
    assert str(reason.value).startswith(f"{path} is no experiment: ")
    assert "\n" not in str(reason.value)


def test_a_bad_rule_stays_a_bad_rule(written):
    """A rule nobody should run under keeps its kind of error."""
    path, _ = written
    path.write_text(path.read_text().replace('quorum = "0"', 'quorum = "2"'))
    with pytest.raises(InvalidRule):
        files.read(path)


def test_no_file_is_one_line(tmp_path):
    """A missing file is said to be missing."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        files.read(tmp_path / "none.toml")


def test_the_store_is_given_all_a_member_needs(written):
    """After `put_initial` M₀, its record, the schema and the experiment are found by digest."""
    path, agreement = written
    store = MemoryStore()
    agreement.put_initial(store, path)
    experiment = agreement.experiment
    weights = WeightsStore(store, agreement.schema).get(experiment.initial)
    assert set(weights.weights) == set(agreement.tensors)
    raw = b"".join(store.open(digest_of((encode(experiment),))))
    assert decode(raw, Record) == experiment


def test_other_bytes_are_not_m0(written):
    """A file of weights that was exchanged is noticed."""
    path, agreement = written
    files.weights_beside(path).write_bytes(b"others")
    with pytest.raises(ConfigError, match="is not M₀"):
        agreement.put_initial(MemoryStore(), path)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (learner(activation="tanh"), "other outputs"),
        (learner(classes=(0, 1, 2)), "tensor"),
    ],
)
def test_another_model_is_refused(other, says):
    """A learner that holds M₀ but is another model is told in what it differs."""
    agreement, _ = drawn_up()
    check(agreement, learner(shift=3.0))
    if other.schema() == agreement.schema:
        other.mli_accept_weights(learner().mli_get_current_weights())
    with pytest.raises(SchemaMismatch, match=says):
        check(agreement, other)


def test_turned_round_labels_are_noticed():
    """Outputs in another order are not the experiment's."""
    agreement, _ = drawn_up()
    turned = learner()
    outputs = turned.outputs
    turned.outputs = lambda x: outputs(x)[:, ::-1]
    with pytest.raises(SchemaMismatch, match="order of labels"):
        check(agreement, turned)


def test_a_learner_of_ones_own_needs_no_probe():
    """Where outputs cannot be shown, the agreement has no probe and the schema is compared."""

    class Own:
        def mli_get_current_weights(self):
            return learner().mli_get_current_weights()

    agreement, _ = files.draw_up(Own(), task="own:make", rounds=2, seed=1, members=MEMBERS)
    assert agreement.probe is None
    check(agreement, Own())
    with pytest.raises(SchemaMismatch, match="probe"):
        check(drawn_up()[0], Own())


def test_a_probe_shows_nobodys_samples():
    """The probe's outputs depend on M₀ and the seed, not on the data of who draws it."""
    assert (learner().probe(4) == learner(shift=9.0).probe(4)).all()
    assert (learner().probe(4) != learner().probe(5)).any()
    x = np.arange(40).reshape(20, 2)
    whole = SklearnLearner(SGDClassifier(loss="log_loss"), train=(x, x[:, 0] % 3))
    assert whole.probe(1).shape == (4, 3)


@pytest.mark.parametrize("address", ["nonsense", "0x12", "0x" + "g" * 40, "1" * 42])
def test_a_contract_is_at_an_address(address):
    """Anything else is said to be none, in one line, before a chain is asked."""
    with pytest.raises(ConfigError, match="is no contract's address: it is 0x and 40 hex digits"):
        files.Place(address=address)
