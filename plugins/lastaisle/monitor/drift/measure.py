"""How far a day lies from the days before: population stability index, Jensen-Shannon, and shares.

A day is compared with the seven days before, because a week holds every weekday once. So a change that stays
raises the score only for a week: after a week the change has become usual, and the score falls back by
itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from lastaisle.monitor.drift.counts import CRAWLER, LOG_PRICE, MISSING, PRICED, Counts, Series

REFERENCE_DAYS = 7
LEAST_REFERENCE_DAYS = 3  # of the seven with events: fewer days hold too few weekdays
LEAST_VISITS = 200  # in the window and in the reference: with fewer, noise hides any change
LEAST_OF_CATEGORY = 50  # the same for the share of one category, in the mean of the reference's days
SMOOTHING = 0.5
ORDERED = frozenset({"price", "dwell", "session_length"})
ORDERED_GROUPS, LARGEST, LARGEST_ITEMS = 10, 30, 1000
PSI, JENSEN_SHANNON, SHARE, CHANGE = "psi", "jensen_shannon", "share", "change"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """How far one feature of one segment lies from its reference.

    Attributes:
        feature: the feature that is compared.
        segment: the events that are compared: all, or like device=mobile.
        measure: the kind of `score`: psi, jensen_shannon, share, change, churn or adwin.
        score: 0 for no difference; psi in nats, jensen_shannon in bits, the others as shares of 1.
        divergence: Jensen-Shannon in bits, beside a psi; None if the feature is no distribution.
        visits: number of visits in the window; a visit counts once in each bin.
        reference_visits: number of visits in the reference.
    """

    feature: str
    segment: str
    measure: str
    score: float
    divergence: float | None
    visits: int
    reference_visits: int


def smoothed_shares(counts: Floats) -> Floats:
    """Return shares that add up to 1, [..., n_bins], after half a visit is added to every bin.

    So no bin is empty, and no logarithm is infinite. The half visit weighs less, the more visits there are.
    Half a visit is Jeffreys' prior, the estimator of Krichevsky and Trofimov (1981).
    """
    smoothed = counts + SMOOTHING
    shares: Floats = smoothed / smoothed.sum(axis=-1, keepdims=True)
    return shares


def psi(reference: Floats, counts: Floats) -> Floats:
    """Return the population stability index, Σ (p - q) ln(p / q), in nats; [...] from [..., n_bins] each.

    It is Jeffreys' divergence, KL(p, q) + KL(q, p). If nothing changed, it is about χ² with n_bins - 1
    degrees of freedom times 1/n + 1/m, where n and m are the visits of window and reference.
    Source: Yurdakul, Statistical Properties of Population Stability Index, Western Michigan University 2018.
    """
    p, q = smoothed_shares(counts), smoothed_shares(reference)
    index: Floats = ((p - q) * np.log(p / q)).sum(axis=-1)
    return index


def jensen_shannon(reference: Floats, counts: Floats) -> Floats:
    """Return the Jensen-Shannon divergence in bits, 0 to 1; [...] from [..., n_bins] each.

    It is half of KL(p, m) + KL(q, m), where m is the mean of p and q. Unlike psi it stays bounded if a bin is
    (nearly) empty on one side. Most bins of item popularity are so.
    Source: Lin, Divergence Measures Based on the Shannon Entropy, IEEE Trans. Inf. Theory 37 (1991).
    """
    p, q = smoothed_shares(counts), smoothed_shares(reference)
    mean = (p + q) / 2
    divergence: Floats = (p * np.log2(p / mean) + q * np.log2(q / mean)).sum(axis=-1) / 2
    return divergence


def merge_bins(
    feature: str, bins: NDArray[np.object_], reference: Floats, counts: Floats
) -> tuple[Floats, Floats]:
    """Merge small bins, so that their noise does not dominate the score.

    Ordered features are cut into tenths of the reference, as is usual for psi. Missing values and crawlers
    have a group of their own. Of other features the 30 largest bins of the reference stay (of items: 1000),
    and all other bins become one group.

    Returns:
        reference and counts, [n_groups] each.
    """
    group = np.empty(len(bins), np.int64)
    if feature in ORDERED:
        values = bins.astype(np.int64)
        order = np.argsort(values)
        special = np.isin(values, (MISSING, CRAWLER))
        ordinary = np.where(special[order], 0.0, reference[order])
        middle = (np.cumsum(ordinary) - ordinary / 2) / max(ordinary.sum(), 1.0)
        group[order] = np.minimum((middle * ORDERED_GROUPS).astype(np.int64), ORDERED_GROUPS - 1)
        group[special] = ORDERED_GROUPS  # a feature has only one of the two special bins
        _, group = np.unique(group, return_inverse=True)
    else:
        largest = LARGEST_ITEMS if feature == "items" else LARGEST
        order = np.argsort(-reference, kind="stable")
        group[order] = np.minimum(np.arange(len(bins)), largest)
    before, now = (np.bincount(group, weights).astype(np.float64) for weights in (reference, counts))
    return before, now


def comparable_series(
    counts: Counts, day: date
) -> Iterator[tuple[tuple[str, str], tuple[Series, Floats, Floats]]]:
    """Yield each series that has enough visits in the day's window and in its reference.

    Yields:
        (feature, segment), and the series with reference and window, [n_bins] each.
    """
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


def score_day(counts: Counts, day: date) -> list[Score]:
    """Score every feature and segment of a day; an empty list without enough visits on the day or before."""
    scores = []
    for (feature, segment), (series, reference, now) in comparable_series(counts, day):
        sizes = (int(now.sum()), int(reference.sum()))
        if feature == "repeated":
            share = float(now[series.bins == "again"].sum() / now.sum())
            scores.append(Score(feature, segment, SHARE, share, None, *sizes))
            continue
        groups = merge_bins(feature, series.bins, reference, now)
        divergence = float(jensen_shannon(*groups))
        if feature == "items":
            scores.append(Score(feature, segment, JENSEN_SHANNON, divergence, divergence, *sizes))
            new = float(now[reference == 0].sum() / now.sum())
            scores.append(Score("new_items", segment, SHARE, new, None, *sizes))
        else:
            scores.append(Score(feature, segment, PSI, float(psi(*groups)), divergence, *sizes))
            if (feature, segment) == ("category", "all"):
                scores += _category_shares(series, reference, now)
    return [*scores, *_price_levels(counts, day), *_weekday(counts, day)] if scores else []


def _category_shares(series: Series, reference: Floats, now: Floats) -> list[Score]:
    """Score each category against all others. In one psi of all categories a single change is lost."""
    scores = []
    for position in np.flatnonzero(reference >= LEAST_OF_CATEGORY * REFERENCE_DAYS):
        pair = [np.array([side[position], side.sum() - side[position]]) for side in (reference, now)]
        sizes = (int(now[position]), int(reference[position]))
        segment, divergence = f"category={series.bins[position]}", float(jensen_shannon(*pair))
        scores.append(Score("category_share", segment, PSI, float(psi(*pair)), divergence, *sizes))
    return scores


def price_changes(counts: Counts, day: date) -> dict[str, tuple[float, int, int]]:
    """Return the change of prices by segment (all, category=…), with the visits of window and reference.

    The change is the median of price / former price - 1 over the items that window and reference both have,
    weighted by the window's visits. Unlike the distribution of prices, the median stays the same if another
    item sells better, or if a few items are on promotion. So many small categories can be judged one by one.
    """
    changes = {}
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
        changes[segment] = (float(np.expm1(moved[order][middle])), int(visits), int(former))
    return changes


def _price_levels(counts: Counts, day: date) -> list[Score]:
    return [
        Score("price_level", segment, CHANGE, abs(change), None, visits, former)
        for segment, (change, visits, former) in price_changes(counts, day).items()
    ]


def _weekday(counts: Counts, day: date) -> list[Score]:
    """Compare the day's share of the seven days up to the day with the same share a week earlier."""
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
