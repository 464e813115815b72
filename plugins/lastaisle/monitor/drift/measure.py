"""How far a day lies from the days before it: population stability index, Jensen-Shannon, and shares.

A day is compared with the seven days before it, since a week holds every weekday once. So the score of a
change that stays falls back by itself within a week, when it has become what is usual.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from lastaisle.monitor.drift.counts import CRAWLER, LOG_PRICE, MISSING, PRICED, Counts, Series

REFERENCE_DAYS = 7
LEAST_REFERENCE_DAYS = 3  # of the seven with events: fewer hold too few weekdays
LEAST_VISITS = 200  # on either side: below, the noise of a score hides any change
LEAST_OF_CATEGORY = 50  # in the mean of the reference's days: the same for one category's share
SMOOTHING = 0.5
ORDERED = frozenset({"price", "dwell", "session_length"})
ORDERED_GROUPS, LARGEST, LARGEST_ITEMS = 10, 30, 1000
PSI, JENSEN_SHANNON, SHARE, CHANGE = "psi", "jensen_shannon", "share", "change"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """How far one feature of one segment lies from its reference.

    Attributes:
        feature: what is compared.
        segment: of which events: all, or like device=mobile.
        measure: psi, jensen_shannon, share, change, churn or adwin; what `score` is.
        score: 0 for no difference; psi in nats, jensen_shannon in bits, the others as shares of 1.
        divergence: Jensen-Shannon in bits, beside a psi; None where there is no distribution.
        visits: how many the window has, each counted once for each bin.
        reference_visits: how many the reference has.
    """

    feature: str
    segment: str
    measure: str
    score: float
    divergence: float | None
    visits: int
    reference_visits: int


def shares(counts: Floats) -> Floats:
    """Return shares that add up to 1, [..., n_bins], with half a visit added to every bin.

    So no bin is empty and no logarithm infinite; the more visits there are, the less it weighs. Half a one
    is Jeffreys' prior, the estimator of Krichevsky and Trofimov (1981).
    """
    smoothed = counts + SMOOTHING
    result: Floats = smoothed / smoothed.sum(axis=-1, keepdims=True)
    return result


def psi(reference: Floats, counts: Floats) -> Floats:
    """Return the population stability index, Σ (p - q) ln(p / q), in nats; [...] from [..., n_bins] each.

    It is Jeffreys' divergence, KL(p, q) + KL(q, p). Where nothing changed it is about χ² with n_bins - 1
    degrees of freedom times 1/n + 1/m, n and m being the visits of either side.
    Source: Yurdakul, Statistical Properties of Population Stability Index, Western Michigan University 2018.
    """
    p, q = shares(counts), shares(reference)
    result: Floats = ((p - q) * np.log(p / q)).sum(axis=-1)
    return result


def jensen_shannon(reference: Floats, counts: Floats) -> Floats:
    """Return the Jensen-Shannon divergence in bits, 0 to 1; [...] from [..., n_bins] each.

    Half of KL(p, m) + KL(q, m), m being the mean of p and q: other than psi it stays bounded where a bin is
    (nearly) empty on one side, as most bins of item popularity are.
    Source: Lin, Divergence Measures Based on the Shannon Entropy, IEEE Trans. Inf. Theory 37 (1991).
    """
    p, q = shares(counts), shares(reference)
    mean = (p + q) / 2
    result: Floats = (p * np.log2(p / mean) + q * np.log2(q / mean)).sum(axis=-1) / 2
    return result


def grouped(
    feature: str, bins: NDArray[np.object_], reference: Floats, counts: Floats
) -> tuple[Floats, Floats]:
    """Merge bins, so that none is so small that its noise rules the score.

    Ordered features are cut into tenths of the reference, as psi usually is, with a group of their own for
    missing values and for crawlers. Of the others the 30 largest bins of the reference stay (items: 1000),
    and the rest is one.

    Returns:
        reference and counts, [n_groups] each.
    """
    if feature in ORDERED:
        values = bins.astype(np.int64)
        order = np.argsort(values)
        apart = np.isin(values, (MISSING, CRAWLER))
        known = np.where(apart[order], 0.0, reference[order])
        middle = (np.cumsum(known) - known / 2) / max(known.sum(), 1.0)
        group = np.empty(len(bins), np.int64)
        group[order] = np.minimum((middle * ORDERED_GROUPS).astype(np.int64), ORDERED_GROUPS - 1)
        group[apart] = ORDERED_GROUPS  # a feature has one of the two
        _, group = np.unique(group, return_inverse=True)
    else:
        largest = LARGEST_ITEMS if feature == "items" else LARGEST
        group = np.empty(len(bins), np.int64)
        order = np.argsort(-reference, kind="stable")
        group[order] = np.minimum(np.arange(len(bins)), largest)
    before, now = (np.bincount(group, weights).astype(np.float64) for weights in (reference, counts))
    return before, now


def compared(counts: Counts, day: date) -> Iterator[tuple[tuple[str, str], tuple[Series, Floats, Floats]]]:
    """Yield (feature, segment), and its series with reference and window, [n_bins], of enough visits each."""
    row = counts.row(day)
    before = slice(max(0, row - REFERENCE_DAYS), row)
    if row < 1 or np.count_nonzero(counts.totals[before]) < LEAST_REFERENCE_DAYS:
        return
    for key, series in counts.series.items():
        if key[0] in (LOG_PRICE, PRICED):
            continue
        reference, now = series.counts[before].sum(axis=0), series.counts[row]
        if min(reference.sum(), now.sum()) >= LEAST_VISITS:
            yield key, (series, reference, now)


def scores(counts: Counts, day: date) -> list[Score]:
    """Score every feature and segment of a day; none without enough visits on it or before it."""
    found = []
    for (feature, segment), (series, reference, now) in compared(counts, day):
        sizes = (int(now.sum()), int(reference.sum()))
        if feature == "repeated":
            share = float(now[series.bins == "again"].sum() / now.sum())
            found.append(Score(feature, segment, SHARE, share, None, *sizes))
            continue
        groups = grouped(feature, series.bins, reference, now)
        divergence = float(jensen_shannon(*groups))
        if feature == "items":
            found.append(Score(feature, segment, JENSEN_SHANNON, divergence, divergence, *sizes))
            new = float(now[reference == 0].sum() / now.sum())
            found.append(Score("new_items", segment, SHARE, new, None, *sizes))
        else:
            found.append(Score(feature, segment, PSI, float(psi(*groups)), divergence, *sizes))
            if (feature, segment) == ("category", "all"):
                found += _category_shares(series, reference, now)
    return [*found, *_price_levels(counts, day), *_weekday(counts, day)] if found else []


def _category_shares(series: Series, reference: Floats, now: Floats) -> list[Score]:
    """Score each category against all others: in a psi of all together, that of a single one is lost."""
    found = []
    for position in np.flatnonzero(reference >= LEAST_OF_CATEGORY * REFERENCE_DAYS):
        pair = [np.array([side[position], side.sum() - side[position]]) for side in (reference, now)]
        sizes = (int(now[position]), int(reference[position]))
        segment, divergence = f"category={series.bins[position]}", float(jensen_shannon(*pair))
        found.append(Score("category_share", segment, PSI, float(psi(*pair)), divergence, *sizes))
    return found


def price_changes(counts: Counts, day: date) -> dict[str, tuple[float, int, int]]:
    """Return by how much prices changed, by segment (all, category=…), with the visits on either side.

    It is the median, weighed by the window's visits, of price / former price - 1 over the items that both
    sides have: other than the distribution of prices, it stays where it is when another item sells better, or
    a few are on promotion, so that the many small categories can be looked at one by one.
    """
    found = {}
    row = counts.row(day)
    before = slice(max(0, row - REFERENCE_DAYS), row)
    for (feature, segment), series in counts.series.items():
        if feature != PRICED or row < 1:
            continue
        logs = counts.series[LOG_PRICE, segment].counts
        reference, now = series.counts[before].sum(axis=0), series.counts[row]
        both = (reference > 0) & (now > 0)
        visits, former = float(now[both].sum()), float(reference[both].sum())
        if min(visits, former) < LEAST_VISITS:
            continue
        moved = logs[row][both] / now[both] - logs[before].sum(axis=0)[both] / reference[both]
        order = np.argsort(moved)
        middle = np.searchsorted(np.cumsum(now[both][order]), visits / 2)
        found[segment] = (float(np.expm1(moved[order][middle])), int(visits), int(former))
    return found


def _price_levels(counts: Counts, day: date) -> list[Score]:
    return [
        Score("price_level", segment, CHANGE, abs(change), None, visits, former)
        for segment, (change, visits, former) in price_changes(counts, day).items()
    ]


def _weekday(counts: Counts, day: date) -> list[Score]:
    """Compare the share that the day has of the seven days up to it with that a week earlier."""
    row, totals = counts.row(day), counts.totals
    if row < 2 * REFERENCE_DAYS - 1:
        return []
    pairs = []
    for end in (row - REFERENCE_DAYS, row):
        week = totals[end - REFERENCE_DAYS + 1 : end + 1]
        pairs.append(np.array([totals[end], week.sum() - totals[end]]))
    if min(pair.min() for pair in pairs) < LEAST_VISITS:
        return []
    sizes = (int(pairs[1].sum()), int(pairs[0].sum()))
    return [
        Score("weekday", "all", PSI, float(psi(*pairs)), float(jensen_shannon(*pairs)), *sizes),
    ]
