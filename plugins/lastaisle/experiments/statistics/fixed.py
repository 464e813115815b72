"""The ordinary test with one look at the end, and how many units it needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from lastaisle.experiments.statistics.sequences import critical_value, tuned_rho

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def z_value(alpha: float) -> float:
    """Return half of the width of a normal interval in standard errors: 1.96 for an alpha of 0.05."""
    return float(norm.ppf(1 - alpha / 2))


def p_value(difference: Any, variance: Any) -> Floats:
    """Return the two-sided p-value of a difference; 1 where the variance is not above 0.

    Args:
        difference: the estimates.
        variance: the variances of the estimates.
    """
    difference, variance = np.asarray(difference, dtype=float), np.asarray(variance, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = 2 * norm.sf(np.abs(difference) / np.sqrt(variance))
    return np.where(variance > 0, value, 1.0)


def power_of_test(
    units: float,
    baseline: float,
    variance: float,
    relative_effect: float,
    *,
    alpha: float = 0.05,
    shares: tuple[float, float] = (0.5, 0.5),
) -> float:
    """Return the probability that one look after so many units finds the effect.

    Args:
        units: the number of units of both arms together.
        baseline: the metric of the control.
        variance: the variance of the metric from unit to unit.
        relative_effect: the difference, as a share of the baseline.
        alpha: the probability of a difference where there is none.
        shares: the shares of the control and of the other arm, of these units.
    """
    distance = abs(baseline * relative_effect) / math.sqrt(_variance_a_unit(variance, shares) / units)
    limit = z_value(alpha)
    return float(norm.sf(limit - distance) + norm.cdf(-limit - distance))


def required_units(
    baseline: float,
    variance: float,
    relative_effect: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    shares: tuple[float, float] = (0.5, 0.5),
) -> int:
    """Return how many units of both arms together one look at the end needs.

    `(z(1 - alpha / 2) + z(power))² * variance * (1 / share of control + 1 / share of the other) / effect²`

    Args:
        baseline: the metric of the control.
        variance: the variance of the metric from unit to unit; for a share p it is p (1 - p).
        relative_effect: the smallest difference that should be found, as a share of the baseline.
        alpha: the probability of a difference where there is none.
        power: the probability of finding the effect if it is there.
        shares: the shares of the control and of the other arm, of these units.

    Raises:
        ValueError: a number is out of its range.
    """
    return _units(
        z_value(alpha), baseline, variance, relative_effect, alpha=alpha, power=power, shares=shares
    )


def required_units_with_looks(
    baseline: float,
    variance: float,
    relative_effect: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    shares: tuple[float, float] = (0.5, 0.5),
) -> int:
    """Return how many units suffice if somebody looks all the time, and the sequence decides.

    It is an upper bound: it counts the last look only, and the sequence often ends before.

    Args and errors: as `required_units`.
    """
    # A sequence that is tuned for a number of units has the same width there, whatever the number.
    limit = float(critical_value(1.0, tuned_rho(1.0, alpha), alpha)) if 0 < alpha < 1 else math.nan
    return _units(limit, baseline, variance, relative_effect, alpha=alpha, power=power, shares=shares)


def _variance_a_unit(variance: float, shares: tuple[float, float]) -> float:
    """Return the variance of the difference of two arms, times the number of their units."""
    return variance * sum(sum(shares) / share for share in shares)


def _units(
    limit: float,
    baseline: float,
    variance: float,
    relative_effect: float,
    *,
    alpha: float,
    power: float,
    shares: tuple[float, float],
) -> int:
    """Return the units after which the effect is `limit + z(power)` standard errors."""
    effect = baseline * relative_effect
    if not effect or not math.isfinite(effect):
        raise ValueError(f"a baseline and an effect other than 0: received {baseline} and {relative_effect}")
    if not (variance > 0 and math.isfinite(variance)):
        raise ValueError(f"a variance above 0: received {variance}")
    if not (0 < alpha < 1 and alpha / 2 < power < 1 and min(shares) > 0):
        raise ValueError(
            "alpha between 0 and 1, a power above alpha / 2 and below 1, and shares above 0: "
            f"received {alpha}, {power} and {shares}"
        )
    return math.ceil((limit + float(norm.ppf(power))) ** 2 * _variance_a_unit(variance, shares) / effect**2)
