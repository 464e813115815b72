"""An index of the newest sessions of every item, as flat arrays. Later sessions are added to it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import SessionLog


@dataclass(frozen=True)
class SessionIndex:
    """Sessions, oldest first. Each session is among the `sample` newest of at least one of its items.

    Scoring reads no other sessions (VMIS-kNN: Kersbergen et al., "Serenade", SIGMOD 2022). Memory is thus
    limited by items times sample, and new sessions push out old ones. To add a log in parts gives the same
    index as to add it at once.

    Attributes:
        items: int32 [n_entries], the distinct items of session after session, as vocabulary indices, in
            the order in which the session last had them.
        positions: int32 [n_entries], the last position of the item in the session, from 0.
        offsets: int64 [n_sessions + 1]; session s is items[offsets[s]:offsets[s + 1]].
        lengths: int32 [n_sessions], the number of events of each session, repeats included.
        weights: float32 [n_sessions], as the caller gave them.
        ended_at: float64 [n_sessions], as in `SessionLog`, in ascending order.
    """

    items: NDArray[np.int32]
    positions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int32]
    weights: NDArray[np.float32]
    ended_at: NDArray[np.float64]

    @classmethod
    def empty(cls) -> SessionIndex:
        """Return the index of no session."""
        none = np.zeros(0, np.int32)
        return cls(none, none, np.zeros(1, np.int64), none, none.astype(np.float32), none.astype(np.float64))

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self.ended_at)

    @property
    def session_of_entry(self) -> NDArray[np.int64]:
        """Return the session of each entry, int64 [n_entries]."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def mean_length(self) -> float:
        """Return the mean number of events of a session, at least 1. It is the unit of the decays."""
        return max(1.0, float(self.lengths.mean())) if len(self) else 1.0

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def postings(self, size: int, sample: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return each item's newest sessions.

        Args:
            size: the size of the vocabulary.
            sample: the largest number of sessions per item.

        Returns:
            entries int64 [n_postings], places in `items`, sorted by item and then by age, oldest first;
            and offsets int64 [size + 1]: item i has entries[offsets[i]:offsets[i + 1]].
        """
        order = np.argsort(self.items, kind="stable")
        counts = np.bincount(self.items, minlength=size)
        newer = np.repeat(np.cumsum(counts), counts) - 1 - np.arange(len(order))
        offsets = np.concatenate([[0], np.cumsum(np.minimum(counts, sample))])
        return order[newer < sample], offsets.astype(np.int64)

    def added(
        self,
        log: SessionLog,
        items: NDArray[np.int32],
        weights: NDArray[np.float32],
        *,
        max_length: int,
        sample: int,
    ) -> SessionIndex:
        """Return the index with the sessions of a log added, without the sessions that are too old now.

        A session that the index already has, with the same end and the same items, is not added again: a warm
        start may receive old sessions once more. Sessions with one event or weight 0 are left out.

        Args:
            log: sessions.
            items: int32 [n_events], the log's events as vocabulary indices.
            weights: float32 [n_sessions].
            max_length: how many of a session's last events count.
            sample: how many of the newest sessions an item keeps.
        """
        ended_at = log.ended_at
        if len(self) and np.array_equal(ended_at, np.arange(len(log))):  # unknown times: newest of all
            ended_at = ended_at + self.ended_at[-1] + 1
        new = _read(log, items, weights, ended_at, max_length)
        joined = _concat([self, new._select(~_is_indexed(new, self))])
        joined = joined._select(np.argsort(joined.ended_at, kind="stable"))
        entries, _ = joined.postings(int(joined.items.max(initial=0)) + 1, sample)
        return joined._select(np.unique(joined.session_of_entry[entries]))

    def _select(self, rows: NDArray[Any]) -> SessionIndex:
        """Keep these sessions, in this order."""
        chosen = np.arange(len(self))[rows]
        counts = np.diff(self.offsets)[chosen]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        entries = np.repeat(self.offsets[chosen] - offsets[:-1], counts) + np.arange(offsets[-1])
        return SessionIndex(
            self.items[entries],
            self.positions[entries],
            offsets,
            self.lengths[chosen],
            self.weights[chosen],
            self.ended_at[chosen],
        )


def _read(
    log: SessionLog,
    items: NDArray[np.int32],
    weights: NDArray[np.float32],
    ended_at: NDArray[np.float64],
    max_length: int,
) -> SessionIndex:
    """Index all usable sessions of a log."""
    session = log.session_of_event
    position = np.arange(log.n_events) - np.maximum(log.offsets[:-1], log.offsets[1:] - max_length)[session]
    usable = (log.lengths >= 2) & (weights > 0)
    events = np.flatnonzero(usable[session] & (position >= 0))
    pairs = session[events] * (int(items.max(initial=0)) + 1) + items[events]
    _, last = np.unique(pairs[::-1], return_index=True)  # the last event of each item of a session
    events = events[np.sort(len(events) - 1 - last)]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(session[events], minlength=len(log))[usable])])
    return SessionIndex(
        items[events],
        position[events].astype(np.int32),
        offsets.astype(np.int64),
        np.minimum(log.lengths[usable], max_length).astype(np.int32),
        weights[usable],
        ended_at[usable],
    )


def _is_indexed(new: SessionIndex, old: SessionIndex) -> NDArray[np.bool_]:
    """Tell which sessions of `new` are in `old`: bool [n_new]."""
    known = np.isin(new.ended_at, old.ended_at)
    indexed = {_identity(old, row) for row in np.flatnonzero(np.isin(old.ended_at, new.ended_at[known]))}
    for row in np.flatnonzero(known):
        known[row] = _identity(new, row) in indexed
    return known


def _identity(index: SessionIndex, row: np.intp) -> tuple[float, bytes, bytes]:
    entries = slice(index.offsets[row], index.offsets[row + 1])
    return index.ended_at[row], index.items[entries].tobytes(), index.positions[entries].tobytes()


def _concat(parts: list[SessionIndex]) -> SessionIndex:
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("items", "positions", "lengths", "weights", "ended_at")
    }
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    return SessionIndex(offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), **joined)
