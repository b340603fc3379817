"""Your Keras model: built and compiled as ever, on scikit-learn's digits, by five learners.

Keras runs on one backend in a process, the one that KERAS_BACKEND names when it is
first imported: jax, torch or tensorflow.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from sklearn.datasets import load_digits

from colearn import Collective
from colearn.learners.keras import KerasLearner

images, labels = load_digits(return_X_y=True)
images = np.float32(images / 16)
parts = zip(np.array_split(images, 6), np.array_split(labels, 6), strict=True)
test, *private = parts

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [keras.Input((64,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10)]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer=keras.optimizers.Adam(0.003), loss=loss)
learners = [KerasLearner(model, train=each, policy="not-worse") for each in private]


def accuracy():
    return learners[0].evaluate(learners[0].mli_get_current_weights(), test)


print(f"before: {accuracy():.1%} of unseen digits are read correctly")
result = Collective(learners, method="fast").run(rounds=10)
print(f"after {len(result.rounds)} rounds: {accuracy():.1%}")
