"""Limits learned from history: what scores did days have on which nothing was wrong?

A psi without a change is about χ², whose cube root is about normal (Wilson and Hilferty, 1931). So of the
cube roots of a series' former scores median and spread are taken, and the limit is the upper end of a
prediction interval for one score more. The spread is Qn (Rousseeuw and Croux, Alternatives to the Median
Absolute Deviation, JASA 1993). Both stand up to half of the history being alarms: breaks need not be removed
from it, and what has become usual stops alarming by itself; and Qn wastes less of a short history than the
median absolute deviation, which needs limits a third higher for the same rate of false alarms.

The rate of false alarms is that of a window, all of its series together (Bonferroni). At 0.001, 50 quiet
windows pass without an alarm in 95 of 100 cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
QN_TO_SIGMA = 2.2219  # of normal values
QN_EFFICIENCY = (
    0.5  # of the deviation's, by which n counts; of normal values 0.82, but the tails of psi are heavier
)
MEDIAN_VARIANCE = np.pi / 2  # of a median of normal values, where that of their mean is 1
LEAST_OF_WEEKDAY = 6
WORTH_WEEKDAYS = 0.8


@dataclass(frozen=True)
class Rule:
    """How limits are learned.

    Attributes:
        false_alarms: the chance of any alarm on a window in which nothing changed.
        history: how many windows before are looked at, at most.
        least_history: a series with fewer former scores has no limit yet, and raises no alarm.
        floor: no limit is below it: a shop whose days are all alike is not woken by the first that is not
            quite so; psi 0.1 is what the trade calls a small change.
        price_floor: the same for a change of prices: on most days their median does not change at all.
    """

    false_alarms: float = 0.001
    history: int = 56
    least_history: int = 14
    floor: float = 0.005
    price_floor: float = 0.02


def limit_of(
    history: Floats, weekdays: NDArray[np.int64], weekday: int, family: int, rule: Rule
) -> float | None:
    """Return the highest score of a series that is no alarm, or None while its history is too short.

    Where each weekday has six former scores or more, and they scatter less around their weekday's median than
    around that of all (by a fifth), the limit lies above the window's own weekday: a Sunday is judged by
    Sundays.

    Args:
        history: former scores, [n], the newest last.
        weekdays: 0 (Monday) to 6 of each, [n].
        weekday: that of the window to judge.
        family: how many series are judged with it.
        rule: how.
    """
    from scipy import special

    roots, weekdays = np.cbrt(history[-rule.history :]), weekdays[-rule.history :]
    if len(roots) < rule.least_history:
        return None
    centre, size, fitted = float(np.median(roots)), len(roots), 1
    spread = _spread(roots - centre)
    names, groups, sizes = np.unique(weekdays, return_inverse=True, return_counts=True)
    if sizes.min() >= LEAST_OF_WEEKDAY and weekday in names:
        medians = np.array([np.median(roots[groups == group]) for group in range(len(names))])
        within = _spread(roots - medians[groups]) * np.sqrt(size / (size - len(names)))  # medians were fitted
        if within < WORTH_WEEKDAYS * spread:
            mine = int(np.flatnonzero(names == weekday)[0])
            centre, spread, fitted, size = float(medians[mine]), within, len(names), int(sizes[mine])
    freedom = max(2.0, QN_EFFICIENCY * len(roots) - fitted)
    quantile = special.stdtrit(freedom, 1 - rule.false_alarms / max(1, family))
    root = centre + quantile * spread * np.sqrt(1 + MEDIAN_VARIANCE / size)
    return max(rule.floor, float(root**3))


def _spread(values: Floats) -> float:
    """Return Qn of [n] values: of all distances between two of them, about the quarter-smallest."""
    n = len(values)
    distances = np.abs(values[:, None] - values[None, :])[_pairs(n)]
    half = n // 2 + 1
    rank = half * (half - 1) // 2 - 1
    small_sample = n / (n + (1.4 if n % 2 else 3.8))
    return float(QN_TO_SIGMA * small_sample * np.partition(distances, rank)[rank])


@cache
def _pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    first, second = np.triu_indices(n, 1)
    return first, second
