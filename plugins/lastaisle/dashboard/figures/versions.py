"""Two versions beside each other: how their figures differ, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import pyarrow.compute as pc

from lastaisle.dashboard.figures.cube import Cube
from lastaisle.dashboard.figures.shop import Group, Metric, Row, metrics_of
from lastaisle.feedback.metrics.intervals import Estimate, difference
from lastaisle.feedback.metrics.read import figures_of


@dataclass(frozen=True)
class Difference:
    """A metric of two versions.

    Attributes:
        metric: the metric.
        one: of the first version.
        other: of the second version.
        value: the first less the second, with its 95 % interval.
        verdict: better, worse, open (the interval holds 0), or unknown (there is no interval).
    """

    metric: Metric
    one: Estimate
    other: Estimate
    value: Estimate
    verdict: Literal["better", "worse", "open", "unknown"]


@dataclass(frozen=True)
class Comparison:
    """Two versions beside each other, over all days on which they made lists.

    Attributes:
        one: the first version.
        other: the second version.
        one_days: the first and the last day of the first version.
        other_days: the first and the last day of the second version.
        common_days: the number of days on which both made lists.
        rows: the figures of both, in this order.
        differences: one a metric.
    """

    one: str
    other: str
    one_days: tuple[date, date]
    other_days: tuple[date, date]
    common_days: int
    rows: tuple[Row, Row]
    differences: Sequence[Difference]

    def of(self, name: str) -> Difference:
        """Return the difference of a metric."""
        return next(one for one in self.differences if one.metric.name == name)


def compare(cube: Cube, one: str, other: str, placement: str | None) -> Comparison | None:
    """Compare two versions by all lists that they made; None if one of them made none there.

    Args:
        cube: the sums.
        one: the first version.
        other: the second version.
        placement: counts this placement alone.
    """
    where = pc.field("model_version").isin([one, other])
    if placement is not None:
        where &= pc.field("placement") == placement
    rows = cube.days.filter(where)
    found = {row["model_version"]: row for row in figures_of(rows, by=("version",), every=None).to_pylist()}
    if one not in found or other not in found:
        return None
    days = {
        version: set(rows.filter(pc.field("model_version") == version)["event_date"].to_pylist())
        for version in (one, other)
    }
    groups = [Group(version, {"model_version": version}, row) for version, row in found.items()]
    return Comparison(
        one=one,
        other=other,
        one_days=(min(days[one]), max(days[one])),
        other_days=(min(days[other]), max(days[other])),
        common_days=len(days[one] & days[other]),
        rows=(found[one], found[other]),
        differences=[_difference(metric, found[one], found[other]) for metric in metrics_of(groups)],
    )


def _difference(metric: Metric, one: Row, other: Row) -> Difference:
    first, second = metric.estimate(one), metric.estimate(other)
    value = difference(first, second)
    return Difference(metric, first, second, value, _verdict(value, metric.better))


def _verdict(value: Estimate, better: str) -> Literal["better", "worse", "open", "unknown"]:
    if value.low is None or value.high is None:
        return "unknown"
    if value.low <= 0 <= value.high:
        return "open"
    return "better" if (value.low > 0) == (better == "up") else "worse"
