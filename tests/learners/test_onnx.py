"""Models leave as ONNX, and predict there what they predict here."""

from __future__ import annotations

import sys

import lightgbm
import numpy as np
import onnxruntime
import pytest
import torch
import xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import ExtraTreesClassifier, RandomForestRegressor
from sklearn.linear_model import Perceptron, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from torch import nn
from torch.nn import functional

from colearn.errors import MissingExtra, UnsupportedModel
from colearn.learners.base import FrameworkLearner
from colearn.learners.forest import ForestLearner
from colearn.learners.lightgbm import LightGBMLearner
from colearn.learners.onnx import from_torch
from colearn.learners.sklearn import SklearnLearner
from colearn.learners.torch import TorchLearner
from colearn.learners.xgboost import XGBoostLearner
from colearn.ml_interface import ModelFormat
from colearn.weights import Schema, decode

DIGITS = load_digits(return_X_y=True)
CANCER = load_breast_cancer(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
LOGISTIC = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.01)
ESTIMATORS = {
    "many classes": (LOGISTIC, DIGITS),
    "two classes": (LOGISTIC, CANCER),
    "decisions": (SGDClassifier(), DIGITS),
    "perceptron": (Perceptron(), CANCER),
    "network": (MLPClassifier((16,)), DIGITS),
    "numbers": (SGDRegressor(), DIABETES),
    "network of numbers": (MLPRegressor(hidden_layer_sizes=(8,)), DIABETES),
}


def run(learner: FrameworkLearner, x: np.ndarray) -> list[np.ndarray]:
    """Predict with the current model in another runtime; all its outputs."""
    session = onnxruntime.InferenceSession(learner.mli_get_current_model().model)
    return session.run(None, {session.get_inputs()[0].name: x})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_scikit_learn_models_predict_the_same(kind, dtype):
    """Labels agree, and probabilities, decisions or numbers but for rounding."""
    estimator, (x, y) = ESTIMATORS[kind]
    x = (x / x.max(axis=0).clip(1)).astype(dtype)
    learner = SklearnLearner(estimator, train=(x, y))
    learner.mli_accept_weights(learner.mli_propose_weights())
    native = learner.mli_get_current_model(ModelFormat.NATIVE).model
    labels, *outputs = run(learner, x)
    expected = native.predict(x)
    if learner.classes is None:
        assert np.allclose(labels[:, 0], expected, rtol=1e-4)
        return
    assert (labels == expected).all()
    judge = native.predict_proba if learner.has_probabilities else native.decision_function
    theirs = outputs[0] if judge(x).ndim == 2 else outputs[0][:, -1]
    assert np.allclose(theirs, judge(x), rtol=1e-3, atol=1e-4)


TREES = {
    "XGBoost": lambda **options: XGBoostLearner(params={"max_depth": 4}, **options),
    "LightGBM": lambda **options: LightGBMLearner(params={"num_leaves": 9}, **options),
    "forest": lambda numbers, base=0.0, **options: ForestLearner(
        RandomForestRegressor() if numbers else ExtraTreesClassifier(), **options
    ),
}


