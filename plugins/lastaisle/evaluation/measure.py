"""Measure models on the same targets: metrics with intervals, paired differences, slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lastaisle.evaluation.report import CHURN, Estimate, Evaluation, Scores
from models.data.sequences import Examples, SessionLog
from models.evaluation.metrics import coverage_at_k, per_example, resampled_means
from models.evaluation.objectives import NEW_ITEM, NEXT_ITEM, objectives_of
from models.evaluation.ranking import Ranking

KS = (1, 5, 10, 20)
BY_RANK = ("precision", "recall", "hit_rate", "mrr", "ndcg")
RANK_METRICS = tuple(f"{name}@{k}" for name in BY_RANK for k in KS)
COMPARED = ("recall@20", "mrr@20")  # on slices, and in paired differences
LEVEL = 0.95  # level of all intervals except those of paired differences: the gate sets their level
SEED = 0  # seed of the bootstrap: the same rankings give the same intervals
LONG_PREFIX = 5  # a session is long if at least this many items came before the target
COLD_COUNT = 10  # an item with fewer events in the window is cold


@dataclass(frozen=True)
class Lists:
    """The lists of all models for the targets of one objective.

    Attributes:
        rankings: role (candidate, champion, …) to the model's ranking of the same examples.
        slices: name to a boolean mask over these examples.
        churn: [n_examples], the share of the champion's list that the candidate's does not have; None
            without a champion.
    """

    rankings: Mapping[str, Ranking]
    slices: Mapping[str, NDArray[np.bool_]]
    churn: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """Return the number of targets."""
        return len(next(iter(self.rankings.values())))


def measure(lists: Mapping[str, Lists], served: str, level: float) -> dict[str, Evaluation]:
    """Measure every model on each objective, and on each slice of the served objective.

    The candidate is compared with each other model, paired, and the champion with the anchor.

    Args:
        lists: next_item, and new_item if it has targets, to the models' lists.
        served: the objective whose lists services show.
        level: level of the intervals of paired differences.
    """
    scores = {name: _scores(of.rankings, RANK_METRICS, level, of.churn) for name, of in lists.items()}
    parts = {
        part: _scores(
            {name: ranking.select(rows) for name, ranking in lists[served].rankings.items()}, COMPARED, level
        )
        for part, rows in lists[served].slices.items()
        if rows.any()
    }
    return {
        name: Evaluation(
            name,
            overall,
            {part: by_model[name] for part, by_model in parts.items()},
            new_item=scores[NEW_ITEM][name] if lists.get(NEW_ITEM) else None,
        )
        for name, overall in scores[NEXT_ITEM].items()
    }


def _scores(
    rankings: Mapping[str, Ranking],
    names: tuple[str, ...],
    level: float,
    churn: NDArray[np.float64] | None = None,
) -> dict[str, Scores]:
    """Measure every model on the same examples."""
    values = {
        (part, name): per_example(name, ranking.ranks) for part, ranking in rankings.items() for name in names
    }
    pairs = [("candidate", other) for other in rankings if other != "candidate"]
    pairs += [("champion", "anchor")] if "anchor" in rankings else []
    differences = {
        (part, other, name): values[part, name] - values[other, name]
        for part, other in pairs
        for name in COMPARED
    }
    if churn is not None:
        differences["candidate", "champion", CHURN] = churn
    columns = np.stack([*values.values(), *differences.values()], axis=1)
    targets = len(columns)
    means = columns.mean(axis=0) if targets else np.zeros(columns.shape[1])
    drawn = means[None, :]
    if targets:
        drawn = resampled_means(columns, next(iter(rankings.values())).unit, seed=SEED)
    estimates = dict(zip(values, _estimates(means, drawn, LEVEL), strict=False))
    paired = dict(zip(differences, _estimates(means, drawn, level)[len(values) :], strict=True))
    against: dict[str, dict[str, dict[str, Estimate]]] = {part: {} for part in rankings}
    for (part, other, name), estimate in paired.items():
        against[part].setdefault(other, {})[name] = estimate
    return {
        part: Scores(
            targets,
            {name: estimates[part, name] for name in names}
            | (_coverage(ranking) if names is RANK_METRICS else {}),
            against[part],
        )
        for part, ranking in rankings.items()
    }


def _estimates(means: NDArray[np.float64], drawn: NDArray[np.float64], level: float) -> list[Estimate]:
    """Return each column's mean with its percentile interval.

    All numbers are rounded to 12 digits: the order of a sum changes its last digits, and that could put a
    mean that never varies outside its own interval.
    """
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    columns = np.round([means, low, high], 12).T
    return [Estimate(*map(float, ends)) for ends in columns]


def _coverage(ranking: Ranking) -> dict[str, Estimate]:
    """Return coverage at every k, without an interval: a resample shows fewer items than the whole does."""
    shares = {f"coverage@{k}": coverage_at_k(ranking.top, k, ranking.n_items) for k in KS}
    return {name: Estimate(share, share, share) for name, share in shares.items()}


def slices_of(examples: Examples, trained_on: SessionLog) -> dict[str, NDArray[np.bool_]]:
    """Cut the examples into slices.

    - short_sessions and long_sessions: by the number of items before the target (long: 5 or more).
    - cold_items: the candidate's window has the target fewer than 10 times, or never.
    - first_time and returning: whether the shopper was seen before. Both are left out if no shopper returns,
      for example because no shopper is known.
    - next_cart and next_purchase: the session adds the target to the cart, or buys it.

    Args:
        examples: the evaluation targets.
        trained_on: the candidate's window.

    Returns:
        Name to a mask, bool [n_examples]; only slices that have a target.
    """
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
    cuts |= objectives_of(examples)
    return {name: rows for name, rows in cuts.items() if rows.any()}
