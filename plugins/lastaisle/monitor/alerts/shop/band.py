"""The band in which a measure usually lies, hour by hour or day by day: what alerts judge by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lastaisle.baseline.fit import WEEK
from lastaisle.monitor.alerts.shop.episodes import course_of
from lastaisle.monitor.alerts.shop.judge import watched_in
from lastaisle.monitor.alerts.shop.level import DEVIATIONS

if TYPE_CHECKING:
    from lastaisle.baseline.fit import Floats, Ints, Series
    from lastaisle.baseline.hours import ShopHours
    from lastaisle.monitor.alerts.shop.episodes import Course
    from lastaisle.monitor.alerts.shop.level import Level
    from lastaisle.monitor.alerts.shop.limits import ShopDropOptions


@dataclass(frozen=True)
class Band:
    """The usual rate of some periods.

    Attributes:
        starts: the first hour of each period, in hours since 1970.
        usual: the rate that the same hours of past weeks give.
        low: the lower ends of the intervals of 95 %.
        high: the upper ends.
    """

    starts: Ints
    usual: Floats
    low: Floats
    high: Floats


def bands_of(
    shop: ShopHours, measures: Iterable[str], options: ShopDropOptions, lengths: Iterable[int]
) -> Mapping[tuple[str | None, str, int], Band]:
    """Return the bands of each placement and, with several placements, of the whole shop (None).

    Args:
        shop: the figures by hour, placement and segment, of `judge.HOURS_READ` hours.
        measures: the names of the measures.
        options: how strict the judgement is: the hours of a drop teach no band.
        lengths: the lengths of the periods in hours, each of which divides a week.

    Returns:
        Placement, measure and length to the band; without those that have too little history.
    """
    found = {}
    for placement, measure, rule, series in watched_in(shop, measures, options):
        course = course_of(series, rule, shop.complete_until)
        for length in lengths:
            if (band := band_of(course, series, shop.complete_until, length)) is not None:
                found[placement, measure.name, length] = band
    return found


def band_of(course: Course, series: Series, end: int, length: int) -> Band | None:
    """Return the band of the hours that were judged; None without enough history.

    Args:
        course: what became of the measure.
        series: its hours.
        end: the hour after the last that counts. A period that ends later has no band.
        length: the length of a period in hours.
    """
    parts = [
        _band_of_week(level, series.between(week, min(week + WEEK, end // length * length)), length)
        for week, level in sorted(course.levels.items())
    ]
    parts = [part for part in parts if len(part.starts)]
    if not parts:
        return None
    return Band(*(np.concatenate(ends) for ends in zip(*map(_columns, parts), strict=True)))


def _columns(band: Band) -> tuple[Ints, Floats, Floats, Floats]:
    return band.starts, band.usual, band.low, band.high


def _band_of_week(level: Level, series: Series, length: int) -> Band:
    units = series.units[:, np.isfinite(level.baseline.rates)].sum(axis=1)
    expected = level.baseline.expected(series)[1]
    some = (expected > 0) & (units > 0)
    hours, units, expected = series.hours[some], units[some], expected[some]
    if not len(hours):
        return Band(hours, expected, expected, expected)
    starts, period = np.unique(hours // length * length, return_inverse=True)
    weights = np.zeros((len(starts), len(hours)))
    weights[period, np.arange(len(hours))] = expected
    whole = weights.sum(axis=1)
    variance = np.einsum("ph,hk,pk->p", weights, level.covariance(hours, expected), weights) / whole**2
    usual = whole / np.bincount(period, units)
    half = DEVIATIONS * np.sqrt(variance) * usual
    return Band(starts, usual, np.maximum(usual - half, 0.0), usual + half)
