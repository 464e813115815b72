"""The change of a measure since a version serves, with an interval that holds at all looks together.

The counts of each day, relative to their expectations, have a level before the version and a level after it.
The day on which the version began has both parts, and its effect falls out of their difference. The estimate
is the weighted least squares of the change, with the variances and correlations of the baseline. Such
estimates of growing data have increments that do not correlate, whatever the correlation of the days. So a
confidence sequence whose clock is the information (1 / variance) holds at every hour.

Source: C. Jennison, B. W. Turnbull, Group Sequential Methods, 2000, chapter 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from lastaisle.baseline.fit import DAY, Baseline, Series
from lastaisle.experiments.statistics.sequences import critical_value, tuned_rho

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

DAYS_BEFORE: Final = 28
"""The level before comes from at most so many days."""
TUNED_FOR: Final = 0.1
"""The sequence is narrowest where a change of this size is just found."""


@dataclass(frozen=True)
class Change:
    """A change, relative to the level before.

    Attributes:
        value: the estimate; -0.1 is a tenth less.
        variance: its variance.
    """

    value: float
    variance: float

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return the interval that misses the truth at any look with a probability of at most alpha."""
        half = float(half_widths(np.array([self.variance]), alpha)[0])
        return self.value - half, self.value + half

    def minus(self, other: Change) -> Change:
        """Return how much more this changed than another measure of the same hours."""
        return Change(self.value - other.value, self.variance + other.variance)


def half_widths(variances: Floats, alpha: float) -> Floats:
    """Return half of the width of the confidence sequence for each variance.

    Args:
        variances: of the estimates, at each look.
        alpha: the probability that the sequence ever misses the truth, to both sides together.
    """
    rho = tuned_rho(_planned_information(alpha), alpha)
    return np.sqrt(variances) * critical_value(1 / variances, rho, alpha)


def _planned_information(alpha: float) -> float:
    """Return the information with which a change of TUNED_FOR is just outside of the interval."""
    limit = float(critical_value(1.0, tuned_rho(1.0, alpha), alpha))
    return (limit / TUNED_FOR) ** 2


def change_since(baseline: Baseline, series: Series, start: int, end: int) -> Change | None:
    """Return the change from the hours before a start to the hours from it to an end.

    Args:
        baseline: fitted to hours before the start.
        series: the hours, also before the start.
        start: the first hour of the version.
        end: the hour after the last that counts.

    Returns:
        None if there are no counts before or after.
    """
    first = start - DAYS_BEFORE * DAY
    hours = series.between(first, end)
    hours = hours.where(~np.isin(hours.days, baseline.unusual_days) | (hours.hours >= start))
    totals, expected = baseline.expected(hours)
    after = hours.hours >= start
    keys, place = np.unique(hours.days * 2 + after, return_inverse=True)
    have, want = np.bincount(place, totals), np.bincount(place, expected)
    some = want > 0
    keys, counted, wanted = keys[some], have[some].astype(float), want[some].astype(float)
    later = keys % 2 == 1
    if not later.any() or later.all() or not counted[~later].sum() > 0:
        return None
    return _weighted_change(baseline, keys // 2, later, counted / wanted - 1, wanted)


def _weighted_change(
    baseline: Baseline, days: Ints, later: NDArray[np.bool_], effects: Floats, expected: Floats
) -> Change:
    """Return the generalised least squares of the change between two levels."""
    apart = np.abs(days[:, None] - days[None, :])
    covariance = baseline.day_variance * baseline.correlation**apart
    covariance[np.diag_indices_from(covariance)] += baseline.dispersion / expected
    design = np.column_stack([np.ones(len(days)), later])
    solved = np.linalg.solve(covariance, np.column_stack([design, effects]))
    precision = np.linalg.inv(design.T @ solved[:, :2])
    level, change = precision @ (design.T @ solved[:, 2])
    base = 1 + level
    return Change(float(change / base), float(precision[1, 1] / base**2))
