"""Measure models on the same targets: metrics with intervals, paired differences, slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lastaisle.release.report import Estimate, Evaluation, Scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.ranking import Ranking
    from models.sequences import Examples, SessionLog

KS = (1, 5, 10, 20)
SLICE_METRICS = ("recall@20", "mrr@20")
SEED = 0  # of the bootstrap: the same rankings give the same intervals
LONG_PREFIX = 5  # items seen before the target: from here on a session is long
COLD_COUNT = 10  # an item with fewer events in the window is cold


def measure(
    rankings: Mapping[str, Ranking], slices: Mapping[str, Any], level: float
) -> dict[str, Evaluation]:
    """Measure every model, overall and on each slice.

    Args:
        rankings: part (candidate, champion, …) to its ranking of the same examples.
        slices: name to a boolean mask over the examples.
        level: level of the intervals of paired differences.
    """
    result = {}
    for name, ranking in rankings.items():
        others = (
            {other: rankings[other] for other in rankings if other != name} if name == "candidate" else {}
        )
        result[name] = Evaluation(
            name=name,
            overall=_scores(ranking, others, None, level),
            slices={
                part: _scores(ranking.select(rows), _select(others, rows), SLICE_METRICS, level)
                for part, rows in slices.items()
            },
        )
    return result


def _select(rankings: Mapping[str, Ranking], rows: NDArray[np.bool_]) -> dict[str, Ranking]:
    return {name: ranking.select(rows) for name, ranking in rankings.items()}


def _scores(
    ranking: Ranking, others: Mapping[str, Ranking], only: tuple[str, ...] | None, level: float
) -> Scores:
    from models.metrics import bootstrap_interval, per_example
    from models.ranking import summarize

    values = {name: value for name, value in summarize(ranking, KS).items() if only is None or name in only}
    intervals = {
        name: bootstrap_interval(per_example(name, ranking.ranks), ranking.session, seed=SEED)
        for name in values
        if name.startswith(("recall", "mrr", "ndcg"))
    }
    metrics = {}
    for name, value in values.items():
        metric, _, k = name.partition("@")
        low, high = intervals.get(name, (value, value))  # coverage has none
        if metric in ("precision", "hit_rate"):  # recall, scaled: its draws need not be repeated
            scale = int(k) if metric == "precision" else 1
            low, high = (end / scale for end in intervals[f"recall@{k}"])
        metrics[name] = Estimate(value, low, high)
    against = {other: _differences(ranking, others[other], level) for other in others}
    return Scores(len(ranking), metrics, against)


def _differences(ranking: Ranking, other: Ranking, level: float) -> dict[str, Estimate]:
    from models.metrics import bootstrap_difference, per_example

    return {
        name: Estimate(
            *bootstrap_difference(
                per_example(name, ranking.ranks),
                per_example(name, other.ranks),
                ranking.session,
                seed=SEED,
                level=level,
            )
        )
        for name in SLICE_METRICS
    }


def slices_of(examples: Examples, trained_on: SessionLog) -> dict[str, NDArray[np.bool_]]:
    """Cut the examples into slices.

    first_time and returning by the shopper; short and long by the items seen before the target (long: from
    5 on); cold_items by a target that the candidate's window has fewer than 10 times, or never. Where no
    shopper of the log returns, as where none is known, that pair of slices is left out.

    Args:
        examples: the evaluation targets.
        trained_on: the candidate's window.

    Returns:
        name to bool [n_examples]; only slices that have a target.
    """
    import numpy as np

    long = examples.position >= LONG_PREFIX
    events = np.bincount(trained_on.items, minlength=len(trained_on.catalogue))
    counts = dict(zip(trained_on.catalogue, events, strict=True))
    cuts = {
        "short_sessions": ~long,
        "long_sessions": long,
        "cold_items": np.array([counts.get(item, 0) < COLD_COUNT for item in examples.targets], bool),
    }
    returning = examples.log.context.get("returning")
    if returning is not None and returning.any():
        cuts["returning"] = returning[examples.session]
        cuts["first_time"] = ~cuts["returning"]
    return {name: rows for name, rows in cuts.items() if rows.any()}
