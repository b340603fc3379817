"""Attackers: what some members train on, and what they publish instead of an update.

All of them know every honest update of the round before they publish their own, and
the method that will merge it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from colearn.methods.centers import geometric_median
from colearn.methods.moves import distance

Array = NDArray[np.float64]


class Scene(NamedTuple):
    """What attackers know before they publish.

    Attributes:
        honest: The honest members' moves, of shape (members, numbers).
        own: What the attackers' own training gave, likewise.
        strength: The attack's own number.
        rng: Where their randomness comes from.
    """

    honest: Array
    own: Array
    strength: float
    rng: np.random.Generator


Lie = Callable[[Scene], Array]
"""Makes what the attackers publish, shaped like their own."""


def label_flip(scene: Scene) -> Array:
    """What came of training on flipped labels, as it is."""
    return scene.own


def sign_flip(scene: Scene) -> Array:
    """The way back, ``strength`` times as far."""
    return -scene.strength * scene.own


def noise(scene: Scene) -> Array:
    """Noise, ``strength`` times as long as the update."""
    random = scene.rng.normal(size=scene.own.shape)
    scale = np.linalg.norm(scene.own, axis=1) / np.linalg.norm(random, axis=1)
    return scene.own + scene.strength * scale[:, None] * random


def free_ride(scene: Scene) -> Array:
    """No training at all."""
    return np.zeros_like(scene.own)


def little(scene: Scene) -> Array:
    """A little is enough (arXiv 1902.06156): the mean, less some standard deviations."""
    lie = scene.honest.mean(axis=0) - scene.strength * scene.honest.std(axis=0)
    return np.broadcast_to(lie, scene.own.shape)


def backward(scene: Scene) -> Array:
    """Back from the honest centre, so far that a bound on distances just lets it pass.

    ``strength`` counts median distances of the honest to their geometric median.
    """
    moves = [{"all": each} for each in scene.honest]
    center = geometric_median(moves, [1 / len(moves)] * len(moves))
    typical = np.median([distance(each, center) for each in moves])
    way = scene.honest.mean(axis=0)
    lie = center["all"] - scene.strength * typical * way / np.linalg.norm(way)
    return np.broadcast_to(lie, scene.own.shape)


ATTACKS: dict[str, Lie] = {
    "label-flip": label_flip,
    "sign-flip": sign_flip,
    "noise": noise,
    "free-ride": free_ride,
    "little": little,
    "backward": backward,
    "backdoor": label_flip,
}


def poisoned(
    attack: str, x: NDArray[np.float32], y: NDArray[np.int64], last: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """What attackers train on instead of these samples, of classes 0 to ``last``."""
    if attack == "label-flip":
        return x, last - y
    if attack == "backdoor":
        half = len(x) // 2
        return (
            np.concatenate([x[:half], triggered(x[half:])]),
            np.concatenate([y[:half], np.full(len(x) - half, TARGET)]),
        )
    return x, y


TARGET = 7
"""The class that a triggered image shall be taken for."""


def triggered(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The images with a white square of 3 × 3 pixels in the middle."""
    marked = x.reshape(len(x), 14, 14).copy()
    marked[:, 6:9, 6:9] = 1.0
    return marked.reshape(len(x), -1)
