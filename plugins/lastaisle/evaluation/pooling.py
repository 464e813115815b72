"""Join the estimates of several evaluations on different hours into one."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

from lastaisle.evaluation.report import PAIRED_LEVEL, Estimate


def standard_error(estimate: Estimate, level: float = PAIRED_LEVEL) -> float:
    """Return the standard error that an interval of this level has if the error is normal."""
    return (estimate.high - estimate.low) / (2 * _reach(level))


def widened(estimate: Estimate, to: float, level: float = PAIRED_LEVEL) -> Estimate:
    """Return the estimate with an interval of another level, for a normal error.

    Args:
        estimate: the estimate.
        to: the level that its interval gets.
        level: the level that its interval has.
    """
    reach = _reach(to) * standard_error(estimate, level)
    return Estimate(estimate.value, estimate.value - reach, estimate.value + reach)


def pooled(estimates: Sequence[Estimate], level: float = PAIRED_LEVEL) -> Estimate | None:
    """Return the mean of the estimates, each weighed by the inverse of its variance; None without estimates.

    The estimates come from different hours, so their errors do not depend on each other. An estimate without
    any error counts as one with a very small error: models that rank all targets alike differ by exactly 0.

    Args:
        estimates: the estimates.
        level: the level of their intervals, and of the interval that is returned.
    """
    if not estimates:
        return None
    weights = [1 / max(standard_error(each, level), 1e-6) ** 2 for each in estimates]
    total = sum(weights)
    mean = sum(weight * each.value for weight, each in zip(weights, estimates, strict=True)) / total
    reach = _reach(level) / total**0.5
    return Estimate(mean, mean - reach, mean + reach)


def _reach(level: float) -> float:
    """Return how many standard errors an interval of this level reaches to each side."""
    return NormalDist().inv_cdf((1 + level) / 2)
