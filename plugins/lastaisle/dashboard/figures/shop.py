"""The figures of the page Shop: rates over time and by group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import and_, or_
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.dashboard.charts import Unit
from lastaisle.dashboard.figures.cube import Cube
from lastaisle.feedback.metrics.figures import group_name, key_columns
from lastaisle.feedback.metrics.intervals import NOTHING, Estimate
from lastaisle.feedback.metrics.read import figures_of
from lastaisle.lake.tables import TIMESTAMP

Row = Mapping[str, Any]

MOST_LINES: Final = 6
MOST_GROUPS: Final = 40
MOST_CURRENCIES: Final = 2
_STEPS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


@dataclass(frozen=True)
class Period:
    """How far back the figures reach, and how they are summed up.

    Attributes:
        days: the number of days, until the end of the newest figures.
        every: hour, day or week.
        name: in the choice.
    """

    days: int
    every: Literal["hour", "day", "week"]
    name: str


PERIODS: Final = {
    "1-hour": Period(1, "hour", "1 day, by hour"),
    "7-hour": Period(7, "hour", "7 days, by hour"),
    "28-day": Period(28, "day", "28 days, by day"),
    "91-day": Period(91, "day", "91 days, by day"),
    "364-day": Period(364, "day", "364 days, by day"),
    "364-week": Period(364, "week", "364 days, by week"),
}


@dataclass(frozen=True)
class Metric:
    """A figure of the shop.

    Attributes:
        name: its key in the texts of help, and in the names of charts.
        title: above its chart.
        unit: of its values.
        better: whether more of it is better, or less.
        estimate: takes the figure with its interval from a row of `figures_of`.
        whole: takes from a row what the figure is divided by.
        counted: what that is, in the plural.
        currency: of a revenue; None for other figures.
    """

    name: str
    title: str
    unit: Unit
    better: Literal["up", "down"]
    estimate: Callable[[Row], Estimate]
    whole: Callable[[Row], float]
    counted: str
    currency: str | None = None


def _rate(name: str) -> Callable[[Row], Estimate]:
    return lambda row: Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _count(name: str) -> Callable[[Row], float]:
    return lambda row: float(row[name])


def _revenue(currency: str) -> Callable[[Row], Estimate]:
    def estimate(row: Row) -> Estimate:
        own = next((one for one in row["revenue"] if one["currency"] == currency), None)
        if own is None:
            return NOTHING
        return Estimate(own["per_session"], own["per_session_low"], own["per_session_high"])

    return estimate


_SHARES: Final = (
    Metric("ctr", "Click-through rate", "share", "up", _rate("ctr"), _count("exposures"), "items shown"),
    Metric("conversion", "Conversion", "share", "up", _rate("conversion"), _count("sessions"), "sessions"),
    Metric(
        "add_to_cart_rate",
        "Added to the cart",
        "share",
        "up",
        _rate("add_to_cart_rate"),
        _count("exposures"),
        "items shown",
    ),
)
_ENGAGEMENT: Final = (
    Metric(
        "abandonment",
        "Checkout abandonment",
        "share",
        "down",
        _rate("abandonment"),
        _count("sessions_checkout"),
        "checkouts",
    ),
    Metric("seconds", "Time in a session", "seconds", "up", _rate("seconds"), _count("sessions"), "sessions"),
    Metric(
        "depth", "Items viewed in a session", "number", "up", _rate("depth"), _count("sessions"), "sessions"
    ),
    Metric(
        "dwell",
        "Dwell on a viewed item",
        "seconds",
        "up",
        lambda row: Estimate(row["dwell_seconds"], None, None),
        _count("viewed"),
        "items viewed",
    ),
)


@dataclass(frozen=True)
class Group:
    """The figures of one group over the whole period.

    Attributes:
        name: such as "version 3".
        keys: the values of the columns that the figures are split by.
        row: its figures.
    """

    name: str
    keys: Mapping[str, Any]
    row: Row


@dataclass(frozen=True)
class ShopFigures:
    """What the page shows of a period.

    Attributes:
        since: its first moment (UTC).
        until: the moment after its last.
        metrics: the metrics; a metric for each currency.
        groups: the groups, of which MOST_GROUPS at most.
        left_out: the number of the other groups.
        moments: the periods, without gaps.
        lines: for each drawn group its name, and its rows by moment.
        begins: the hours in which another version began to serve.
    """

    since: datetime
    until: datetime
    metrics: Sequence[Metric]
    groups: Sequence[Group]
    left_out: int
    moments: Sequence[datetime]
    lines: Sequence[tuple[str, Mapping[datetime, Row]]]
    begins: Sequence[tuple[datetime, str]]


def shop_figures(cube: Cube, period: Period, by: Sequence[str], placement: str | None) -> ShopFigures | None:
    """Return the figures of a period; None if it has none.

    Args:
        cube: the sums.
        period: how far back, and how summed up.
        by: names of `lastaisle.feedback.metrics.figures.BY`.
        placement: counts this placement alone.
    """
    since = _start(cube.end, period)
    table = cube.hours if period.every == "hour" else cube.days
    where = pc.field("hour") >= pa.scalar(since, TIMESTAMP)
    if placement is not None:
        where &= pc.field("placement") == placement
    rows = table.filter(where)
    keys = key_columns(tuple(by))
    groups = [
        Group(group_name(row, keys), {key: row[key] for key in keys}, row)
        for row in figures_of(rows, by=by, every=None).to_pylist()
    ]
    if not groups:
        return None
    groups.sort(key=lambda group: -group.row["exposures"])
    drawn = groups[:MOST_LINES]
    lines = {group.name: dict[datetime, Row]() for group in drawn}
    for row in figures_of(rows.filter(_in_groups(drawn)), by=by, every=period.every).to_pylist():
        lines[group_name(row, keys)][row["period"].astimezone(UTC)] = row
    return ShopFigures(
        since=since,
        until=cube.end,
        metrics=metrics_of(groups),
        groups=_in_order(groups[:MOST_GROUPS], keys),
        left_out=max(0, len(groups) - MOST_GROUPS),
        moments=_moments(lines.values(), _STEPS[period.every]),
        lines=list(lines.items()),
        begins=[(hour, version) for hour, version in cube.begins() if hour >= since],
    )


def metrics_of(groups: Sequence[Group]) -> list[Metric]:
    """Return the metrics, with the revenue of the currencies in which most was earned."""
    earned: dict[str, float] = {}
    for group in groups:
        for one in group.row["revenue"]:
            earned[one["currency"]] = earned.get(one["currency"], 0.0) + one["revenue"]
    currencies = sorted(earned, key=lambda name: (-earned[name], name))[:MOST_CURRENCIES]
    money = [
        Metric(
            "revenue" if number == 0 else f"revenue-{number}",
            f"Revenue a session, {'no currency named' if currency == 'XXX' else currency}",
            "money",
            "up",
            _revenue(currency),
            _count("sessions"),
            "sessions",
            currency,
        )
        for number, currency in enumerate(currencies)
    ]
    return [*_SHARES, *money, *_ENGAGEMENT]


def _start(end: datetime, period: Period) -> datetime:
    """Return the first moment of a period: an hour, a day, or a Monday (UTC)."""
    if period.every == "hour":
        return end - timedelta(days=period.days)
    midnight = (end - timedelta(microseconds=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight - timedelta(days=period.days - 1)
    return first - timedelta(days=first.weekday()) if period.every == "week" else first


def _in_groups(groups: Sequence[Group]) -> pc.Expression:
    """Choose the rows of some groups."""

    def holds(column: str, value: Any) -> pc.Expression:
        field = pc.field(column)
        return field.is_null() if value is None else field == value

    each = (
        reduce(and_, (holds(column, value) for column, value in group.keys.items()), pc.scalar(True))
        for group in groups
    )
    return reduce(or_, each)


def _in_order(groups: Sequence[Group], keys: Sequence[str]) -> list[Group]:
    """Return the groups as readers look for them: the newest version first, else by name."""
    if keys == ["model_version"]:
        return sorted(groups, key=lambda group: -_number(group.keys["model_version"]))
    return sorted(groups, key=lambda group: group.name)


def _number(version: str | None) -> int:
    return int(version) if version is not None and version.isdigit() else -1


def _moments(lines: Any, step: timedelta) -> list[datetime]:
    """Return every period from the first to the last of all lines."""
    known = [moment for rows in lines for moment in rows]
    first, last = min(known), max(known)
    return [first + step * number for number in range((last - first) // step + 1)]
