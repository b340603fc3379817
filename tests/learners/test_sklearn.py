"""scikit-learn's estimators as learners, on real data."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import (
    LogisticRegression,
    Perceptron,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from colearn.errors import (
    ConfigError,
    LearnerError,
    NotFinite,
    SchemaMismatch,
    UnsupportedModel,
    UnusableWeights,
)
from colearn.learners.sklearn import SklearnLearner
from colearn.ml_interface import ModelFormat, Weights
from colearn.testing import check_learner


def _digits():
    x, y = load_digits(return_X_y=True)
    return x / 16, y


def _breast_cancer():
    x, y = load_breast_cancer(return_X_y=True)
    return x / x.max(axis=0), np.array(["bad", "good"])[y]


def _diabetes():
    x, y = load_diabetes(return_X_y=True)
    return x * 10, (y - 150) / 77


DATA = {"digits": _digits(), "cancer": _breast_cancer(), "diabetes": _diabetes()}
MODELS = {
    "adam": (MLPClassifier((16,)), "digits"),
    "momentum": (MLPClassifier((8, 8), solver="sgd", learning_rate="adaptive"), "cancer"),
    "mlp-numbers": (MLPRegressor(hidden_layer_sizes=(16,)), "diabetes"),
    "logistic": (SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.1), "digits"),
    "svm": (SGDClassifier(), "cancer"),
    "svm-many": (SGDClassifier(), "digits"),
    "perceptron": (Perceptron(), "digits"),
    "linear": (SGDRegressor(), "diabetes"),
}


def split(name, dtype=np.float64):
    """Return 200 train, 100 vote and 100 test samples of a dataset."""
    x, y = DATA[name]
    parts = ((0, 200), (200, 300), (300, 400))
    train, vote, test = ((x[a:b].astype(dtype), y[a:b]) for a, b in parts)
    return {"train": train, "vote": vote, "test": test}


@pytest.fixture(params=MODELS)
def learner(request):
    """Return a learner of each supported kind."""
    estimator, name = MODELS[request.param]
    return SklearnLearner(estimator, **split(name))


def as_bytes(weights):
    """Return all tensors' bytes by name."""
    return {name: tensor.tobytes() for name, tensor in weights.weights.items()}


def test_learns(learner):
    """Accepting what it votes for itself, a learner ends better on unseen samples."""
    before = learner.evaluate(learner.mli_get_current_weights(), learner.test_samples)
    for _ in range(8):
        verdict = learner.mli_test_weights(learner.mli_propose_weights())
        if verdict.vote:
            learner.mli_accept_weights(verdict)
    after = learner.evaluate(learner.mli_get_current_weights(), learner.test_samples)
    assert after > before + 0.2


@pytest.mark.parametrize("name", MODELS)
def test_keeps_every_promise(name):
    """The learner passes the check that all learners must."""
    estimator, data = MODELS[name]
    check_learner(lambda: SklearnLearner(estimator, **split(data), steps=3))


def test_training_is_a_pure_function(learner):
    """The same weights and seed give the same bytes, whatever was trained or tested before."""
    learner.mli_accept_weights(learner.mli_propose_weights())
    learner.set_seed(5)
    first = as_bytes(learner.mli_propose_weights())
    other = learner.mli_propose_weights()
    assert as_bytes(other) != first
    learner.mli_test_weights(other)
    learner.mli_get_current_model(ModelFormat.NATIVE)
    learner.set_seed(5)
    assert as_bytes(learner.mli_propose_weights()) == first


def test_a_new_instance_repeats_a_proposal(learner):
    """A learner made anew, given the same weights and seed, proposes the same bytes."""
    learner.mli_accept_weights(learner.mli_propose_weights())
    again = SklearnLearner(
        learner.mli_get_current_model(ModelFormat.NATIVE).model,
        train=learner.train_samples,
        vote=learner.vote_samples,
    )
    again.mli_accept_weights(learner.mli_get_current_weights())
    for one in (learner, again):
        one.set_seed(9)
    assert as_bytes(again.mli_propose_weights()) == as_bytes(learner.mli_propose_weights())


_IN_A_PROCESS = """
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from colearn.learners.sklearn import SklearnLearner
from colearn.records import digest_of
x, y = load_digits(return_X_y=True)
one = SklearnLearner(MLPClassifier((16,)), train=(x[:200] / 16, y[:200]))
one.mli_accept_weights(one.mli_propose_weights())
print(digest_of(t.tobytes() for t in one.mli_propose_weights().weights.values()))
"""


