"""Gradients of single samples in JAX, those of dense layers in factors: the same sums, bounded."""

from __future__ import annotations

from functools import cache

import jax
import numpy as np
import optax
import pytest
from flax import linen, nnx
from hypothesis import given
from hypothesis import strategies as st
from jax import numpy as jnp
from jax_privacy import clipped_grad

from colearn.learners.jax_dense import clipped, sample_gradients
from colearn.learners.jax_private import Part, clipped_sum, rows_at_once

RNG = np.random.default_rng(0)
ROWS = 7
X = RNG.normal(size=(ROWS, 16)).astype(np.float32)
Y = RNG.integers(3, size=ROWS)
DRAWS = np.arange(ROWS, dtype=np.uint32)
ALL = np.ones(ROWS, np.bool_)
CROSS_ENTROPY = optax.softmax_cross_entropy_with_integer_labels


def weights(*shapes):
    """Parameters of these shapes."""
    return [RNG.normal(size=shape).astype(np.float32) / 3 for shape in shapes]


def of_function(apply, *shapes):
    """Loss and parameters of a model that is a function of parameters and inputs."""
    return (
        lambda params, x, y, draw: CROSS_ENTROPY(apply(params, x), y).mean(),
        weights(*shapes),
    )


def of_linen(*layers):
    """Loss and parameters of a chain."""
    module = linen.Sequential(layers)
    return of_function(module.apply)[0], module.init(jax.random.key(1), X[:1])


def of_nnx():
    """Loss and parameters of a layer of Flax's other kind."""
    structure, params = nnx.split(nnx.Linear(16, 3, rngs=nnx.Rngs(3)))
    return of_function(lambda params, x: nnx.merge(structure, params)(x))[0], params


def linear(params, x):
    """Outputs of one layer."""
    return x @ params[0]


def perceptron(params, x):
    """Outputs of two."""
    return jax.nn.relu(x @ params[0] + params[1]) @ params[2] + params[3]


def many_axes(params, x):
    """Outputs of a layer whose weight has four."""
    return jnp.einsum("np,pabq->nabq", x, params[0]).sum((1, 2))


def shared(params, x):
    """Outputs that depend on one weight in two ways."""
    return x @ params[0] @ params[0] @ params[1]


def many_places(params, x):
    """Outputs of a layer that is applied to parts of each sample."""
    return (x.reshape(-1, 8, 2) @ params[0]).sum(1)


def repeated(params, x):
    """Outputs of layers in a loop, and one more."""

    def layer(x, weight):
        return jnp.tanh(x @ weight), None

    return jax.lax.scan(layer, x, params[0])[0] @ params[1]


def decayed(params, x, y, draw):
    """A loss that depends on the parameters in another way, too."""
    return CROSS_ENTROPY(x @ params[0], y).mean() + jnp.square(params[0]).sum()


def dropped(params, x, y, draw):
    """A loss with chance in it."""
    keep = jax.random.bernoulli(jax.random.key(draw[0]), 0.5, (1, 16))
    return CROSS_ENTROPY((x * keep) @ params[0], y).mean()


def squared(params, x, y, draw):
    """A loss without bounds."""
    return jnp.square(x @ params[0] - y[:, None]).sum()


def one_hot(params, x, y, draw):
    """A loss that is compiled in a different way."""
    return optax.softmax_cross_entropy(x @ params[0], jax.nn.one_hot(y, 3)).mean()


def images(x):
    """What convolutions take."""
    return x.reshape(-1, 4, 4, 1)


def rows(x):
    """What dense layers take."""
    return x.reshape(len(x), -1)


DENSE, BIASED = [(16, 3)], [(16, 8), (8,), (8, 3), (3,)]
NORMED = linen.Dense(8), linen.LayerNorm(), linen.relu, linen.Dense(3)
FILTERS = images, linen.Conv(2, (3, 3)), linen.relu, rows, linen.Dense(3)
FILTERED = images, linen.Conv(3, (4, 4), padding="VALID"), rows
# What is differentiated, and the shapes of what is known in factors.
MODELS = {
    "linear": (of_function(linear, *DENSE), DENSE),
    "perceptron": (of_function(perceptron, *BIASED), [(16, 8), (8, 3)]),
    "compiled inside": (of_function(jax.jit(perceptron), *BIASED), [(16, 8), (8, 3)]),
    "weights first": (of_function(lambda params, x: (params[0] @ x.T).T, (3, 16)), [(3, 16)]),
    "transposed": (of_function(lambda params, x: x @ params[0].T, (3, 16)), [(3, 16)]),
    "without the axis": (of_function(lambda params, x: (x[0] @ params[0])[None], *DENSE), DENSE),
    "many axes": (of_function(many_axes, (16, 2, 5, 3)), [(16, 2, 5, 3)]),
    "linen": (of_linen(*NORMED), [(16, 8), (8, 3)]),
    "nnx": (of_nnx(), DENSE),
    "numbers": ((squared, weights((16, 1))), [(16, 1)]),
    "one-hot": ((one_hot, weights(*DENSE)), DENSE),
    "dropout": ((dropped, weights(*DENSE)), DENSE),
    "convolution and dense": (of_linen(*FILTERS), [(32, 3)]),
    "shared": (of_function(shared, (16, 16), *DENSE), DENSE),
    "decayed": ((decayed, weights(*DENSE)), []),
    "many places": (of_function(many_places, (2, 3)), []),
    "convolution": (of_linen(*FILTERED), []),
    "layers in a loop": (of_function(repeated, (4, 16, 16), *DENSE), DENSE),
}


