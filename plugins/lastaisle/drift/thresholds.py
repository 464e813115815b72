"""Limits learned from history: what scores did days have on which nothing was wrong?

A psi without a change is about χ², whose cube root is about normal (Wilson and Hilferty, 1931). So of the
cube roots of a series' former scores the median and the median absolute deviation (MAD) are taken, and the
limit is the upper end of a prediction interval for one score more. Both stand up to half of the history
being alarms: breaks need not be removed from it, and what has become usual stops alarming by itself.

The rate of false alarms is that of a window, all of its series together (Bonferroni). At 0.001, 50 quiet
windows pass without an alarm in 95 of 100 cases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MAD_TO_SIGMA = 1.4826  # of normal values
MAD_EFFICIENCY = 0.37  # a MAD of n normal values knows their spread as well as the deviation of 0.37 n does
MEDIAN_VARIANCE = np.pi / 2  # of a median of normal values, where that of their mean is 1
LEAST_OF_WEEKDAY = 6


@dataclass(frozen=True)
class Rule:
    """How limits are learned.

    Attributes:
        false_alarms: the chance of any alarm on a window in which nothing changed.
        history: how many windows before are looked at, at most.
        least_history: a series with fewer former scores has no limit yet, and raises no alarm.
        floor: no limit is below it: a shop whose days are all alike is not woken by the first that is not
            quite so; psi 0.1 is what the trade calls a small change.
    """

    false_alarms: float = 0.001
    history: int = 56
    least_history: int = 14
    floor: float = 0.005


def limit_of(
    history: Floats, weekdays: NDArray[np.int64], weekday: int, family: int, rule: Rule
) -> float | None:
    """Return the highest score of a series that is no alarm, or None while its history is too short.

    Where each weekday has four former scores or more, spread is taken around each weekday's median, and the
    limit lies above that of the window's own weekday: a Sunday is judged by Sundays.

    Args:
        history: former scores, [n], the newest last.
        weekdays: 0 (Monday) to 6 of each, [n].
        weekday: that of the window to judge.
        family: how many series are judged with it.
        rule: how.
    """
    from scipy import stats

    roots, weekdays = np.cbrt(history[-rule.history :]), weekdays[-rule.history :]
    if len(roots) < rule.least_history:
        return None
    groups = _groups(weekdays, weekday)
    centres = np.array([np.median(roots[groups == group]) for group in range(int(groups.max()) + 1)])
    mine = int(groups[weekdays == weekday][-1]) if groups.any() else 0
    fitted, size = len(centres), int(np.count_nonzero(groups == mine))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(roots - centres[groups])))
    spread *= np.sqrt(len(roots) / (len(roots) - fitted))  # the medians were fitted to the same scores
    freedom = max(2.0, MAD_EFFICIENCY * len(roots) - fitted)
    quantile = stats.t.ppf(1 - rule.false_alarms / max(1, family), freedom)
    root = centres[mine] + quantile * spread * np.sqrt(1 + MEDIAN_VARIANCE / size)
    return max(rule.floor, float(root**3))


def _groups(weekdays: NDArray[np.int64], weekday: int) -> NDArray[np.int64]:
    """Number the weekdays that have a median of their own; all are group 0 where one of them has too few."""
    names, groups, sizes = np.unique(weekdays, return_inverse=True, return_counts=True)
    if sizes.min() < LEAST_OF_WEEKDAY or weekday not in names:
        return np.zeros(len(weekdays), np.int64)
    return groups.astype(np.int64)