def test_a_new_process_repeats_a_run():
    """Two processes that make the same two proposals end on the same digest."""
    digests = [
        subprocess.run(
            [sys.executable, "-c", _IN_A_PROCESS], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert len(digests[0].strip()) == 64
    assert digests[0] == digests[1]


def test_weights_are_plain_and_the_learners_own(learner):
    """Tensors come in C order, and writing into them changes no later proposal."""
    learner.set_seed(1)
    proposed = learner.mli_propose_weights()
    expected = as_bytes(proposed)
    for tensor in proposed.weights.values():
        assert tensor.flags.c_contiguous
        tensor[...] = 7
    learner.set_seed(1)
    assert as_bytes(learner.mli_propose_weights()) == expected


def test_received_weights_may_be_read_only(learner):
    """Read-only arrays are tested, accepted and trained from, and stay as they are."""
    weights = learner.mli_propose_weights()
    for tensor in weights.weights.values():
        tensor.flags.writeable = False
    before = as_bytes(weights)
    learner.mli_test_weights(weights)
    learner.mli_accept_weights(weights)
    assert as_bytes(learner.mli_propose_weights()) != before
    assert as_bytes(weights) == before


def test_initial_weights_do_not_depend_on_the_data():
    """Learners with different samples and seeds start from the same model."""
    for estimator, name in MODELS.values():
        x, y = DATA[name]
        classes = None if name == "diabetes" else np.unique(y)
        first, second = (
            SklearnLearner(
                estimator, train=(x[part], y[part]), classes=classes, seed=part.start
            ).mli_get_current_weights()
            for part in (slice(0, 100), slice(100, 200))
        )
        assert as_bytes(first) == as_bytes(second)


def test_the_given_estimator_is_never_changed():
    """Neither its parameters nor its attributes change while a learner trains."""
    estimator = MLPClassifier((4,), shuffle=True, random_state=3)
    before = copy.deepcopy(vars(estimator))
    SklearnLearner(estimator, **split("digits")).mli_propose_weights()
    assert vars(estimator) == before


def test_current_model_predicts_like_the_learner(learner):
    """The model handed out is fitted, scores the same, and has the parameters given."""
    learner.mli_accept_weights(learner.mli_propose_weights())
    exported = learner.mli_get_current_model(ModelFormat.NATIVE)
    score = learner.evaluate(learner.mli_get_current_weights(), learner.test_samples)
    assert exported.model_format is ModelFormat.NATIVE
    assert exported.model.score(*learner.test_samples) == pytest.approx(score)
    assert exported.model.shuffle is True
    exported.model.partial_fit(*learner.train_samples)
    assert learner.evaluate(learner.mli_get_current_weights(), learner.test_samples) == score


@pytest.mark.parametrize("kind", ["adam", "svm", "linear"])
def test_float32_samples_make_float32_weights(kind):
    """The weights have the dtype of x."""
    estimator, name = MODELS[kind]
    weights = SklearnLearner(estimator, **split(name, np.float32)).mli_propose_weights()
    assert {t.dtype.name for n, t in weights.weights.items() if n != "samples_seen"} == {"float32"}


def test_a_pass_is_trained_on_in_mini_batches():
    """Whole passes give the very weights that one call for each mini-batch gives."""
    data = split("digits")
    one = SklearnLearner(MLPClassifier((8,)), **data, steps=11, batch_size=32)
    model = one.mli_get_current_model(ModelFormat.NATIVE).model
    x, y = data["train"]
    model.set_params(shuffle=False, random_state=0)
    for rows in one.passes(np.random.default_rng((0, 0))):
        for start in range(0, len(rows), 32):
            batch = rows[start : start + 32]
            model.set_params(batch_size=len(batch))
            model.partial_fit(x[batch], y[batch])
    proposed = one.mli_propose_weights().weights
    assert np.array_equal(proposed["layers.0.weight"], model.coefs_[0])
    assert np.array_equal(proposed["layers.1.bias"], model.intercepts_[1])


def test_a_falling_learning_rate_goes_on_falling():
    """samples_seen travels, so that a second proposal moves less than the first did."""
    one = SklearnLearner(SGDClassifier(loss="log_loss"), **split("digits"), steps=10)
    start = one.mli_get_current_weights()
    first = one.mli_propose_weights()
    one.mli_accept_weights(first)
    second = one.mli_propose_weights()
    assert first.weights["samples_seen"] - start.weights["samples_seen"] == 296
    assert second.weights["samples_seen"] - first.weights["samples_seen"] == 296
    moves = [
        np.linalg.norm(after.weights["coef"] - before.weights["coef"])
        for before, after in ((start, first), (first, second))
    ]
    assert moves[1] < moves[0] / 2


@pytest.mark.parametrize("seen", [0.0, -1.0, np.nan, np.inf])
def test_impossible_samples_seen_are_refused(seen):
    """A count that no training reaches is refused before it sets a learning rate."""
    one = SklearnLearner(SGDClassifier(), **split("cancer"))
    tensors = one.tensors() | {"samples_seen": np.array(seen)}
    with pytest.raises(UnusableWeights, match="samples_seen"):
        one.mli_test_weights(Weights(tensors))


def test_a_learner_may_lack_labels():
    """With the experiment's classes given, data of one label trains and votes."""
    x, y = DATA["digits"]
    threes = (x[y == 3], y[y == 3])
    one = SklearnLearner(MLPClassifier((8,)), train=threes, classes=range(10))
    assert one.mli_test_weights(one.mli_propose_weights()).vote is True
    with pytest.raises(LearnerError, match="pass all labels"):
        SklearnLearner(MLPClassifier((8,)), train=threes)


@pytest.mark.parametrize("part", ["train", "vote", "test"])
def test_labels_outside_the_classes_are_refused(part):
    """A label that the experiment does not know is named, wherever it stands."""
    data = split("digits")
    data[part] = (data[part][0], data[part][1] + 5)
    with pytest.raises(LearnerError, match="is none of the classes"):
        SklearnLearner(Perceptron(), classes=range(10), **data)


def test_another_models_weights_are_refused():
    """Weights of another width are refused by the name of a tensor."""
    wide, narrow = (SklearnLearner(MLPClassifier((n,)), **split("digits")) for n in (8, 4))
    with pytest.raises(SchemaMismatch, match=r"layers\.0"):
        narrow.mli_accept_weights(wide.mli_get_current_weights())


def test_weights_with_nan_lose_the_vote(learner):
    """NaN in the weights is a reject under either policy, without a warning."""
    name, tensor = next(iter(learner.tensors().items()))
    broken = Weights(learner.tensors() | {name: np.full_like(tensor, np.nan)})
    assert learner.mli_test_weights(broken).vote is False
    assert np.isnan(learner.vote_loss(broken))


def test_diverging_training_says_what_to_do():
    """Training that overflows ends in one line that names the learning rate."""
    x, y = DATA["diabetes"]
    wild = MLPRegressor(hidden_layer_sizes=(4,), solver="sgd", learning_rate_init=1e10)
    with pytest.raises(NotFinite, match="lower the learning rate") as refusal:
        SklearnLearner(wild, train=(x, y)).mli_propose_weights()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        (KNeighborsClassifier(), "never: it keeps the private samples"),
        (SVC(), "never: its support vectors"),
        (LinearSVC(), "not yet: it fits all data at once"),
        (LogisticRegression(), "not yet: it fits all data at once"),
        (DecisionTreeClassifier(), "ForestLearner"),
        (RandomForestClassifier(), "use ForestLearner"),
        (HistGradientBoostingClassifier(), "not yet: use a random forest"),
        (GaussianNB(), "not yet: its weights are counts"),
        (make_pipeline(SGDClassifier()), "not yet: a step fitted"),
        (MiniBatchKMeans(), "not yet"),
        (SGDOneClassSVM(), "not yet"),
        (SGDClassifier(average=True), "not yet with average"),
        (SGDClassifier(early_stopping=True), "never with early_stopping"),
        (SGDClassifier(class_weight="balanced"), "never with class_weight"),
        (MLPClassifier(early_stopping=True), "never with early_stopping"),
        (MLPClassifier(solver="lbfgs"), "never with solver='lbfgs'"),
        (MLPClassifier(solver="sgd", learning_rate="invscaling"), "not yet with learning_rate"),
        (SGDClassifier, "expected a scikit-learn estimator"),
        ("an estimator", "expected a scikit-learn estimator"),
    ],
)
def test_unsupported_models_say_never_or_not_yet(estimator, said):
    """Each model that cannot learn collectively is refused with the reason."""
    with pytest.raises(UnsupportedModel, match=said) as refusal:
        SklearnLearner(estimator, **split("cancer"))
    assert "\n" not in str(refusal.value)