@cache
def compiled(name):
    """Its `clipped_sum` and jax-privacy's, of x, y, which are real, and the bound."""
    (loss, params), _ = MODELS[name]

    def own(x, y, real, bound):
        return clipped_sum(loss, params, Part(x, y, DRAWS, real), bound)

    def theirs(x, y, real, bound):
        sums = clipped_grad(loss, l2_clip_norm=bound, batch_argnums=(1, 2, 3))
        return sums(params, x, y, DRAWS, is_padding_example=~real)

    return jax.jit(own), jax.jit(theirs)


def flat(tree):
    """All numbers of a tree."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize("name", MODELS)
def test_which_are_known_in_factors(name):
    """Dense layers' by whatever way they are written, and no others."""
    (loss, params), shapes = MODELS[name]
    found = sample_gradients(loss, params, (X, Y, DRAWS))
    assert [each.array.shape[1:] for each in found] == [
        leaf.shape for leaf in jax.tree.leaves(params)
    ]
    assert [each.array.shape[1:] for each in found if each.outer] == shapes


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("bound", [0.3, 2.0, 1e9])
@pytest.mark.parametrize("count", [ROWS, 4, 0])
def test_sums_are_those_of_jax_privacy(name, bound, count):
    """Whatever is clipped, and however many rows only fill up."""
    own, theirs = (each(X, Y, ALL.cumsum() <= count, bound) for each in compiled(name))
    assert jax.tree.structure(own) == jax.tree.structure(theirs)
    for found, expected in zip(jax.tree.leaves(own), jax.tree.leaves(theirs), strict=True):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_sums_are_those_of_gradients_clipped_by_hand():
    """One sample after the other, each by itself."""
    (loss, params), _ = MODELS["perceptron"]
    expected = 0
    for row in range(ROWS):
        sample = (each[row : row + 1] for each in (X, Y, DRAWS))
        whole = flat(jax.grad(loss)(params, *sample))
        expected = expected + whole * min(1.0, 0.5 / np.linalg.norm(whole))
    found = compiled("perceptron")[0](X, Y, ALL, 0.5)
    np.testing.assert_allclose(flat(found), expected, rtol=1e-4, atol=1e-6)


SIZES = st.sampled_from([0.0, 1e-42, 1e-30, 1e-20, 1e-10, 1.0, 1e10, 1e19, 1e30, np.inf, np.nan])
TARGETS = st.sampled_from([0.0, 1.0, 1e10, 1e18, 3e18, -1e19, 1e25, np.inf, np.nan])


@given(size=SIZES, target=TARGETS, bound=st.sampled_from([1e-3, 0.5, 1.0, 30.0]))
@pytest.mark.parametrize("name", ["numbers", "perceptron", "convolution and dense"])
def test_one_sample_moves_the_sum_by_no_more_than_the_bound(name, size, target, bound):
    """Whatever it holds, and even where squares vanish or exceed all numbers."""
    total = compiled(name)[0]
    x, y = X.copy(), Y.astype(np.float32) if name == "numbers" else Y
    x[-1] = x[-1] * np.float32(size) if size else 0
    if name == "numbers":
        y[-1] = target
    apart = flat(total(x, y, np.arange(ROWS) == ROWS - 1, bound))
    assert np.linalg.norm(apart.astype(np.float64)) <= bound * (1 + 1e-4)
    without, everything = (flat(total(x, y, ALL.cumsum() <= n, bound)) for n in (ROWS - 1, ROWS))
    assert np.linalg.norm(everything - without) <= bound * (1 + 1e-4) + 1e-5 * ROWS
    assert np.linalg.norm(everything) <= ROWS * bound * (1 + 1e-4)


@pytest.mark.parametrize("size", [1e-19, 1e-20, 1e-21])
def test_squares_that_vanish_do_not_let_a_gradient_through(size):
    """A tiny input whose error is huge: neither's square can be told, their product can."""
    x, y = np.full((1, 16), size, np.float32), np.float32([5e18])
    gradients = sample_gradients(squared, weights((16, 1)), (x, y, DRAWS[:1]))
    assert gradients[0].outer is not None
    total = clipped(gradients, ALL[:1], 1e-3)
    assert np.linalg.norm(total[0]) <= 1e-3 * (1 + 1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_sample_that_is_not_finite_leaves_the_others_alone(value):
    """It counts nothing, and the sum is theirs."""
    total = compiled("perceptron")[0]
    x = X.copy()
    x[2, 3] = value
    everything, others = total(x, Y, ALL, 0.5), total(X, Y, np.arange(ROWS) != 2, 0.5)
    if value < np.inf:  # which is large but a number: it counts as much as the bound
        assert np.linalg.norm(flat(everything) - flat(others)) <= 0.5 + 1e-4
    else:
        np.testing.assert_allclose(flat(everything), flat(others), atol=1e-6)


def test_only_what_is_formed_takes_memory():
    """Many samples at once go through wide dense layers, few through what has no factors."""
    wide = linen.Sequential([linen.Dense(2_000), linen.relu, linen.Dense(2_000), linen.Dense(3)])
    params = jax.eval_shape(wide.init, jax.random.key(0), X)
    loss, _ = of_function(wide.apply)
    assert rows_at_once(loss, params, (X, Y)) > 8_000

    def decay(params, *sample):
        return loss(params, *sample) + optax.global_norm(params)

    assert 1 <= rows_at_once(decay, params, (X, Y)) <= 2**25 / 4e6
