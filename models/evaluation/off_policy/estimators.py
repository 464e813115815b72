"""What a policy would have earned a list: estimators by importance weights, by a model, and by both.

With the propensity p of a row's arm a, its reward r, the policy's probability π of each arm, the weight
w = π(a) / p and predicted rewards q:

    IPS     mean of w r                                    unbiased, varies most
    SNIPS   Σ w r / Σ w                                    slightly biased, varies less
    DM      mean of Σ π q                                  varies least, as biased as the predictions
    DR      mean of Σ π q + w (r - q(a))                   unbiased if the propensities are right

Dudík, Langford and Li (2011) describe DM and DR, Swaminathan and Joachims (2015) SNIPS. The standard errors
add up the rows of one shopper first, so shoppers may return.

In a log whose propensities follow from earlier rewards, the usual interval is too narrow: the scores of some
hours vary much more than those of others, and somebody looks each hour. The adaptive interval weighs the
hours so that their scores vary about alike (Hadad et al. 2021), predicts rewards from earlier hours only, and
holds at all looks together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Literal

import numpy as np

from models.evaluation.off_policy.log import Floats, Log
from models.evaluation.off_policy.overlap import (
    LARGEST_SHARE,
    LEAST_EFFECTIVE_SIZE,
    overlap_of,
    require_overlap,
)

Estimator = Literal["ips", "snips", "dm", "dr"]
Interval = Literal["fixed", "adaptive"]
ESTIMATORS: Final[tuple[Estimator, ...]] = ("ips", "snips", "dm", "dr")
PLANNED_SHOPPERS: Final = 2_000


@dataclass(frozen=True)
class OffPolicyEstimate:
    """What a policy would have earned a list.

    Attributes:
        value: the estimate.
        low: the lower end of its interval.
        high: the upper end.
        standard_error: of the value; of DM, of the doubly robust estimate.
        effective_sample_size: see `Overlap`.
    """

    value: float
    low: float
    high: float
    standard_error: float
    effective_sample_size: float


def estimate(
    log: Log,
    target: Floats,
    estimator: Estimator = "dr",
    *,
    interval: Interval = "adaptive",
    alpha: float = 0.05,
    planned_shoppers: int = PLANNED_SHOPPERS,
    least_effective_size: float = LEAST_EFFECTIVE_SIZE,
    largest_share: float = LARGEST_SHARE,
) -> OffPolicyEstimate:
    """Estimate what a policy would have earned a list.

    Args:
        log: the log.
        target: float64 [n, arms], the policy's probability of each arm at each row. It may follow from
            earlier rows, never from the row itself or later rows.
        estimator: ips, snips, dm or dr.
        interval: fixed, if the log's propensities follow from no rewards and there is one look; adaptive, if
            they follow from the rewards of lower batches, as a bandit's do, or if there are many looks.
        alpha: one less the coverage of the interval.
        planned_shoppers: the number of shoppers at which an adaptive interval is to be narrowest. Choose it
            before the first look.
        least_effective_size: the least effective sample size.
        largest_share: the largest share of all weight that one shopper may have.

    Raises:
        OverlapError: the log says too little about the policy.
        ValueError: the target's values are no probabilities.
    """
    overlap = overlap_of(log, target)
    require_overlap(overlap, least_effective_size=least_effective_size, largest_share=largest_share)
    size = overlap.effective_sample_size
    numerators, denominators = _scores(log, target, estimator, interval)
    weights = np.ones(len(log)) if interval == "fixed" else log.steadying_weights(target)
    value, error = _weighted_ratio(log, numerators, denominators, weights)
    margin = critical_value(interval, alpha, overlap.shoppers, planned_shoppers) * error
    if estimator != "dm":
        return OffPolicyEstimate(value, value - margin, value + margin, error, size)
    modelled = float((target * log.fit_rewards()).sum(axis=1).mean())
    low, high = min(modelled, value - margin), max(modelled, value + margin)
    return OffPolicyEstimate(modelled, low, high, error, size)


def difference(
    log: Log,
    target: Floats,
    other: Floats,
    *,
    interval: Interval = "adaptive",
    alpha: float = 0.05,
    planned_shoppers: int = PLANNED_SHOPPERS,
    least_effective_size: float = LEAST_EFFECTIVE_SIZE,
    largest_share: float = LARGEST_SHARE,
) -> OffPolicyEstimate:
    """Estimate how much more a policy would have earned a list than another, doubly robust.

    What both policies do alike cancels, so the interval is narrower than those of two estimates. The
    arguments are those of `estimate`; the effective sample size is the smaller one of both policies.

    Raises:
        OverlapError: the log says too little about one of both.
        ValueError: the values of a policy are no probabilities.
    """
    overlaps = [overlap_of(log, policy) for policy in (target, other)]
    for overlap in overlaps:
        require_overlap(overlap, least_effective_size=least_effective_size, largest_share=largest_share)
    apart = target - other
    numerators, denominators = _scores(log, apart, "dr", interval)
    weights = np.ones(len(log)) if interval == "fixed" else log.steadying_weights(apart)
    value, error = _weighted_ratio(log, numerators, denominators, weights)
    margin = critical_value(interval, alpha, overlaps[0].shoppers, planned_shoppers) * error
    size = min(overlap.effective_sample_size for overlap in overlaps)
    return OffPolicyEstimate(value, value - margin, value + margin, error, size)


def critical_value(interval: Interval, alpha: float, shoppers: int, planned_shoppers: int) -> float:
    """Return how many standard errors an interval reaches to each side.

    A fixed interval is the usual one. An adaptive interval is the asymptotic confidence sequence of
    Waudby-Smith et al. (2021): it holds at all moments together, whenever somebody looks and stops.

    Args:
        interval: see `estimate`.
        alpha: one less the coverage.
        shoppers: how many there are by now.
        planned_shoppers: where an adaptive interval is to be narrowest.
    """
    if interval == "fixed":
        return NormalDist().inv_cdf(1 - alpha / 2)
    squared = -2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))
    grown = shoppers * squared / planned_shoppers + 1
    return math.sqrt(2 * grown / (grown - 1) * math.log(math.sqrt(grown) / alpha))


def _scores(
    log: Log, coefficients: Floats, estimator: Estimator, interval: Interval
) -> tuple[Floats, Floats]:
    """Return the numerators and the denominators whose ratio of sums estimates the value; both [n].

    Args:
        log: the log.
        coefficients: float64 [n, arms], a policy's probabilities, or the difference of those of two.
        estimator: the scores of dm are those of dr, which tell how far the model may be off.
        interval: see `estimate`.
    """
    weights = log.taken(coefficients) / log.propensities
    ones = np.ones(len(log))
    if estimator == "ips":
        return weights * log.rewards, ones
    if estimator == "snips":
        return weights * log.rewards, weights
    predicted = log.predict_rewards(from_earlier=interval != "fixed")
    corrections = weights * (log.rewards - log.taken(predicted))
    return (coefficients * predicted).sum(axis=1) + corrections, ones


def _weighted_ratio(
    log: Log, numerators: Floats, denominators: Floats, weights: Floats
) -> tuple[float, float]:
    """Return Σ h x / Σ h y, and its standard error by the delta method over the sums of each shopper."""
    total = float((weights * denominators).sum())
    value = float((weights * numerators).sum()) / total
    rests = log.sum_by_unit(weights * (numerators - value * denominators))
    shoppers = len(rests)
    spread = float(np.square(rests).sum()) * shoppers / max(shoppers - 1, 1)
    return value, math.sqrt(spread) / abs(total)
