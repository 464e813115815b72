"""What changed, said so that a person knows where to look: prices of shoes rose by 31 %."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lastaisle.monitor.drift.counts import CRAWLER, DWELL_BINS, LENGTH_BINS, MISSING, PRICE_BINS, Series
from lastaisle.monitor.drift.measure import Floats

_NAMES = {
    "price": "prices",
    "dwell": "dwell times",
    "session_length": "sessions",
    "event_type": "event type",
    "device_type": "device",
    "shopper": "shoppers that are",
    "repeated": "events that repeat one exactly",
    "items": "item",
}


def describe(feature: str, segment: str, series: Series, reference: Floats, now: Floats) -> str:
    """Say what changed most between reference and window, [n_bins] each."""
    of = _of(segment)
    if feature == "new_items":
        new = (reference == 0) & (now > 0)
        share = _percent(now[new].sum() / now.sum())
        return f"{share} of what visits looked at are {int(new.sum()):,} new items"
    if feature == "repeated":
        again = series.bins == "again"
        return f"{_NAMES[feature]} are {_percent(now[again].sum() / now.sum())} of all, " + (
            f"{_percent(reference[again].sum() / reference.sum())} before"
        )
    if feature in ("price", "dwell", "session_length"):
        return _ordered(feature, of, series, reference, now)
    p, q = now / now.sum(), reference / reference.sum()
    if feature == "category_share":
        feature, of = "category", ""
        most = int(np.flatnonzero(series.bins == segment.partition("=")[2])[0])
    else:
        most = int(np.argmax(np.abs((p - q) * np.log((p + 1e-6) / (q + 1e-6)))))
    what = f"{_NAMES.get(feature, feature)} {series.bins[most]}{of}"
    return f"{what} {_moved(p[most] > q[most])} from {_percent(q[most])} to {_percent(p[most])}"


def describe_price_level(segment: str, change: float) -> str:
    """Say by how much most prices changed."""
    return f"prices{_of(segment)} {_changed(1 + change)}"


def describe_weekday(totals: Floats) -> str:
    """Say how the day's number of events compares with that of a week earlier; totals end with the day."""
    return f"visits {_changed(totals[-1] / max(totals[-8], 1.0))} against the same weekday a week before"


def _ordered(feature: str, of: str, series: Series, reference: Floats, now: Floats) -> str:
    """Compare geometric means, or the share of missing values where that changed more."""
    bins = series.bins.astype(np.int64)
    if feature == "session_length":
        return _lengths(of, bins, reference, now)
    missing = bins == MISSING
    lost = [float(counts[missing].sum() / counts.sum()) for counts in (reference, now)]
    if abs(lost[1] - lost[0]) > 0.05 or not now[~missing].sum() or not reference[~missing].sum():
        return f"{_NAMES[feature]}{of} are missing in {_percent(lost[1])}, {_percent(lost[0])} before"
    values = _values(feature, bins[~missing])
    before, after = (
        float(np.exp(np.average(np.log(values), weights=counts[~missing]))) for counts in (reference, now)
    )
    if abs(after / before - 1) < 0.02:  # the middle stayed where it was
        return f"{_NAMES[feature]}{of} are spread otherwise, with the same mean"
    return f"{_NAMES[feature]}{of} {_changed(after / before)}"


def _lengths(of: str, bins: NDArray[np.int64], reference: Floats, now: Floats) -> str:
    """Compare the shares of crawlers where they at least doubled, else the mean numbers of items."""
    crawlers = bins == CRAWLER
    share = [float(counts[crawlers].sum() / counts.sum()) for counts in (reference, now)]
    if share[1] > max(0.002, 2 * share[0]):
        return f"{_percent(share[1])} of the sessions{of} are crawlers, {_percent(share[0])} before"
    values = _values("session_length", bins)[~crawlers]
    before, after = (float(np.average(values, weights=counts[~crawlers])) for counts in (reference, now))
    return f"sessions{of} have {after:.2f} items on average, {before:.2f} before"


def _values(feature: str, bins: NDArray[np.int64]) -> Floats:
    """Return the geometric middle of each bin: prices, milliseconds, items."""
    if feature == "price":
        return np.exp2((bins + 0.5) / PRICE_BINS)
    if feature == "dwell":
        return np.exp2((bins + 0.5) / DWELL_BINS)
    return np.where(bins <= 10, bins, np.exp2((bins + 0.5) / LENGTH_BINS)).astype(np.float64)


def _of(segment: str) -> str:
    name, _, value = segment.partition("=")
    return {
        "all": "",
        "category": f" of category {value}",
        "device": f" on {value}",
        "shopper": f" of {value} shoppers",
    }.get(name, f" of {segment}")


def _moved(up: bool) -> str:
    return "rose" if up else "fell"


def _changed(ratio: float) -> str:
    return f"{_moved(ratio > 1)} by {abs(ratio - 1):.0%}".replace("%", " %")


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")