@pytest.mark.parametrize("rounds", [0, 3])
@pytest.mark.parametrize("data", ["many classes", "two classes", "numbers"])
@pytest.mark.parametrize("kind", TREES)
def test_trees_predict_the_same(kind, data, rounds):
    """Grown by several proposals or none yet, trees give the same labels and numbers."""
    x, y = ESTIMATORS[data][1]
    numbers = data == "numbers"
    if data == "two classes":
        y = np.array(["malignant", "benign"])[y]
    base = {"base": 150.0} if numbers else {}
    learner = TREES[kind](train=(x, y), numbers=numbers, **base)
    for _ in range(rounds):
        learner.mli_accept_weights(learner.mli_propose_weights())
    native = learner.mli_get_current_model(ModelFormat.NATIVE).model
    predicted, *outputs = run(learner, x.astype(np.float32))
    if numbers:
        assert np.allclose(predicted[:, 0], native.predict(x), rtol=1e-6)
    else:
        assert (predicted == native.predict(x)).all()
        assert np.allclose(outputs[0], native.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize("data", ["many classes", "two classes", "numbers"])
@pytest.mark.parametrize("library", [xgboost, lightgbm], ids=lambda library: library.__name__)
def test_boosted_trees_predict_as_their_library(library, data, monkeypatch):
    """What ONNX gives is what the booster gives that grew the trees."""
    x, y = ESTIMATORS[data][1]
    make = XGBoostLearner if library is xgboost else LightGBMLearner
    learner = make(train=(x, y), vote=(x, y), numbers=data == "numbers")
    grow, kept = library.train, []
    monkeypatch.setattr(library, "train", lambda *a, **k: kept.append(grow(*a, **k)) or kept[0])
    learner.mli_accept_weights(learner.mli_propose_weights())
    x = x.astype(np.float32)
    zero = np.zeros((len(x), 10) if data == "many classes" else len(x))
    theirs = kept[0].predict(xgboost.DMatrix(x, base_margin=zero) if library is xgboost else x)
    ours = run(learner, x)[-1]
    assert np.allclose(ours[:, -1] if theirs.ndim == 1 else ours, theirs, rtol=1e-5, atol=1e-6)


class Attention(nn.Module):
    """Reads two inputs by name."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.out = nn.Linear(8, 3)

    def forward(self, words, mask):
        read = self.layer(self.words(words))
        return self.out((read * mask[..., None]).sum(1))


MODULES = {
    "network": (
        nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)),
        (6,),
    ),
    "pictures": (
        nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
        ),
        (1, 8, 8),
    ),
}


@pytest.mark.parametrize("kind", MODULES)
def test_torch_modules_predict_the_same(kind):
    """Any number of samples gives the module's own outputs but for rounding."""
    module, shape = MODULES[kind]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, *shape)).astype(np.float32)
    learner = TorchLearner(
        module,
        loss=functional.cross_entropy,
        optimizer=torch.optim.Adam,
        train=(x, rng.integers(3, size=50)),
    )
    learner.mli_accept_weights(learner.mli_propose_weights())
    native = learner.mli_get_current_model(ModelFormat.NATIVE).model
    for count in (1, 7):
        (outputs,) = run(learner, x[:count])
        expected = native(torch.from_numpy(x[:count])).detach().numpy()
        assert np.allclose(outputs, expected, atol=1e-5)


def test_modules_of_several_inputs():
    """Inputs by name keep their names."""
    module = Attention().eval()
    inputs = {"words": torch.arange(10).reshape(2, 5), "mask": torch.ones(2, 5)}
    session = onnxruntime.InferenceSession(from_torch(module, inputs))
    many = {"words": torch.arange(15).reshape(3, 5), "mask": torch.rand(3, 5)}
    (outputs,) = session.run(None, {name: value.numpy() for name, value in many.items()})
    assert np.allclose(outputs, module(**many).detach().numpy(), atol=1e-5)


class Unsayable(nn.Module):
    """Decides by the values themselves, which a graph cannot."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 3)

    def forward(self, x):
        return self.out(x) if float(x.sum()) > 0 else self.out(-x)


def test_what_has_no_onnx_form_says_so():
    """One line names the model and another way."""
    learner = TorchLearner(
        Unsayable(),
        loss=functional.cross_entropy,
        optimizer=torch.optim.Adam,
        train=(np.ones((9, 6)), np.zeros(9, int)),
    )
    with pytest.raises(UnsupportedModel, match=r"Unsayable has no ONNX form.*NATIVE") as refusal:
        learner.mli_get_current_model()
    assert "\n" not in str(refusal.value)


def test_safetensors_are_the_canonical_bytes():
    """The tensors alone, in the bytes that proposals travel in."""
    learner = SklearnLearner(SGDClassifier(), train=CANCER)
    weights = learner.mli_get_current_weights().weights
    model = learner.mli_get_current_model(ModelFormat.SAFETENSORS).model
    read = decode([model], Schema.of(weights), {}, None)
    assert all(np.array_equal(read[name], weights[name]) for name in weights)


@pytest.mark.parametrize(
    ("package", "model"),
    [("skl2onnx", "scikit-learn"), ("onnxscript", "torch"), ("onnx", "trees")],
)
def test_missing_converter_names_the_command(package, model, monkeypatch):
    """Without the converter the error holds the exact install command."""
    made = {
        "scikit-learn": lambda: SklearnLearner(SGDClassifier(), train=CANCER),
        "torch": lambda: TorchLearner(
            nn.Linear(30, 2), loss=functional.cross_entropy, optimizer=torch.optim.SGD, train=CANCER
        ),
        "trees": lambda: XGBoostLearner(train=CANCER),
    }
    monkeypatch.delitem(sys.modules, "colearn.learners.onnx_trees", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"pip install 'colearn-protocol\[onnx\]'"):
        made[model]().mli_get_current_model()