def test_parameters_scikit_learn_refuses_are_reported():
    """A parameter out of range is scikit-learn's own complaint, in one line."""
    with pytest.raises(ConfigError, match=r"SGDClassifier refuses to train.*alpha"):
        SklearnLearner(SGDClassifier(alpha=-1.0), **split("cancer"))


def test_numbers_have_no_classes():
    """A regressor with classes, or with words to predict, is refused."""
    x, y = DATA["diabetes"]
    with pytest.raises(ConfigError, match="leave them out"):
        SklearnLearner(SGDRegressor(), train=(x, y), classes=[0, 1])
    with pytest.raises(LearnerError, match="expected numbers"):
        SklearnLearner(SGDRegressor(), train=(x, y.astype(str)))


def test_samples_are_tables():
    """Images that were not flattened are refused."""
    with pytest.raises(LearnerError, match=r"expected \(n, features\)"):
        SklearnLearner(SGDClassifier(), train=(np.zeros((4, 8, 8)), np.arange(4)))


def test_an_interrupt_while_training_is_an_interrupt(monkeypatch):
    """Ctrl-C inside scikit-learn's own training, which swallows it, still stops the learner."""
    learner = SklearnLearner(
        MLPClassifier((4,), random_state=0), train=(np.ones((20, 2)), np.arange(20) % 2)
    )

    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(MLPClassifier, "_backprop", interrupt)
    with pytest.raises(KeyboardInterrupt):
        learner.mli_propose_weights()


