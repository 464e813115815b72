"""Limits that are learned from history: the scores of former days show how much quiet days vary.

If nothing changed, a psi is about χ², and the cube root of χ² is about normal (Wilson and Hilferty, 1931). So
a limit is learned from the cube roots of a series' former scores: from their median and their spread. The
limit is the upper end of a prediction interval for one more score. The spread is Qn (Rousseeuw and Croux,
Alternatives to the Median Absolute Deviation, JASA 1993). Median and Qn stay right while less than half of
the history are alarms. Therefore days with a break stay in the history, and a change that has become usual
stops alarming by itself. Qn makes more of a short history than the median absolute deviation does: with that
deviation, limits would have to be a third higher for the same rate of false alarms.

The rate of false alarms is the rate of a window with all its series (Bonferroni). At a rate of 0.001, 50
quiet windows pass without an alarm in 95 of 100 cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
QN_TO_SIGMA = 2.2219  # for normal values
# Qn of n values is as precise as the standard deviation of this share of them. For normal values the share is
# 0.82, but psi has heavier tails.
QN_EFFICIENCY = 0.5
LEAST_HISTORY = 14  # former scores of a series
MEDIAN_VARIANCE = np.pi / 2  # variance of the median of normal values, if the variance of their mean is 1
MIN_SCORES_A_WEEKDAY = 6
MAX_WEEKDAY_SPREAD = 0.8  # of the spread around the median of all days


@dataclass(frozen=True)
class LimitRule:
    """How limits are learned.

    Attributes:
        false_alarms: the chance of any alarm on a window in which nothing changed.
        history: the number of windows before that count, at most.
        least_history: a series with fewer former scores has no limit yet, and raises no alarm.
        floor: no limit is lower than this. So a shop whose days are all alike raises no alarm for its first
            small change. A psi of 0.1 is commonly called a small change.
        price_floor: the same for a change of prices. On most days the median price does not change at all.
    """

    false_alarms: float = 0.001
    history: int = 56
    least_history: int = LEAST_HISTORY
    floor: float = 0.005
    price_floor: float = 0.02


def learn_limit(
    history: Floats, weekdays: NDArray[np.int64], weekday: int, family: int, rule: LimitRule
) -> float | None:
    """Return the highest score of a series that raises no alarm; None while its history is too short.

    A shop may have a weekly rhythm. If each weekday has six former scores or more, and the scores vary around
    the median of their weekday by at least a fifth less than around the median of all, then the limit is
    learned for the window's weekday: Sundays are judged by Sundays.

    Args:
        history: former scores, [n], the newest last.
        weekdays: weekday of each former score, 0 (Monday) to 6, [n].
        weekday: weekday of the window to judge.
        family: number of series that are judged together.
        rule: how limits are learned.
    """
    roots, weekdays = np.cbrt(history[-rule.history :]), weekdays[-rule.history :]
    if len(roots) < rule.least_history:
        return None
    centre, size, fitted = float(np.median(roots)), len(roots), 1
    spread = _spread(roots - centre)
    present, groups, sizes = np.unique(weekdays, return_inverse=True, return_counts=True)
    if sizes.min() >= MIN_SCORES_A_WEEKDAY and weekday in present:
        medians = np.array([np.median(roots[groups == group]) for group in range(len(present))])
        # The factor makes up for the medians, which were fitted to the same scores.
        within = _spread(roots - medians[groups]) * np.sqrt(size / (size - len(present)))
        if within < MAX_WEEKDAY_SPREAD * spread:
            group = int(np.flatnonzero(present == weekday)[0])
            centre, spread, fitted, size = float(medians[group]), within, len(present), int(sizes[group])
    freedom = max(2.0, QN_EFFICIENCY * len(roots) - fitted)
    quantile = special.stdtrit(freedom, 1 - rule.false_alarms / max(1, family))
    root = centre + quantile * spread * np.sqrt(1 + MEDIAN_VARIANCE / size)
    return max(rule.floor, float(root**3))


def _spread(values: Floats) -> float:
    """Return Qn of [n] values: the first quartile, about, of the distances between all pairs of values."""
    n = len(values)
    distances = np.abs(values[:, None] - values[None, :])[_pairs(n)]
    half = n // 2 + 1
    rank = half * (half - 1) // 2 - 1
    small_sample = n / (n + (1.4 if n % 2 else 3.8))
    return float(QN_TO_SIGMA * small_sample * np.partition(distances, rank)[rank])


@cache
def _pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices of both values of each pair."""
    first, second = np.triu_indices(n, 1)
    return first, second
