"""How the updates of silos become one: a mean, a trimmed mean, or Multi-Krum.

The server never trusts an update. An update with other shapes or with values that are not finite is refused.
A long update is cut to the agreed length, and to a multiple of the usual length. A number of sessions counts
up to a limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.federated.updates import Arrays, Update, clipped, length_of
from models.stored import ModelError

AGGREGATIONS = ("mean", "trimmed", "krum", "secure")
"""The rules; `secure` is a mean whose terms the server never sees."""
USUAL = 2.0
"""An update may be so many times as long as the median of its round."""


class AggregationError(ModelError):
    """Too few updates to aggregate by a rule."""


@dataclass(frozen=True)
class Bounds:
    """What the server accepts from a silo.

    Attributes:
        clip: the greatest length of a change.
        max_sessions: the greatest number of sessions that counts.
    """

    clip: float
    max_sessions: int


def refusal_of(update: Update, weights: Mapping[str, NDArray[np.float32]]) -> str | None:
    """Return why an update cannot be used, or None.

    Args:
        update: as a silo sent it.
        weights: the present weights, whose names and shapes the change should have.
    """
    if set(update.change) != set(weights):
        return f"it has {len(update.change)} arrays with other names than the model's {len(weights)}"
    for name, array in update.change.items():
        if array.shape != weights[name].shape:
            return f"{name} has shape {array.shape}, expected {weights[name].shape}"
        if not np.isfinite(array).all():
            return f"{name} has values that are not finite"
    if update.sessions < 1:
        return f"it is of {update.sessions} sessions, expected at least 1"
    return None


def bounded(updates: Sequence[Update], bounds: Bounds) -> list[Update]:
    """Bound the updates of a round: their length, their sessions, and their shares of items.

    The length is bounded by `clip` and by USUAL times the median length of the round. With the second bound
    an agreed length that is too generous does little harm.
    """
    lengths = [length_of(update.change) for update in updates]
    clip = min(bounds.clip, USUAL * float(np.median(lengths))) if lengths else bounds.clip
    return [
        replace(
            update,
            change=clipped(update.change, clip),
            sessions=min(update.sessions, bounds.max_sessions),
            popularity=_shares(update.popularity),
        )
        for update in updates
    ]


def _shares(popularity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return shares that are finite, not negative, and sum to at most 1."""
    shares = np.clip(np.nan_to_num(popularity, nan=0.0, posinf=0.0, neginf=0.0), 0.0, 1.0)
    return np.asarray(shares / max(1.0, float(shares.sum())), np.float32)


def aggregate(updates: Sequence[Update], rule: str, hostile: int = 0) -> Update:
    """Make one update of several.

    Args:
        updates: at least one; bounded before.
        rule: mean, trimmed or krum.
        hostile: how many silos may be hostile; trimmed and krum stand that many.

    Raises:
        AggregationError: the rule needs more updates than there are.
    """
    if not updates:
        raise AggregationError("no silo sent an update that can be used")
    if rule == "trimmed":
        return _trimmed_mean(updates, hostile)
    if rule == "krum":
        return weighted_mean(multi_krum(updates, hostile))
    return weighted_mean(updates)


def weighted_mean(updates: Sequence[Update]) -> Update:
    """Return the mean of updates, weighted by their sessions (McMahan et al. 2017)."""
    weights = np.array([update.sessions for update in updates], np.float64)
    shares = weights / weights.sum()

    def mean(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        total = sum(share * array.astype(np.float64) for share, array in zip(shares, arrays, strict=True))
        return np.asarray(total, np.float32)

    return Update(
        {name: mean([update.change[name] for update in updates]) for name in updates[0].change},
        int(weights.sum()),
        mean([update.popularity for update in updates]),
        _known_mean([update.recall for update in updates], weights),
        _known_mean([update.loss for update in updates], weights),
    )


def _known_mean(values: Sequence[float], weights: NDArray[np.float64]) -> float:
    """Return the weighted mean of the values that are known; NaN if none is."""
    numbers = np.array(values, np.float64)
    known = np.isfinite(numbers)
    if not known.any():
        return float("nan")
    return float(np.average(numbers[known], weights=weights[known]))


def _trimmed_mean(updates: Sequence[Update], hostile: int) -> Update:
    """Return the mean of each value without its `hostile` smallest and largest (Yin et al. 2018).

    All silos count alike: a weight would be one more thing to lie about.

    Raises:
        AggregationError: trimming leaves no value.
    """
    left = len(updates) - 2 * hostile
    if left < 1:
        raise AggregationError(
            f"a trimmed mean that stands {hostile} hostile silos needs {2 * hostile + 1} updates, "
            f"received {len(updates)}"
        )

    def trimmed(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        stacked = np.sort(np.stack(arrays), axis=0)[hostile : hostile + left]
        return np.asarray(stacked.mean(axis=0, dtype=np.float64), np.float32)

    middle = weighted_mean([replace(update, sessions=1) for update in updates])
    return replace(
        middle,
        change={name: trimmed([update.change[name] for update in updates]) for name in middle.change},
        sessions=sum(update.sessions for update in updates),
        popularity=trimmed([update.popularity for update in updates]),
        recall=_median([update.recall for update in updates]),
        loss=_median([update.loss for update in updates]),
    )


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.median(known)) if known else float("nan")


def multi_krum(updates: Sequence[Update], hostile: int) -> list[Update]:
    """Return the n - hostile updates that lie nearest to their neighbours (Blanchard et al. 2017).

    The score of an update is the sum of its squared distances to its n - hostile - 2 nearest updates, at
    least one. The authors prove a bound for n of at least 2 * hostile + 3.

    Raises:
        AggregationError: fewer than hostile + 2 updates.
    """
    n = len(updates)
    if n < hostile + 2:
        raise AggregationError(
            f"krum that stands {hostile} hostile silos needs {hostile + 2} updates, received {n}"
        )
    flat = [np.concatenate([array.ravel() for array in update.change.values()]) for update in updates]
    distances = np.array(
        [[float(np.sum((one - other) ** 2, dtype=np.float64)) for other in flat] for one in flat]
    )
    nearest = max(1, n - hostile - 2)
    scores = np.sort(distances, axis=1)[:, 1 : 1 + nearest].sum(axis=1)
    chosen = np.sort(np.argsort(scores, kind="stable")[: n - hostile])
    return [updates[place] for place in chosen]


@dataclass
class Momentum:
    """The momentum of the server (FedAvgM, Hsu et al. 2019): a mean of updates moves on a little.

    Attributes:
        factor: the share of the last step that is taken again; 0 = none.
        velocity: the last step.
    """

    factor: float = 0.0
    velocity: Arrays | None = None

    def step(self, change: Arrays) -> Arrays:
        """Return the step to take for an aggregated change."""
        if self.velocity is not None and self.factor:
            factor = np.float32(self.factor)
            change = {name: array + factor * self.velocity[name] for name, array in change.items()}
        self.velocity = change
        return change
