"""Metrics of the shop: the figures of the last full hour and of the last full day, by placement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lastaisle.errors import NotEnoughDataError
from lastaisle.feedback.metrics.read import HOUR, figures_reach, read_metrics
from lastaisle.lake.tables import SHOP_METRICS
from lastaisle.monitor.metrics.bounded import MOST, first_named
from lastaisle.monitor.metrics.families import (
    LEFT_OUT,
    SHOP_ABANDONMENT,
    SHOP_CART,
    SHOP_CONVERSION,
    SHOP_CTR,
    SHOP_END,
    SHOP_EXPOSURES,
    SHOP_REVENUE,
    SHOP_SESSIONS,
    Family,
    Sample,
)
from lastaisle.telemetry.shown import one_line

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

READS: Final = (SHOP_METRICS,)
PART: Final = "shop"
PERIODS: Final = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
_FIGURES: Final[Mapping[Family, str]] = {
    SHOP_EXPOSURES: "exposures",
    SHOP_SESSIONS: "sessions",
    SHOP_CTR: "ctr",
    SHOP_CART: "add_to_cart_rate",
    SHOP_CONVERSION: "conversion",
    SHOP_ABANDONMENT: "abandonment",
}


def read_shop(lake: Lake, now: datetime) -> Iterator[Sample]:
    """Yield the figures of the newest hour and the newest day with figures that is over."""
    try:
        last = figures_reach(lake).last
    except NotEnoughDataError:
        return
    left_out = 0
    for period, length in PERIODS.items():
        end = _last_end(last, now, length)
        rows = read_metrics(lake, by=("placement",), every=None, since=end - length, until=end).to_pylist()
        if rows:
            yield Sample(SHOP_END, end.timestamp(), (period,))
        shown, others = first_named({row["placement"]: -row["sessions"] for row in rows}, MOST)
        left_out += len(others)
        for row in rows:
            if row["placement"] in shown:
                yield from _of_placement(row, (one_line(row["placement"]), period))
    yield Sample(LEFT_OUT, left_out, (PART,))


def _last_end(last: datetime, now: datetime, length: timedelta) -> datetime:
    """Return the end of the period that holds the newest figures, or its start while it is not over."""
    zero = datetime(1970, 1, 1, tzinfo=UTC)
    start = zero + (last - HOUR - zero) // length * length
    return start + length if start + length <= now else start


def _of_placement(row: Mapping[str, Any], labels: tuple[str, str]) -> Iterator[Sample]:
    """Yield the figures of a placement; a rate without a denominator is left out."""
    for family, name in _FIGURES.items():
        if row[name] is not None:
            yield Sample(family, row[name], labels)
    for money in row["revenue"] or ():
        yield Sample(SHOP_REVENUE, money["revenue"], (*labels, money["currency"]))
