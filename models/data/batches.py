"""Batches of sessions of nearly the same length, in an order that the seed decides."""

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
    """The inputs of one training step.

    Attributes:
        sessions: int32 [b, length], vocabulary indices, left-padded with 0. Every item of a session except
            the first may be a target.
        weights: float32 [b, length - 1], of the targets; 0 = no target, or a target without weight.
        negatives: int32 [m], sampled for the whole batch.
        rows: int64 [b], the places of the sessions in the log.
        inputs: the inputs beside the items, by name. Inputs of sessions are [b, …]. Inputs of events, of all
            but the last event of a session, are [b, length - 1, …], 0 at padding.
    """

    sessions: NDArray[np.int32]
    weights: NDArray[np.float32]
    negatives: NDArray[np.int32]
    rows: NDArray[np.int64]
    inputs: dict[str, NDArray[Any]] = field(default_factory=dict)


class Batches:
    """The sessions of a log that have a target, cut into new batches for each epoch.

    Sessions are shuffled, sorted by length, and cut where the targets reach the batch size, so that a batch
    has nearly no padding. Then the batches are shuffled.
    """

    def __init__(
        self,
        log: SessionLog,
        weights: NDArray[np.float32],
        vocabulary: Vocabulary,
        max_length: int,
        *,
        session_inputs: Mapping[str, NDArray[Any]] | None = None,
        event_inputs: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Cut a log.

        Args:
            log: the sessions.
            weights: float32 [n_events], the weight of each event as a target, times its session's weight.
            vocabulary: contains all items of the log.
            max_length: how many of a session's last items are read.
            session_inputs: other inputs of sessions, by name, [n_sessions, …].
            event_inputs: other inputs of events, by name, [n_events, …].
        """
        self._items = vocabulary.encode(log.catalogue)[log.items]
        self._end = log.offsets[1:]
        self._start = np.maximum(log.offsets[:-1], self._end - max_length - 1)
        self._length = self._end - self._start
        self._weights = weights
        before = np.concatenate([[0], np.cumsum(weights > 0)])
        self._targets = before[self._end] - before[np.minimum(self._start + 1, self._end)]
        self._usable = np.flatnonzero(self._targets)
        self._session_inputs, self._event_inputs = dict(session_inputs or {}), dict(event_inputs or {})

    @property
    def n_targets(self) -> int:
        """Return the number of targets with a weight in one epoch."""
        return int(self._targets.sum())

    def n_batches(self, batch_size: int) -> int:
        """Return the number of batches in one epoch."""
        return -(-self.n_targets // batch_size)

    def epoch(
        self, batch_size: int, negatives: int, popularity: NDArray[np.float64], generator: np.random.Generator
    ) -> Iterator[Batch]:
        """Yield the batches of one epoch; their number is `n_batches`.

        Args:
            batch_size: about the number of targets in a batch.
            negatives: how many items are sampled for each batch.
            popularity: float64 [size], the cumulated probabilities of the indices to be sampled.
            generator: decides the order and the samples.
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
        inputs = {name: values[rows] for name, values in self._session_inputs.items()}
        for name, values in self._event_inputs.items():
            inputs[name] = values[place[:, :-1]]
            inputs[name][~known[:, :-1]] = 0
        return Batch(sessions, weights, negatives, rows, inputs)
