"""The baseline of a measure: its rate in the same hours of past weeks, and how much it varies by itself.

The rate of each stratum (a placement and a segment) comes from all past hours together. The shape of the week
comes from the hours of the day and the days of the week, and from each hour of the week as far as its counts
tell. So a shop that gets other shoppers than before, such as more mobile phones, has another expectation.

Two kinds of variation are measured, since a shop varies more than chance does. The count of an hour has a
variance of `dispersion` times its expectation. All hours of a day share an effect, which has the variance
`day_variance` relative to the rate; the effects of two days correlate by `correlation` a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.stats import chi2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

DAY: Final = 24
WEEK: Final = 7 * DAY
LEAST_DAYS: Final = 14
"""Fewer days of history give no baseline."""
#: Counts of the week's plain shape that are added to the counts of each hour of the week.
_SHRINKAGE: Final = 400.0
#: A day further away than this many robust standard deviations, such as a day of an outage, is left out.
_UNUSUAL: Final = 6.0
_HIGHEST_CORRELATION: Final = 0.95
#: The variance of days is estimated from few days: this upper end of its interval counts.
_UPPER_END: Final = 0.8
_SHAPE_PARAMETERS: Final = 7


@dataclass(frozen=True)
class Series:
    """The counts of a measure by hour.

    Attributes:
        hours: the hours since 1970, each once, in order.
        totals: the numerators of each hour and stratum, such as sessions with an order.
        units: the denominators of each hour and stratum, such as sessions.
    """

    hours: Ints
    totals: Floats
    units: Floats

    def where(self, chosen: Any) -> Series:
        """Return some of the hours."""
        return Series(self.hours[chosen], self.totals[chosen], self.units[chosen])

    def between(self, first: int, end: int) -> Series:
        """Return the hours from the first, up to the end."""
        return self.where((self.hours >= first) & (self.hours < end))

    @property
    def days(self) -> Ints:
        """The day of each hour, in days since 1970."""
        return self.hours // DAY


@dataclass(frozen=True)
class Baseline:
    """What a measure should be, and how much it varies by itself.

    Attributes:
        rates: the rate of each stratum; NaN for a stratum without history.
        shape: the factor of each hour of the week.
        dispersion: the variance of a count, in multiples of its expectation.
        day_variance: the variance of the days' effects.
        correlation: the correlation of the effects of two days that follow each other.
        unusual_days: the days that were left out, in days since 1970.
    """

    rates: Floats
    shape: Floats
    dispersion: float
    day_variance: float
    correlation: float
    unusual_days: tuple[int, ...]

    def expected(self, series: Series) -> tuple[Floats, Floats]:
        """Return the counts of each hour, and their expectations, over the strata that have a history."""
        known = np.isfinite(self.rates)
        plain = series.units[:, known] @ self.rates[known]
        return series.totals[:, known].sum(axis=1), plain * self.shape[series.hours % WEEK]


def fit_baseline(past: Series) -> Baseline | None:
    """Return the baseline of past hours; None if the hours are too few days, or have no counts.

    Args:
        past: the hours before the moment that is judged.
    """
    unusual: tuple[int, ...] = ()
    for _ in range(2):
        usual = past.where(~np.isin(past.days, unusual))
        if len(np.unique(usual.days)) < LEAST_DAYS or not usual.totals.sum() > 0:
            return None
        rates, shape = _shape_of(usual)
        fitted = Baseline(rates, shape, 1.0, 0.0, 0.0, unusual)
        days, effects, expected = day_effects(past, fitted)
        found = days[_is_unusual(effects, expected)]
        if not len(found) or {*found.tolist()} == {*unusual}:
            break
        unusual = tuple(found.tolist())
    return _with_variation(usual, fitted)


def _shape_of(series: Series) -> tuple[Floats, Floats]:
    """Return the rates of the strata, and the factors of the hours of the week."""
    units = series.units.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = np.where(units > 0, series.totals.sum(axis=0) / units, np.nan)
    rates[rates <= 0] = np.nan
    known = np.isfinite(rates)
    totals = series.totals[:, known].sum(axis=1)
    expected = series.units[:, known] @ rates[known]
    hour, weekday = series.hours % DAY, series.days % 7
    by_hour, by_weekday = np.ones(DAY), np.ones(7)
    for _ in range(4):
        by_hour *= _ratio(hour, totals, expected * by_hour[hour] * by_weekday[weekday], DAY)
        by_weekday *= _ratio(weekday, totals, expected * by_hour[hour] * by_weekday[weekday], 7)
    cell = series.hours % WEEK
    every = np.arange(WEEK)
    plain = by_hour[every % DAY] * by_weekday[every // DAY]
    own = np.bincount(cell, totals, WEEK) + _SHRINKAGE
    shape = plain * own / (np.bincount(cell, expected * plain[cell], WEEK) + _SHRINKAGE)
    return rates, shape * totals.sum() / (expected * shape[cell]).sum()


def _ratio(groups: Ints, totals: Floats, expected: Floats, count: int) -> Floats:
    """Return counts by expectations of each group; 1 for a group without an expectation."""
    have, want = np.bincount(groups, totals, count), np.bincount(groups, expected, count)
    return np.divide(have, want, out=np.ones(count), where=(want > 0) & (have > 0))


def day_effects(series: Series, baseline: Baseline) -> tuple[Ints, Floats, Floats]:
    """Return each day, its count relative to the expectation, less 1, and the expectation."""
    totals, expected = baseline.expected(series)
    days, place = np.unique(series.days, return_inverse=True)
    have, want = np.bincount(place, totals), np.bincount(place, expected)
    some = want > 0
    effects: Floats = have[some] / want[some] - 1
    return days[some], effects, want[some].astype(float)


def _is_unusual(effects: Floats, expected: Floats) -> NDArray[np.bool_]:
    distance = np.abs(effects - np.median(effects))
    spread = 1.4826 * np.median(distance)
    return np.asarray(distance > _UNUSUAL * np.sqrt(spread**2 + 1 / expected))


def _with_variation(series: Series, fitted: Baseline) -> Baseline:
    """Return the baseline with the variation that its own hours show."""
    totals, expected = fitted.expected(series)
    days, effects, day_expected = day_effects(series, fitted)
    place = np.searchsorted(days, series.days)
    inside = np.isin(series.days, days) & (expected > 0)
    level = 1 + effects[np.minimum(place, len(days) - 1)]
    pearson = (totals - expected * level)[inside] ** 2 / expected[inside]
    cells = np.bincount(series.hours % WEEK, expected, WEEK)
    fitted_parameters = DAY + _SHAPE_PARAMETERS + float((cells / (cells + _SHRINKAGE)).sum())
    freedom = inside.sum() - len(days) - fitted_parameters
    # The shape of the week was estimated from these hours too, so new hours lie further from it.
    surprise = 1 + fitted_parameters / max(inside.sum(), 1)
    dispersion = max(surprise * float(pearson.sum() / max(freedom, 1)), 1e-9)
    chance = dispersion / day_expected
    freedom = max(len(days) - _SHAPE_PARAMETERS, 1)
    whole = float((effects**2).sum() / freedom)
    # The upper end of an interval of the whole variance of days; chance alone is known well.
    upper = whole * freedom / float(chi2.ppf(1 - _UPPER_END, freedom))
    follows = np.diff(days) == 1
    shared = float((effects[1:] * effects[:-1])[follows].mean()) if follows.any() else 0.0
    between = max(whole - float(chance.mean()), 0.0)
    correlation = min(max(shared / between, 0.0), _HIGHEST_CORRELATION) if between > 0 else 0.0
    return Baseline(
        rates=fitted.rates,
        shape=fitted.shape,
        dispersion=dispersion,
        day_variance=max(upper - float(chance.mean()), 0.0),
        correlation=correlation,
        unusual_days=fitted.unusual_days,
    )
