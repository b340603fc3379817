"""The accountant, against references that share no code with it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import logsumexp
from scipy.stats import norm

from colearn.errors import ConfigError
from colearn.privacy.accounting import (
    Event,
    epsilon,
    noise_multiplier,
    pld_epsilon,
    rdp_epsilon,
    total,
)

DELTA = 1e-5
VOTES = [(20.0, 100), (37.0, 100), (11.0, 30), (65.0, 300), (1.0, 1), (5.0, 4)]
TRAININGS = [Event(1.1, 0.07, 1200), Event(3.0, 0.28, 360), Event(0.8, 0.02, 300)]


def exact_gaussian(noise, times, delta=DELTA):
    """Epsilon of the composed Gaussian mechanism, by the formula of arXiv 1805.06530, theorem 8."""
    mu = math.sqrt(times) / noise

    def excess(value):
        second = math.exp(value + norm.logcdf(-value / mu - mu / 2))
        return norm.cdf(mu / 2 - value / mu) - second - delta

    return brentq(excess, 0, 200) if excess(0) > 0 else 0.0


def renyi_divergence(noise, rate, order):
    """Of one subsampled step, by numerical integration of its definition."""

    def integrand(x):
        ratio = logsumexp([0.0, (2 * x - 1) / (2 * noise**2)], b=[1 - rate, rate])
        return math.exp(order * ratio + norm.logpdf(x, scale=noise))

    top = order + 1
    value, _ = quad(
        integrand, -12 * noise, top + 12 * noise, points=(0, 1, top / 2, top), limit=400
    )
    return math.log(value) / (order - 1)


def reference_rdp(event, delta=DELTA):
    """Epsilon by RDP and the conversion of arXiv 2004.00010, proposition 12."""
    return min(
        renyi_divergence(event.noise_multiplier, event.sampling_rate, order) * event.steps
        + math.log1p(-1 / order)
        - math.log(delta * order) / (order - 1)
        for order in range(2, 30)
    )


def lower_bound(event, delta=DELTA, samples=2**22, width=2e-5):
    """Epsilon of subsampled steps from below, to 0.2 %: losses rounded down, a plain FFT.

    A loss on the grid is at most the true one, so what is convolved is no more than the
    true delta. It is a circle that the FFT adds up on: sums below its lowest loss, where
    they come up again at the top, have probability e^-42 at most (Markov, for e^-loss has
    mean 1), less than what rounding in the FFT is granted. The direction that dominates:
    one record more.
    """
    noise, rate, steps = event
    granted = 1e-8
    losses = (np.arange(samples + 1) - samples // 2) * width
    inner = np.maximum(np.expm1(losses) + rate, 1e-300) / rate
    # The outcome at which the loss log((1-q) + q e^((2x-1)/2s²)) is this.
    x = noise**2 * np.log(inner) + 0.5
    mass = np.diff((1 - rate) * norm.cdf(x, scale=noise) + rate * norm.cdf(x, loc=1, scale=noise))
    spectrum = np.fft.rfft(np.fft.ifftshift(mass))
    together = np.fft.fftshift(np.fft.irfft(spectrum**steps, samples))
    rounded_down = losses[:-1]

    def excess(value):
        above = rounded_down > value
        found = (together[above] * -np.expm1(value - rounded_down[above])).sum()
        return float(found) - granted - delta

    return brentq(excess, 0, losses[-1] / 2)


@pytest.mark.parametrize(("noise", "times"), VOTES)
def test_gaussian_against_the_analytic_formula(noise, times):
    """PLD is within 1 % of the exact value, and the charge is never below it."""
    exact = exact_gaussian(noise, times)
    events = (Event(noise, steps=times),)
    assert pld_epsilon(events, DELTA) == pytest.approx(exact, rel=0.01)
    assert epsilon(events, DELTA) >= exact


@given(mu=st.floats(0.01, 3), times=st.integers(1, 1_000), delta=st.floats(1e-9, 1e-3))
def test_the_charge_is_never_below_the_exact_value(mu, times, delta):
    """For any Gaussian noise, number of votes and delta."""
    noise = math.sqrt(times) / mu
    assert epsilon([Event(noise, steps=times)], delta) >= exact_gaussian(noise, times, delta)


@pytest.mark.parametrize("event", TRAININGS)
def test_subsampled_rdp_against_an_integral(event):
    """RDP of sampled steps is within 1 % of numerical integration of its definition."""
    assert rdp_epsilon((event,), DELTA) == pytest.approx(reference_rdp(event), rel=0.01)


@pytest.mark.parametrize("event", TRAININGS)
def test_subsampled_pld_against_an_fft(event):
    """PLD of sampled steps is above the bound by 1 % at most, and no charge is below it."""
    bound = lower_bound(event)
    assert bound <= pld_epsilon((event,), DELTA) <= bound * 1.01
    assert epsilon([event], DELTA) >= bound
    fewer = event._replace(steps=event.steps * 98 // 100)
    assert pld_epsilon((fewer,), DELTA) < bound, "it finds a fiftieth of the steps not charged"


@pytest.mark.parametrize(("noise", "times"), [(20.0, 100), (37.0, 100), (5.0, 4)])
def test_the_bound_itself(noise, times):
    """Where every record is in every step it lies below the analytic value, by 0.2 % at most."""
    exact = exact_gaussian(noise, times)
    assert exact * (1 - 2e-3) <= lower_bound(Event(noise, 1.0, times)) <= exact


def test_the_charge_is_the_larger():
    """Neither accountant alone can undercharge."""
    events = (Event(20.0, steps=100),)
    assert epsilon(events, DELTA) == max(pld_epsilon(events, DELTA), rdp_epsilon(events, DELTA))


def test_counts_are_counted():
    """A hundred votes in one event, in a hundred, or split, cost the same; and more than one."""
    whole = epsilon([Event(20.0, steps=100)], DELTA)
    assert whole == epsilon([Event(20.0)] * 100, DELTA)
    assert whole == epsilon([Event(20.0, steps=30), Event(20.0, steps=70)], DELTA)
    assert whole > epsilon([Event(20.0, steps=99)], DELTA) > epsilon([Event(20.0)], DELTA)


def test_unlike_events_compose():
    """Two kinds together are the one Gaussian they amount to: precisions add up."""
    together = (Event(10.0, steps=20), Event(20.0, steps=40))
    noise = (20 / 10**2 + 40 / 20**2) ** -0.5
    assert pld_epsilon(together, DELTA) == pytest.approx(exact_gaussian(noise, 1), rel=0.01)
    assert epsilon(together, DELTA) >= exact_gaussian(noise, 1)


def test_nothing_costs_nothing():
    """No event, no cost; and equal events are added up in a fixed order."""
    assert epsilon([], DELTA) == 0
    assert total([Event(2.0), Event(1.0), Event(2.0)]) == (Event(1.0), Event(2.0, steps=2))


@pytest.mark.parametrize(("target", "rate", "steps"), [(2, 1, 100), (1, 1, 30), (8, 0.28, 360)])
def test_noise_is_enough_and_hardly_more(target, rate, steps):
    """The noise solved for keeps the budget, and 1 % less noise would not."""
    noise = noise_multiplier(target, DELTA, sampling_rate=rate, steps=steps)
    assert epsilon([Event(noise, rate, steps)], DELTA) <= target
    assert epsilon([Event(noise * 0.99, rate, steps)], DELTA) > target


def test_no_noise_is_enough_for_nothing():
    """A budget of zero is refused rather than searched for."""
    with pytest.raises(ConfigError, match="take a larger epsilon"):
        noise_multiplier(0, DELTA, steps=10**12)
