"""Sentences for people about a change, such as: prices of category shoes rose by 31 %."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lastaisle.monitor.drift.counts import CRAWLER, DWELL_BINS, LENGTH_BINS, MISSING, PRICE_BINS, Series
from lastaisle.monitor.drift.measure import Floats
from lastaisle.telemetry.shown import one_line

_TITLE_CHARACTERS = 80
_NAMES = {
    "price": "prices",
    "dwell": "dwell times",
    "session_length": "sessions",
    "event_type": "event type",
    "device_type": "device",
    "shopper": "shoppers that are",
    "items": "item",
}


def describe_change(
    feature: str,
    segment: str,
    series: Series,
    reference: Floats,
    now: Floats,
    *,
    titles: Mapping[str, str] | None = None,
) -> str:
    """Describe the largest change between reference and window, [n_bins] each.

    Args:
        feature: the feature.
        segment: the segment of the visits.
        series: the bins of the feature.
        reference: the visits of the days before.
        now: the visits of the day.
        titles: the titles of items by id, which stand beside the ids.
    """
    of = _of_segment(segment)
    if feature == "new_items":
        new = (reference == 0) & (now > 0)
        share = _percent(now[new].sum() / now.sum())
        return f"{int(new.sum()):,} new items got {share} of the visits to items"
    if feature == "repeated":
        again = series.bins == "again"
        share, share_now = (_percent(counts[again].sum() / counts.sum()) for counts in (reference, now))
        return f"{share_now} of the events repeat another event exactly, {share} before"
    if feature in ("price", "dwell", "session_length"):
        return _describe_ordered(feature, of, series, reference, now)
    p, q = now / now.sum(), reference / reference.sum()
    if feature == "category_share":
        feature, of = "category", ""
        most = int(np.flatnonzero(series.bins == segment.partition("=")[2])[0])
    else:
        most = int(np.argmax(np.abs((p - q) * np.log((p + 1e-6) / (q + 1e-6)))))
    title = (titles or {}).get(str(series.bins[most])) if feature == "items" else None
    named = f"{series.bins[most]} ({one_line(title[:_TITLE_CHARACTERS])})" if title else series.bins[most]
    subject = f"{_NAMES.get(feature, feature)} {named}{of}"
    return f"{subject} {_rose_or_fell(p[most] > q[most])} from {_percent(q[most])} to {_percent(p[most])}"


def describe_price_level(segment: str, change: float) -> str:
    """Describe the median change of prices."""
    return f"prices{_of_segment(segment)} {_relative_change(1 + change)}"


def describe_weekday(totals: Floats) -> str:
    """Compare the day's number of visits with a week earlier; `totals` ends with the day."""
    return (
        f"visits {_relative_change(totals[-1] / max(totals[-8], 1.0))} against the same weekday a week before"
    )


def _describe_ordered(feature: str, of: str, series: Series, reference: Floats, now: Floats) -> str:
    """Compare geometric means, or the share of missing values if that share changed by more than 0.05."""
    bins = series.bins.astype(np.int64)
    if feature == "session_length":
        return _describe_lengths(of, bins, reference, now)
    missing = bins == MISSING
    lost, lost_now = (float(counts[missing].sum() / counts.sum()) for counts in (reference, now))
    if abs(lost_now - lost) > 0.05 or not now[~missing].sum() or not reference[~missing].sum():
        return f"{_NAMES[feature]}{of} are missing in {_percent(lost_now)}, {_percent(lost)} before"
    values = _bin_middles(feature, bins[~missing])
    before, after = (
        float(np.exp(np.average(np.log(values), weights=counts[~missing]))) for counts in (reference, now)
    )
    if abs(after / before - 1) < 0.02:  # the mean stayed about the same
        return f"{_NAMES[feature]}{of} are distributed in another way, with the same mean"
    return f"{_NAMES[feature]}{of} {_relative_change(after / before)}"


def _describe_lengths(of: str, bins: NDArray[np.int64], reference: Floats, now: Floats) -> str:
    """Compare the shares of crawlers if they more than doubled, else the mean numbers of items."""
    crawlers = bins == CRAWLER
    share, share_now = (float(counts[crawlers].sum() / counts.sum()) for counts in (reference, now))
    if share_now > max(0.002, 2 * share):
        return f"{_percent(share_now)} of the sessions{of} are crawlers, {_percent(share)} before"
    values = _bin_middles("session_length", bins)[~crawlers]
    before, after = (float(np.average(values, weights=counts[~crawlers])) for counts in (reference, now))
    return f"sessions{of} have {after:.2f} items on average, {before:.2f} before"


def _bin_middles(feature: str, bins: NDArray[np.int64]) -> Floats:
    """Return the geometric middle of each bin: a price, milliseconds, or a number of items."""
    if feature in ("price", "dwell"):
        middles: Floats = np.exp2((bins + 0.5) / (PRICE_BINS if feature == "price" else DWELL_BINS))
        return middles
    return np.where(bins <= 10, bins, np.exp2((bins + 0.5) / LENGTH_BINS)).astype(np.float64)


def _of_segment(segment: str) -> str:
    """Return the words that name the segment after a noun; empty for all events."""
    name, _, value = segment.partition("=")
    return {
        "all": "",
        "category": f" of category {value}",
        "device": f" on {value}",
        "shopper": f" of {value} shoppers",
    }.get(name, f" of {segment}")


def _rose_or_fell(rose: bool) -> str:
    return "rose" if rose else "fell"


def _relative_change(ratio: float) -> str:
    return f"{_rose_or_fell(ratio > 1)} by {abs(ratio - 1):.0%}".replace("%", " %")


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")
