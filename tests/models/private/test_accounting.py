import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from models.private.accounting import epsilon_of, noise_for, release_noise_for
from models.private.mechanism import Mechanism, MechanismError, Release

DELTA = 1e-6


def gaussian_epsilon(noise, delta):
    """Return epsilon of one Gaussian release by its closed formula (Balle & Wang, ICML 2018, theorem 8)."""

    def missing(epsilon):
        first = norm.cdf(0.5 / noise - epsilon * noise)
        return first - math.exp(epsilon) * norm.cdf(-0.5 / noise - epsilon * noise) - delta

    return brentq(missing, 0.0, 100.0)


def steps_of(noise, steps, rate, **others):
    return Mechanism("shopper", rate, noise, steps, 1.0, 100, **others)


@pytest.mark.parametrize("noise", [0.8, 2.0, 10.0])
def test_one_release_spends_what_the_closed_formula_says(noise):
    spent = epsilon_of([Mechanism("session", 1.0, 0.0, 0, 1.0, 10, (Release("counts", noise),))], DELTA)
    assert spent.pld == pytest.approx(gaussian_epsilon(noise, DELTA), abs=2e-3)
    assert spent.rdp >= spent.pld
    assert spent.epsilon == spent.pld


def test_releases_of_several_trainings_compose_like_one_release_with_less_noise():
    trainings = [Mechanism("session", 1.0, 0.0, 0, 1.0, 10, (Release("counts", 8.0),))] * 4
    assert epsilon_of(trainings, DELTA).pld == pytest.approx(gaussian_epsilon(4.0, DELTA), abs=5e-3)


def test_a_full_sample_at_every_step_composes_like_one_release():
    assert epsilon_of([steps_of(6.0, 9, 1.0)], DELTA).pld == pytest.approx(
        gaussian_epsilon(2.0, DELTA), abs=1e-2
    )


def test_sampling_spends_less_and_more_steps_spend_more():
    full, sampled = (epsilon_of([steps_of(2.0, 100, rate)], DELTA).epsilon for rate in (1.0, 0.01))
    longer = epsilon_of([steps_of(2.0, 400, 0.01)], DELTA).epsilon
    assert sampled < longer < full


def test_the_sampled_steps_bound_the_true_loss_of_one_step():
    """One sampled step: delta at epsilon follows from the densities, integrated here on a fine grid."""
    rate, noise, epsilon = 0.1, 1.0, 1.0
    x = np.linspace(-12, 13, 400_001)
    without, with_unit = norm.pdf(x, 0, noise), norm.pdf(x, 1, noise)
    mixed = (1 - rate) * without + rate * with_unit
    width = x[1] - x[0]
    delta = max(
        np.maximum(mixed - math.exp(epsilon) * without, 0).sum() * width,
        np.maximum(without - math.exp(epsilon) * mixed, 0).sum() * width,
    )
    assert epsilon_of([steps_of(noise, 1, rate)], delta).pld == pytest.approx(epsilon, abs=3e-3)


def test_no_training_spends_nothing():
    assert epsilon_of([], DELTA).epsilon == 0.0


def test_noise_for_spends_the_budget_and_hardly_less():
    noise = noise_for(4.0, DELTA, 0.02, 200)
    assert 3.97 < epsilon_of([steps_of(noise, 200, 0.02)], DELTA).pld <= 4.0
    assert epsilon_of([steps_of(noise * 0.99, 200, 0.02)], DELTA).pld > 4.0


def test_noise_for_leaves_room_for_the_releases():
    releases = (Release("counts", 3.0, 1e-7),)
    noise = noise_for(4.0, DELTA, 0.02, 200, releases)
    assert noise > noise_for(4.0, DELTA, 0.02, 200)
    assert epsilon_of([steps_of(noise, 200, 0.02, releases=releases)], DELTA).pld <= 4.0


def test_release_noise_for_is_that_of_the_closed_formula():
    assert gaussian_epsilon(release_noise_for(1.0, DELTA), DELTA) == pytest.approx(1.0, abs=1e-3)


def test_a_budget_that_the_releases_take_whole_is_refused():
    with pytest.raises(MechanismError, match="spent before the first step"):
        noise_for(1.0, DELTA, 0.02, 200, [Release("counts", 1.0)])


@pytest.mark.parametrize(
    ("delta", "releases", "message"),
    [
        (0.0, (), "delta cannot be 0.0"),
        (1.0, (), "delta cannot be 1.0"),
        (1e-6, (Release("counts", 1.0, 1e-6),), "is spent"),
    ],
)
def test_a_delta_that_leaves_nothing_for_the_noise_is_refused(delta, releases, message):
    with pytest.raises(MechanismError, match=message):
        epsilon_of([steps_of(2.0, 10, 0.1, releases=releases)], delta)


def test_an_epsilon_of_zero_is_refused():
    with pytest.raises(MechanismError, match="epsilon cannot be 0"):
        noise_for(0.0, DELTA, 0.1, 10)
