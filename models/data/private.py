"""The vocabulary of a private training: public items, or items whose noisy count shows that they exist."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import USER, SessionLog
from models.data.vocabulary import Vocabulary
from models.private.counts import noisy_sums, threshold_for, unit_vectors
from models.private.mechanism import Release, Unit

MOST_ITEMS = 64  # different items of a unit that count, by random choice
LEAST_COUNT = 1e-3  # of an item whose noisy count is below 0

Parts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.floating]]
"""Units, cells and weights, as `unit_vectors` returns them."""


@dataclass(frozen=True)
class Units:
    """The units that a private training protects.

    Attributes:
        kind: whether a unit is a shopper or a session.
        of_session: int64 [n_sessions], the unit of each session, from 0.
        count: the number of units.
    """

    kind: Unit
    of_session: NDArray[np.int64]
    count: int

    @classmethod
    def of(cls, log: SessionLog) -> Units:
        """Return the units of a log: its shoppers. A session whose shopper is unknown is one of its own."""
        firsts, units = np.unique(log.units, return_inverse=True)
        shoppers = any(isinstance(user, str) for user in log.context.get(USER, ()))
        return cls("shopper" if shoppers else "session", units.astype(np.int64), len(firsts))


def few_parts(parts: Parts, most: int, generator: np.random.Generator) -> Parts:
    """Keep at most `most` different cells of each unit, by random choice; return all weights that remain.

    Args:
        parts: units, cells and weights, [n] each; a cell may come several times.
        most: at least 1.
        generator: chooses.
    """
    unit, cell, weight = parts
    if not len(unit):
        return parts
    pairs, place = np.unique(np.stack([unit, cell]), axis=1, return_inverse=True)
    order = np.lexsort((generator.random(pairs.shape[1]), pairs[0]))
    starts = np.searchsorted(pairs[0][order], pairs[0][order])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - starts
    kept = rank[place.reshape(-1)] < most
    return unit[kept], cell[kept], weight[kept]


def noisy_vocabulary(
    log: SessionLog,
    weights: NDArray[np.float32],
    known: Vocabulary,
    public: Iterable[str] | None,
    *,
    memory: float,
    noise: float,
    delta: float,
    generator: np.random.Generator,
) -> tuple[Vocabulary, Release]:
    """Return the vocabulary with noisy counts, and what the counts released.

    Each unit adds a vector of length 1 at most over its items: of n items that weigh alike, 1/√n for each.
    New items stand after the known ones in the order of their ids, since the order in which they occur
    follows from the sessions.

    Args:
        log: the sessions.
        weights: float32 [n_sessions], 1 at most; each follows from its own session alone.
        known: the vocabulary before; its items are public already, and so are its counts.
        public: the items that exist by public knowledge, such as the shop's catalogue. Other items of the log
            are left out. None: an item of the log joins if its noisy count shows that it exists.
        memory: the share of the old counts that is kept.
        noise: the standard deviation of the noise in each count.
        delta: without public items, the probability that an item shows which only one unit has.
        generator: draws the noise.
    """
    candidates = known.grow(sorted(log.ids() if public is None else public))
    item = candidates.encode(log.catalogue)[log.items].astype(np.int64)
    unit = Units.of(log).of_session[log.session_of_event]
    in_vocabulary = item > 0
    by_event = np.repeat(weights, log.lengths).astype(np.float64)
    parts = (unit[in_vocabulary], item[in_vocabulary], by_event[in_vocabulary])
    unit, item, weight = unit_vectors(*few_parts(parts, MOST_ITEMS, generator))
    sums = noisy_sums(item, weight, candidates.size, noise, generator)
    chosen = np.ones(candidates.size, bool)
    if public is None:
        chosen[known.size :] = sums[known.size :] > threshold_for(noise, delta, MOST_ITEMS).value
    counts = np.maximum(memory * candidates.counts + sums, LEAST_COUNT)[chosen]
    counts[0] = 0.0
    release = Release("counts of items", noise, delta if public is None else 0.0)
    return Vocabulary(candidates.ids[chosen][1:], counts), release
