"""Your JAX model: a Flax network on scikit-learn's digits, trained by five learners.

Any model does that is a pure function of its parameters: `from_function` takes one
without Flax. The model, the loss and the optimiser are made once and given to all
learners, so that training is compiled once for all.
"""

import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

from colearn import Collective
from colearn.learners.flax import from_nnx
from colearn.learners.jax import JaxLearner

images, labels = load_digits(return_X_y=True)
images = np.float32(images / 16)
parts = zip(np.array_split(images, 6), np.array_split(labels, 6), strict=True)
test, *private = parts

rngs = nnx.Rngs(0)
model = from_nnx(
    nnx.Sequential(nnx.Linear(64, 64, rngs=rngs), nnx.relu, nnx.Linear(64, 10, rngs=rngs))
)
loss = optax.softmax_cross_entropy_with_integer_labels
optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.003))
learners = [
    JaxLearner(model, loss=loss, optimizer=optimizer, train=each, policy="not-worse")
    for each in private
]


def accuracy():
    return learners[0].evaluate(learners[0].mli_get_current_weights(), test)


print(f"before: {accuracy():.1%} of unseen digits are read correctly")
result = Collective(learners, method="fast").run(rounds=10)
print(f"after {len(result.rounds)} rounds: {accuracy():.1%}")