def _proposed(model, dataset, offset, **options):
    """Tensors proposed with an offset set."""
    one = SklearnLearner(model, **split(dataset, np.float32), **options)
    one.set_offset(offset(one) if callable(offset) else offset)
    return one.mli_propose_weights().weights


def _of(value):
    """Return an offset of this value for each trained tensor, as the learner's weights are."""
    return lambda one: {
        name: np.full_like(tensor, value)
        for name, tensor in one.mli_get_current_weights().weights.items()
        if name != "samples_seen"
    }


@pytest.mark.parametrize("name", ["adam", "momentum", "mlp-numbers"])
def test_offset_of_zero_changes_nothing(name):
    """A network's training that adds zero after each step is training, to the bit."""
    model, dataset = MODELS[name]
    free = _proposed(model, dataset, None, steps=20)
    steered = _proposed(model, dataset, _of(0.0), steps=20)
    assert all(np.array_equal(free[name], steered[name]) for name in free)


@pytest.mark.parametrize(("model", "dataset"), MODELS.values(), ids=MODELS)
def test_offset_is_added_after_every_step(model, dataset):
    """Where the first of two steps ends, the offset shifts where the second begins."""
    one = _proposed(model, dataset, None, steps=1)
    shifted = _proposed(model, dataset, _of(0.125), steps=1)
    for name in one:
        if name != "samples_seen":
            assert shifted[name] == pytest.approx(one[name] + 0.125, abs=1e-6)


def test_offsets_add_up_over_the_steps():
    """Where training itself does nothing, n steps move by n offsets."""
    still = MLPClassifier((4,), solver="sgd", learning_rate_init=1e-12)
    one = SklearnLearner(still, **split("digits"), steps=37, batch_size=8)
    before = one.mli_get_current_weights().weights
    one.set_offset(_of(0.01)(one))
    after = one.mli_propose_weights().weights
    for name, tensor in before.items():
        assert after[name] == pytest.approx(tensor + 0.37, abs=1e-6)
    one.set_offset(None)
    again = one.mli_propose_weights().weights
    assert all(again[name] == pytest.approx(before[name], abs=1e-6) for name in before)


def test_wrong_offset_is_refused():
    """An offset for a tensor that the model lacks, or of another shape, names it."""
    one = SklearnLearner(MLPClassifier((4,)), **split("digits"))
    with pytest.raises(SchemaMismatch, match="'w'"):
        one.set_offset({"w": np.zeros(3)})
    with pytest.raises(SchemaMismatch, match=r"layers.0.bias.*\(3,\)"):
        one.set_offset({"layers.0.bias": np.zeros(3)})
