"""Whether a log can tell anything about a policy: how much the policy does of what the log's policy did."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.evaluation.off_policy.log import Floats, Log

LEAST_EFFECTIVE_SIZE: Final = 100.0
LARGEST_SHARE: Final = 0.1
MOST_ERRORS: Final = 5.0  # standard errors that the mean weight may lie from 1


class OverlapError(Exception):
    """The log says too little about the policy: nobody knows what the policy would have earned."""

    exit_code = 5


@dataclass(frozen=True)
class Overlap:
    """How much of what a policy does the log has seen.

    The importance weight of a row is the policy's probability of the row's arm, divided by the propensity. A
    shopper's weight is the sum over the shopper's rows.

    Attributes:
        rows: the rows of the log.
        shoppers: the shoppers of the log.
        effective_sample_size: (Σ W)² / Σ W² over the shoppers' weights W, after Kish: as many shoppers with
            equal weights would tell as much.
        largest_share: the largest share of all weight that one shopper has.
        mean_weight: the mean importance weight of the rows. Its expectation is 1.
        mean_weight_error: the standard error of mean_weight.
        unseen_arms: arms that the policy takes and the log has nowhere.
    """

    rows: int
    shoppers: int
    effective_sample_size: float
    largest_share: float
    mean_weight: float
    mean_weight_error: float
    unseen_arms: tuple[str, ...]


def overlap_of(log: Log, target: Floats) -> Overlap:
    """Measure the overlap.

    Args:
        log: the log.
        target: float64 [n, arms], the policy's probability of each arm at each row.

    Raises:
        ValueError: the probabilities of a row are none.
    """
    _check(log, target)
    if not len(log):
        return Overlap(0, 0, 0.0, 1.0, 0.0, 0.0, ())
    weights = log.taken(target) / log.propensities
    by_shopper = log.sum_by_unit(weights)
    total, n = float(by_shopper.sum()), len(log)
    apart = log.sum_by_unit(weights - total / n)
    shown = np.bincount(log.actions, minlength=log.arms) > 0
    return Overlap(
        n,
        len(by_shopper),
        total**2 / float(np.square(by_shopper).sum()) if total else 0.0,
        float(by_shopper.max()) / total if total else 1.0,
        total / n,
        math.sqrt(float(np.square(apart).sum())) / n,
        tuple(np.array(log.names)[~shown & (target > 0).any(axis=0)].tolist()),
    )


def require_overlap(
    overlap: Overlap,
    *,
    least_effective_size: float = LEAST_EFFECTIVE_SIZE,
    largest_share: float = LARGEST_SHARE,
) -> None:
    """Refuse a policy about which the log says too little.

    Raises:
        OverlapError: an arm was never shown, the weights do not average 1, the effective sample size is too
            small, or one shopper weighs too much. The message names all numbers that are out of bounds.
    """
    found = problems(overlap, least_effective_size, largest_share)
    if found:
        raise OverlapError(
            f"a log of {overlap.rows:,} lists of {overlap.shoppers:,} shoppers cannot tell what this policy "
            f"would have earned: {'; '.join(found)}. Log more lists, give each arm a larger floor, or judge "
            "a policy that is nearer to the logged one"
        )


def problems(overlap: Overlap, least_effective_size: float, largest_share: float) -> list[str]:
    """Return in words which numbers of an overlap are out of bounds."""
    found = []
    if overlap.unseen_arms:
        found.append(f"it takes {', '.join(overlap.unseen_arms)}, which the log never shows")
    if overlap.effective_sample_size < least_effective_size:
        found.append(
            f"the effective sample size is {overlap.effective_sample_size:,.1f} shoppers, "
            f"and should be at least {least_effective_size:,.0f}"
        )
    if overlap.largest_share > largest_share:
        found.append(
            f"one shopper has {overlap.largest_share:.1%} of all weight, at most {largest_share:.0%} is right"
        )
    apart = abs(overlap.mean_weight - 1)
    if overlap.rows and apart > max(MOST_ERRORS * overlap.mean_weight_error, 1e-6):
        found.append(
            f"the weights average {overlap.mean_weight:.3f} ± {overlap.mean_weight_error:.3f} and should "
            "average 1: it does things that the log's policy never does, or the propensities are wrong"
        )
    return found


def _check(log: Log, target: Floats) -> None:
    if target.shape != (len(log), log.arms):
        raise ValueError(f"the target should have the shape {(len(log), log.arms)}, received {target.shape}")
    right = (target >= 0).all(axis=1) & (np.abs(target.sum(axis=1) - 1) < 1e-6) if len(log) else True
    if not np.all(right):
        row = int(np.flatnonzero(~np.asarray(right))[0])
        raise ValueError(f"the probabilities of a row should be 0 or more and add up to 1: {target[row]}")
