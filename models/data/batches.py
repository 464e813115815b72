"""Batches of sessions of about one length, in an order that the seed decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import SessionLog
from models.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Batch:
    """What one step reads.

    Attributes:
        sessions: int32 [b, length], vocabulary indices, left-padded with 0; every item but the first of a
            session may be a target.
        weights: float32 [b, length - 1], of the targets; 0 where there is none, or it does not count.
        negatives: int32 [m], sampled for all of the batch.
        rows: int64 [b], which sessions of the log they are.
        inputs: what is known beside the items, by name: [b, …] of sessions; of events, all but the last of a
            session, [b, length - 1, …], 0 where padded.
    """

    sessions: NDArray[np.int32]
    weights: NDArray[np.float32]
    negatives: NDArray[np.int32]
    rows: NDArray[np.int64]
    inputs: dict[str, NDArray[Any]] = field(default_factory=dict)


class Batches:
    """The sessions of a log that have something to predict, cut into batches anew each epoch.

    Sessions are shuffled, sorted by length and cut where the targets reach the batch size, so a batch is
    nearly free of padding; then the batches are shuffled.
    """

    def __init__(
        self,
        log: SessionLog,
        weights: NDArray[np.float32],
        vocabulary: Vocabulary,
        max_length: int,
        *,
        of_sessions: Mapping[str, NDArray[Any]] | None = None,
        of_events: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Cut a log.

        Args:
            log: the sessions.
            weights: float32 [n_events], what each event counts as a target, its session's weight included.
            vocabulary: knows all of the log's items.
            max_length: the last items of a session that are read.
            of_sessions: what else is known, by name, [n_sessions, …].
            of_events: the same of events, [n_events, …].
        """
        self._items = vocabulary.encode(log.catalogue)[log.items]
        self._end = log.offsets[1:]
        self._start = np.maximum(log.offsets[:-1], self._end - max_length - 1)
        self._length = self._end - self._start
        self._weights = weights
        before = np.concatenate([[0], np.cumsum(weights > 0)])
        self._targets = before[self._end] - before[np.minimum(self._start + 1, self._end)]
        self._usable = np.flatnonzero(self._targets)
        self._of_sessions, self._of_events = dict(of_sessions or {}), dict(of_events or {})

    @property
    def n_targets(self) -> int:
        """Return the targets of an epoch, those that count."""
        return int(self._targets.sum())

    def n_batches(self, batch_size: int) -> int:
        """Return the batches of an epoch."""
        return -(-self.n_targets // batch_size)

    def epoch(
        self, batch_size: int, negatives: int, popularity: NDArray[np.float64], generator: np.random.Generator
    ) -> Iterator[Batch]:
        """Yield the batches of one epoch, `n_batches` of them.

        Args:
            batch_size: targets in a batch, about.
            negatives: items sampled for each batch.
            popularity: float64 [size], cumulative probability of each index to be sampled.
            generator: decides order and samples.
        """
        if not len(self._usable):
            return
        order = generator.permutation(self._usable)
        order = order[np.argsort(self._length[order], kind="stable")]
        reached = np.cumsum(self._targets[order])
        cuts = np.searchsorted(reached, np.arange(batch_size, self.n_targets, batch_size))
        groups = np.split(order, cuts)
        for place in generator.permutation(len(groups)):
            drawn = np.searchsorted(popularity, generator.random(negatives), side="right")
            sampled = np.minimum(drawn, len(popularity) - 1).astype(np.int32)
            yield self._batch(groups[place], sampled)

    def _batch(self, rows: NDArray[np.int64], negatives: NDArray[np.int32]) -> Batch:
        width = int(self._length[rows].max(initial=0))
        column = np.arange(width)[None, :] - (width - self._length[rows])[:, None]
        place, known = np.maximum(self._start[rows][:, None] + column, 0), column >= 0
        sessions = np.where(known, self._items[place], 0).astype(np.int32)
        weights = np.where(column > 0, self._weights[place], 0.0)[:, 1:].astype(np.float32)
        inputs = {name: values[rows] for name, values in self._of_sessions.items()}
        for name, values in self._of_events.items():
            inputs[name] = values[place[:, :-1]]
            inputs[name][~known[:, :-1]] = 0
        return Batch(sessions, weights, negatives, rows, inputs)
