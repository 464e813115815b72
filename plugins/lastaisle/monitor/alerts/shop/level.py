"""How the counts of hours vary together, and what that says about a change of the level at an hour.

The counts of an hour, relative to their expectation, have a level and four kinds of variation: chance of each
hour, an effect of each day, a part that fades within hours, and a level that the weeks before know only
roughly. The first two come from the baseline. The third is estimated here: without it, a shop whose rates
drift smoothly over the day would look as if they jumped.

A change of the level since an hour is estimated by generalised least squares. All hours before it in the same
weeks count, those of the same day most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import gammainc, gammaincc

from lastaisle.baseline.fit import DAY, WEEK, day_effects

if TYPE_CHECKING:
    from lastaisle.baseline.fit import Baseline, Floats, Ints, Series

DEVIATIONS: Final = 1.96
"""So many standard deviations are half of an interval of 95 %."""
#: The level of the shop before a change is known this well by the baseline alone, in standard deviations.
_LEVEL_SPREAD: Final = 0.05
#: The effect of a holiday, in standard deviations.
_HOLIDAY_SPREAD: Final = 0.1
#: The variation within a day fades with this time, in hours.
_FADE: Final = 6.0
_LAGS: Final = range(1, 7)
_CLOCK: Final = np.arange(DAY)
_CENTRED: Final = np.eye(DAY) - 1 / DAY
_FADING: Final = _CENTRED @ np.exp(-np.abs(_CLOCK[:, None] - _CLOCK) / _FADE) @ _CENTRED
#: What a variation of 1, and a chance of 1 an hour, add to the covariances at _LAGS of a day less its mean.
_OF_FADING: Final = sum(float(np.diag(_FADING, lag).mean()) for lag in _LAGS)
_OF_CHANCE: Final = sum(float(np.diag(_CENTRED, lag).mean()) for lag in _LAGS)


@dataclass(frozen=True)
class Level:
    """How the counts of hours vary around their baseline.

    Attributes:
        baseline: the usual rates of the hours.
        fading: the variance of the part that fades within hours.
        holidays: days whose effects are large, in days since 1970.
    """

    baseline: Baseline
    fading: float
    holidays: Ints

    def covariance(self, hours: Ints, expected: Floats) -> Floats:
        """Return the covariance matrix of counts relative to expectations.

        Args:
            hours: the hours, in order; n of them.
            expected: the expected counts of the hours.
        """
        days = hours // DAY
        apart, days_apart = np.abs(hours[:, None] - hours), np.abs(days[:, None] - days)
        of_days = self.baseline.day_variance * self.baseline.correlation ** np.arange(days_apart.max() + 1)
        of_hours = self.fading * np.exp(-np.arange(apart.max() + 1) / _FADE)
        whole = _LEVEL_SPREAD**2 + of_days[days_apart] + of_hours[apart]
        holiday = np.isin(days, self.holidays)
        whole += _HOLIDAY_SPREAD**2 * ((days_apart == 0) & holiday[:, None])
        whole[np.diag_indices_from(whole)] += self.baseline.dispersion / expected
        return np.asarray(whole)

    def variance_together(self, hours: Ints, expected: Floats) -> float:
        """Return the variance of the count of some hours together, relative to the level before them.

        The level before is that of a week.
        """
        weights = expected / expected.sum()
        alone = float(weights @ (self.covariance(hours, expected) - _LEVEL_SPREAD**2) @ weights)
        return alone * (1 + len(np.unique(hours // DAY)) * DAY / WEEK)


def level_of(baseline: Baseline, past: Series, holidays: Ints) -> Level:
    """Return how past hours vary around their baseline."""
    totals, expected = baseline.expected(past)
    days, effects, _ = day_effects(past, baseline)
    usual = np.isin(past.days, days) & ~np.isin(past.days, baseline.unusual_days) & (expected > 0)
    hours, wanted = past.hours[usual], expected[usual]
    rest = totals[usual] / wanted - 1 - effects[np.searchsorted(days, past.days[usual])]
    shared = 0.0
    for lag in _LAGS:
        later = np.searchsorted(hours, hours + lag)
        later[later == len(hours)] = 0
        pair = (hours[later] == hours + lag) & (hours[later] // DAY == hours // DAY)
        first, second = np.flatnonzero(pair), later[pair]
        weight = np.sqrt(wanted[first] * wanted[second])
        shared += float((weight * rest[first] * rest[second]).sum() / max(weight.sum(), 1e-9))
    chance = baseline.dispersion / float(wanted.mean())
    return Level(baseline, max((shared - _OF_CHANCE * chance) / _OF_FADING, 0.0), holidays)


@dataclass(frozen=True)
class Steps:
    """What some hours say about a change of the level since each of several hours.

    Attributes:
        hours: the n hours with an expectation.
        counted: their counts.
        expected: their expected counts.
        starts: the k hours of change.
        moved: n by k, the sum of whitened change times whitened counts, up to each hour.
        known: n by k, the information about the change, up to each hour.
        shared: n by k, the information that a change shares with the first of the changes.
    """

    hours: Ints
    counted: Floats
    expected: Floats
    starts: Ints
    moved: Floats
    known: Floats
    shared: Floats


def steps_of(level: Level, series: Series, first: int) -> Steps:
    """Return what hours say about a change at each hour from a first one.

    Args:
        level: how the hours vary.
        series: the hours, also before the first change.
        first: the hour of the first change.
    """
    totals, expected = level.baseline.expected(series)
    some = expected > 0
    hours, counted, wanted = series.hours[some], totals[some], expected[some]
    starts = hours[hours >= first]
    later = (hours[:, None] >= starts).astype(float)
    root = np.linalg.cholesky(level.covariance(hours, wanted))
    columns = np.column_stack([counted / wanted - 1, later])
    white = solve_triangular(root, columns, lower=True, overwrite_b=True, check_finite=False)
    counts, changes = white[:, :1], white[:, 1:]
    return Steps(
        hours=hours,
        counted=counted,
        expected=wanted,
        starts=starts,
        moved=np.cumsum(changes * counts, axis=0),
        known=np.cumsum(changes * changes, axis=0),
        shared=np.cumsum(changes * changes[:, :1], axis=0),
    )


def chance_of(change: Floats, variance: Floats, sign: int) -> Floats:
    """Return the probability that chance alone makes a change for the worse so great.

    Counts have the shape of Poisson's distribution, with the variance that was measured: by chance, great
    rises come more often than great drops.

    Args:
        change: relative to the expectation.
        variance: of the change.
        sign: 1 if less is worse, -1 if more is worse.
    """
    mean = 1 / np.asarray(variance)
    count = np.maximum(mean * (1 + np.asarray(change)), 0.0)
    probability = gammaincc(count + 1, mean) if sign > 0 else gammainc(np.maximum(count, 1e-9), mean)
    return np.asarray(probability)
