"""Batches of a private training: each unit is in a step with the same probability, on its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.private import Units
from models.data.sequences import SessionLog
from models.data.vocabulary import Vocabulary

MOST_SESSIONS = 8  # of a unit in one step, by random choice
WIDTHS = (3, 5, 9, 16, 32)  # lengths of sessions in a step; each is compiled once
PLACES = 8192  # places of a part of a step, which bound its memory


@dataclass(frozen=True)
class Part:
    """Some units of a step. A step is read in parts, so that its memory has a bound.

    Attributes:
        sessions: int32 [u, sessions of a unit, length], vocabulary indices, left-padded with 0.
        weights: float32 [u, sessions of a unit, length - 1], of the targets; see `Batch`.
    """

    sessions: NDArray[np.int32]
    weights: NDArray[np.float32]


class PrivateBatches:
    """The sessions of a log by unit, without the items that the vocabulary does not have."""

    def __init__(
        self, log: SessionLog, weights: NDArray[np.float32], vocabulary: Vocabulary, max_length: int
    ) -> None:
        """Group a log.

        Args:
            log: the sessions.
            weights: float32 [n_events], the weight of each event as a target.
            vocabulary: the items of the training.
            max_length: how many of a session's last items are read.
        """
        units = Units.of(log)
        items = vocabulary.encode(log.catalogue)[log.items]
        known = items > 0
        before = np.concatenate([[0], np.cumsum(known)])
        self._items, self._weights = items[known], weights[known]
        end = before[log.offsets[1:]]
        start = np.maximum(before[log.offsets[:-1]], end - max_length - 1)
        usable = np.flatnonzero(end - start > 1)
        usable = usable[np.argsort(units.of_session[usable], kind="stable")]
        self._start, self._length = start[usable], (end - start)[usable]
        self._unit, self._first = np.unique(units.of_session[usable], return_index=True)
        self._sessions = np.diff(np.append(self._first, len(usable)))
        self.units = units.count
        self.kind = units.kind

    @property
    def n_targets(self) -> int:
        """Return the number of targets of all units."""
        return int((self._length - 1).sum())

    def step(self, rate: float, generator: np.random.Generator) -> Iterator[Part]:
        """Yield the units of one step, in parts of units that have nearly the same size.

        A unit without a target changes nothing, whether it is in a step or not.

        Args:
            rate: the probability of each unit.
            generator: chooses the units, and the sessions of units that have many.
        """
        chosen = np.flatnonzero(generator.random(len(self._unit)) < rate)
        if not len(chosen):
            return
        rows = self._rows(chosen, generator)
        lengths = np.where(rows >= 0, self._length[rows], 0).max(1)
        counts = np.count_nonzero(rows >= 0, axis=1)
        width = np.array([*WIDTHS, *range(WIDTHS[-1] + 1, int(lengths.max()) + 1)])
        width = width[np.searchsorted(width, lengths)]
        several = 2 ** np.ceil(np.log2(counts)).astype(np.int64)
        shapes, shape = np.unique(np.stack([several, width]), axis=1, return_inverse=True)
        for place, (most, length) in enumerate(shapes.T):
            alike = rows[shape.reshape(-1) == place][:, :most]
            size = max(1, PLACES // int(most * length))
            for begin in range(0, len(alike), size):
                yield self._part(alike[begin : begin + size], int(length))

    def _rows(self, chosen: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
        """Return the sessions of each chosen unit, int64 [u, MOST_SESSIONS]; -1 = none."""
        counts, first = self._sessions[chosen], self._first[chosen]
        rows = np.full((len(chosen), MOST_SESSIONS), -1)
        column = np.arange(MOST_SESSIONS)[None, :]
        rows = np.where(column < counts[:, None], first[:, None] + column, rows)
        for place in np.flatnonzero(counts > MOST_SESSIONS):
            picked = generator.choice(counts[place], MOST_SESSIONS, replace=False)
            rows[place] = first[place] + picked
        return rows

    def _part(self, rows: NDArray[np.int64], width: int) -> Part:
        length = np.where(rows >= 0, self._length[rows], 0)[:, :, None]
        column = np.arange(width)[None, None, :] - (width - length)
        known = column >= 0
        place = np.where(known, self._start[rows][:, :, None] + column, 0)
        sessions = np.where(known, self._items[place], 0).astype(np.int32)
        weights = np.where(column > 0, self._weights[place], 0.0)[:, :, 1:].astype(np.float32)
        return Part(sessions, weights)
