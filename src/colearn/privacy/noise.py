"""Randomness that protects people: from the operating system, never from a run's seed.

A run's seed is known to all members, so noise or samples drawn from it hide nothing.
"""

from __future__ import annotations

import secrets
from fractions import Fraction
from math import isqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


_AT_ONCE = 2**14  # numbers: what is made on the way fits into the processor's cache


def secret_generator() -> np.random.Generator:
    """A generator begun from 256 bits of the operating system's randomness.

    Fast, for the noise of training steps. It is not a cryptographic stream.
    """
    return np.random.Generator(np.random.SFC64(secrets.randbits(256)))


def gaussian(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike
) -> NDArray[np.floating]:
    """Draw from the standard normal distribution.

    In float32 several times as fast as ``rng`` itself: by Box and Muller (1958), of 32
    random bits for the radius and 32 for the angle; the largest possible value is 6.66.
    What is added to float64 has to be float64, or the sum's last bits were bare of noise.

    Args:
        rng: Where the bits come from.
        shape: Of the array.
        dtype: Of what it is added to.
    """
    if dtype == np.float64:
        return rng.standard_normal(shape)
    drawn = np.empty(shape, dtype)
    flat = drawn.reshape(-1)
    for start in range(0, flat.size, _AT_ONCE):
        _box_muller(flat[start : start + _AT_ONCE], rng)
    return drawn


def random_bits(rng: np.random.Generator, numbers: int) -> NDArray[np.int32]:
    """Draw what so many normal numbers are made of, two of 64 bits.

    Returns:
        Bits of radii and of angles, shape (2, half as many).
    """
    half = -(-numbers // 2)
    drawn = rng.integers(-(2**63), 2**63 - 1, half, np.int64, endpoint=True)
    return drawn.view(np.int32).reshape(2, half)


def _box_muller(drawn: NDArray[np.float32], rng: np.random.Generator) -> None:
    radius, angle = random_bits(rng, drawn.size).astype(np.float32)
    half = len(radius)
    np.maximum(np.abs(radius, out=radius), 0.5, out=radius)
    np.log(np.multiply(radius, 2.0**-31, out=radius), out=radius)
    np.sqrt(np.multiply(radius, -2.0, out=radius), out=radius)
    np.multiply(angle, np.pi * 2.0**-31, out=angle)
    np.multiply(np.cos(angle), radius, out=drawn[:half])
    other = slice(drawn.size - half)
    np.multiply(np.sin(angle[other], out=angle[other]), radius[other], out=drawn[half:])


def discrete_gaussian(variance: Fraction) -> int:
    """Draw from the discrete Gaussian, P(x) ∝ exp(−x² / 2·variance), exactly.

    Whole-number arithmetic on the operating system's randomness throughout, so that
    no rounding of floats shows through (Canonne, Kamath, Steinke, arXiv 2004.00010).
    """
    scale = isqrt(variance.numerator // variance.denominator) + 1
    while True:
        draw = _discrete_laplace(scale)
        excess = abs(draw) - variance / scale
        if _true_with_exp_minus(excess * excess / (2 * variance)):
            return draw


def _discrete_laplace(scale: int) -> int:
    """Draw from P(x) ∝ exp(−|x| / scale)."""
    while True:
        fraction = secrets.randbelow(scale)
        if not _true_with_exp_minus(Fraction(fraction, scale)):
            continue
        whole = 0
        while _true_with_exp_minus(Fraction(1)):
            whole += 1
        size, negative = fraction + scale * whole, secrets.randbits(1)
        if size or not negative:
            return -size if negative else size


def _true_with_exp_minus(exponent: Fraction) -> bool:
    """True with probability exp(−exponent), for an exponent of at least 0."""
    while exponent > 1:
        if not _true_with_exp_minus(Fraction(1)):
            return False
        exponent -= 1
    count = 1
    while _true_with(exponent / count):
        count += 1
    return count % 2 == 1


def _true_with(probability: Fraction) -> bool:
    """True with a probability between 0 and 1."""
    return secrets.randbelow(probability.denominator) < probability.numerator
