"""Sessions as flat arrays, and the prefix → target examples made from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.vocabulary import Vocabulary

OUTCOMES = ("added", "purchased")
"""Columns of events that tell what happened later. No model may read them as inputs."""

USER = "user"
"""The column of sessions that holds the shoppers' pseudonyms."""


@dataclass(frozen=True)
class SessionLog:
    """Sessions in time order, oldest first.

    Attributes:
        items: int32 [n_events], positions into `catalogue`, session after session.
        offsets: int64 [n_sessions + 1]; session s is items[offsets[s]:offsets[s + 1]].
        catalogue: object [n_catalogue], the item ids as strings.
        ended_at: float64 [n_sessions], seconds since the epoch; if the times are unknown, 0, 1, 2, …
        context: columns with one value per session; e.g. "device_type": object [n_sessions].
        event_context: columns with one value per event; e.g. "event_type": object [n_events]. The columns
            named in OUTCOMES are bool.
        item_features: columns with one value per item; e.g. "category": object [n_catalogue]. In all columns
            None and NaN mean unknown.
    """

    items: NDArray[np.int32]
    offsets: NDArray[np.int64]
    catalogue: NDArray[np.object_]
    ended_at: NDArray[np.float64]
    context: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    event_context: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    item_features: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.offsets) != len(self.ended_at) + 1 or self.offsets[-1] != len(self.items):
            raise ValueError(
                "a session log needs one more offset than sessions, and the last offset is the number of "
                "events; received "
                f"{len(self.offsets)} offsets ending in {self.offsets[-1] if len(self.offsets) else None}, "
                f"{len(self.ended_at)} sessions, {len(self.items)} events"
            )
        for columns, size, noun in (
            (self.context, len(self), "sessions"),
            (self.event_context, self.n_events, "events"),
            (self.item_features, len(self.catalogue), "items"),
        ):
            for name, column in columns.items():
                if len(column) != size:
                    raise ValueError(f"column {name!r} has {len(column)} values for {size} {noun}")

    @classmethod
    def from_lists(
        cls,
        sessions: Iterable[Sequence[str]],
        ended_at: Sequence[float] | NDArray[np.float64] | None = None,
        context: Mapping[str, NDArray[Any]] | None = None,
    ) -> SessionLog:
        """Build a log from lists of item ids. The catalogue has the order in which items first occur."""
        positions: dict[str, int] = {}
        items: list[int] = []
        offsets = [0]
        for session in sessions:
            items.extend(positions.setdefault(item, len(positions)) for item in session)
            offsets.append(len(items))
        catalogue = np.array(list(positions), dtype=object)
        n_sessions = len(offsets) - 1
        ended = np.arange(n_sessions) if ended_at is None else np.asarray(ended_at)
        return cls(
            np.array(items, np.int32),
            np.array(offsets, np.int64),
            catalogue,
            ended.astype(np.float64),
            dict(context or {}),
        )

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self.ended_at)

    def __iter__(self) -> Iterator[list[str]]:
        """Yield each session as a list of item ids."""
        for s in range(len(self)):
            yield list(self.catalogue[self.items[self.offsets[s] : self.offsets[s + 1]]])

    @property
    def n_events(self) -> int:
        """Return the number of events."""
        return len(self.items)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Return the events of each session, int64 [n_sessions]."""
        return np.diff(self.offsets)

    @property
    def session_of_event(self) -> NDArray[np.int64]:
        """Return the session of each event, int64 [n_events]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def units(self) -> NDArray[np.int64]:
        """Return the first session of each session's shopper, int64 [n_sessions].

        Sessions of one shopper depend on each other, so intervals draw shoppers and not sessions. A session
        whose shopper is unknown is a unit of its own.
        """
        units = np.arange(len(self))
        first: dict[Any, int] = {}
        for session, shopper in enumerate(self.context.get(USER, ())):
            if isinstance(shopper, str):  # an unknown shopper is None, or NaN
                units[session] = first.setdefault(shopper, session)
        return units

    def select(self, indices: NDArray[Any] | slice) -> SessionLog:
        """Keep the sessions with these indices (or of this boolean mask or slice), in this order."""
        chosen = np.arange(len(self))[indices]
        lengths = self.lengths[chosen]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        events = np.repeat(self.offsets[chosen] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return SessionLog(
            self.items[events],
            offsets,
            self.catalogue,
            self.ended_at[chosen],
            {name: column[chosen] for name, column in self.context.items()},
            {name: column[events] for name, column in self.event_context.items()},
            self.item_features,
        )

    def ids(self) -> NDArray[np.object_]:
        """Return the ids of the items that occur, in catalogue order (a selection may have few of them)."""
        return self.catalogue[np.flatnonzero(np.bincount(self.items, minlength=len(self.catalogue)))]

    def with_items(self, ids: NDArray[np.object_], features: Mapping[str, NDArray[Any]]) -> SessionLog:
        """Return the log with these items too in its catalogue. A known feature replaces the log's.

        Args:
            ids: object [n], each once.
            features: columns with one value per item, [n].
        """
        none, start = np.zeros(0), np.zeros(1, np.int64)
        described = SessionLog(none.astype(np.int32), start, ids, none, item_features=features)
        positions = _positions([self, described])
        return replace(
            self,
            catalogue=np.array(list(positions), dtype=object),
            item_features=_latest_features([self, described], positions),
        )

    @staticmethod
    def concat(logs: Sequence[SessionLog]) -> SessionLog:
        """Join logs in this order, with the union of their catalogues.

        Columns of sessions and events that only some logs have are left out. An item's features come from the
        latest log that knows them.
        """
        if not logs:
            return SessionLog.from_lists([])
        positions = _positions(logs)
        items = [np.array([positions[item] for item in log.catalogue], np.int32)[log.items] for log in logs]
        lengths = np.concatenate([log.lengths for log in logs])
        catalogue = np.array(list(positions), dtype=object)
        return SessionLog(
            np.concatenate(items).astype(np.int32),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            catalogue,
            np.concatenate([log.ended_at for log in logs]),
            _joined_columns([log.context for log in logs]),
            _joined_columns([log.event_context for log in logs]),
            _latest_features(logs, positions),
        )


def _positions(logs: Sequence[SessionLog]) -> dict[str, int]:
    """Return the place of each item in the union of the logs' catalogues."""
    return {item: place for place, item in enumerate(dict.fromkeys(chain(*(log.catalogue for log in logs))))}


def _joined_columns(logs: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return the columns that all logs have, the values of one log after those of the other."""
    shared = set.intersection(*(set(columns) for columns in logs))
    return {name: np.concatenate([columns[name] for columns in logs]) for name in sorted(shared)}


def _latest_features(logs: Sequence[SessionLog], positions: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Return each item's features, from the latest log that knows them.

    Args:
        logs: the older logs first.
        positions: each item's place in the union of the catalogues.
    """
    features: dict[str, NDArray[Any]] = {}
    for log in logs:
        place = np.array([positions[item] for item in log.catalogue], np.int64)
        for name, column in log.item_features.items():
            numeric = np.issubdtype(column.dtype, np.number)
            unknown = np.full(len(positions), np.nan if numeric else None, np.float64 if numeric else object)
            whole = features.setdefault(name, unknown)
            known = ~np.isnan(column) if numeric else np.array([value is not None for value in column], bool)
            whole[place[known]] = column[known]
    return features


@dataclass(frozen=True)
class Context:
    """What is known about sessions beside their items. A model reads the columns of its training.

    Attributes:
        sessions: columns with one value per session, [b].
        events: columns with one value per item of the session, [b, length], left-padded like the items.
    """

    sessions: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    events: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def rows(self, rows: slice) -> Context:
        """Return the context of some of the sessions."""
        sessions = {name: column[rows] for name, column in self.sessions.items()}
        return Context(sessions, {name: column[rows] for name, column in self.events.items()})


@dataclass(frozen=True)
class EncodedExamples:
    """Examples as models read them: in a vocabulary's indices, without unknown prefix items.

    Attributes:
        items: int32 [n], the known items of all sessions, flat.
        start: int64 [n_examples], where each prefix starts in `items`.
        end: int64 [n_examples], where it ends (exclusive).
        targets: int32 [n_examples]; 0 = a target that is not in the vocabulary.
        session_columns: columns with one value per example, of its session: [n_examples].
        event_columns: columns with one value per item: [n].
    """

    items: NDArray[np.int32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    targets: NDArray[np.int32]
    session_columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    event_columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def prefixes(self, rows: NDArray[Any] | slice, max_length: int) -> NDArray[np.int32]:
        """Return the last `max_length` items of these prefixes, left-padded with 0: int32 [b, length].

        The length is that of the longest of these prefixes, at least 1.
        """
        place, known = self._places(rows, max_length)
        padded = self.items[place] if len(self.items) else np.zeros(place.shape)
        return np.where(known, padded, 0).astype(np.int32)

    def context(self, rows: NDArray[Any] | slice, max_length: int) -> Context:
        """Return the context of these prefixes. Padding has any value."""
        place, _ = self._places(rows, max_length)
        return Context(
            {name: column[rows] for name, column in self.session_columns.items()},
            {name: column[place] for name, column in self.event_columns.items() if len(column)},
        )

    def _places(
        self, rows: NDArray[Any] | slice, max_length: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the place in `items` of each position of the prefixes, and False at padding: [b, length]."""
        start = np.maximum(self.start[rows], self.end[rows] - max_length)
        lengths = self.end[rows] - start
        width = max(1, int(lengths.max(initial=0)))
        column = np.arange(width)[None, :] - (width - lengths)[:, None]
        return np.maximum(start[:, None] + column, 0), column >= 0


@dataclass(frozen=True)
class Examples:
    """Prefix → target pairs of a log: the first `position` items of a session are followed by the target.

    Attributes:
        log: the sessions.
        session: int32 [n], each example's session.
        position: int32 [n], the index of its target in that session; the prefix is everything before it.
    """

    log: SessionLog
    session: NDArray[np.int32]
    position: NDArray[np.int32]

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.session)

    @property
    def targets(self) -> NDArray[np.object_]:
        """Return the target ids, object [n]."""
        events = self.log.offsets[self.session] + self.position
        targets: NDArray[np.object_] = self.log.catalogue[self.log.items[events]]
        return targets

    @property
    def units(self) -> NDArray[np.int64]:
        """Return the unit of each example's session, int64 [n]; see SessionLog.units."""
        return self.log.units[self.session]

    def prefix(self, row: int) -> list[str]:
        """Return one example's prefix as item ids."""
        start = self.log.offsets[self.session[row]]
        return list(self.log.catalogue[self.log.items[start : start + self.position[row]]])

    def select(self, rows: NDArray[Any] | slice) -> Examples:
        """Keep these examples."""
        return Examples(self.log, self.session[rows], self.position[rows])

    def encode(self, vocabulary: Vocabulary) -> EncodedExamples:
        """Translate to a vocabulary's indices, without unknown prefix items and OUTCOMES."""
        indices = vocabulary.encode(self.log.catalogue)[self.log.items]
        known = indices > 0
        before = np.concatenate([[0], np.cumsum(known)])
        first = self.log.offsets[self.session]
        return EncodedExamples(
            indices[known],
            before[first],
            before[first + self.position],
            indices[first + self.position],
            {name: column[self.session] for name, column in self.log.context.items()},
            {name: column[known] for name, column in self.log.event_context.items() if name not in OUTCOMES},
        )

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[Sequence[str], str]]) -> Examples:
        """Build examples from (prefix, target) pairs, as they stand in benchmark files.

        The files list a session's pairs from the longest to the shortest. So a pair that is the beginning of
        the pair before it belongs to the same session.
        """
        sequences: list[list[str]] = []
        session: list[int] = []
        position: list[int] = []
        for prefix, target in pairs:
            whole = [*prefix, target]
            if not sequences or len(whole) >= position[-1] + 1 or sequences[-1][: len(whole)] != whole:
                sequences.append(whole)
            session.append(len(sequences) - 1)
            position.append(len(prefix))
        return cls(
            SessionLog.from_lists(sequences), np.array(session, np.int32), np.array(position, np.int32)
        )


def next_item_examples(log: SessionLog) -> Examples:
    """Make an example of every position of every session, except the first."""
    session = log.session_of_event
    position = np.arange(log.n_events) - log.offsets[session]
    keep = position > 0
    return Examples(log, session[keep].astype(np.int32), position[keep].astype(np.int32))


def decay_weights(
    ended_at: NDArray[np.float64], now: float | None = None, half_life: float | None = None
) -> NDArray[np.float32]:
    """Weigh each session by 0.5 ** (age / half_life), scaled to a mean of 1.

    Args:
        ended_at: float64 [n], the end of each session, in any unit.
        now: the moment at which the age is 0; by default the latest end.
        half_life: the age at which a session weighs one half, in the same unit; None = all weigh 1.

    Returns:
        float32 [n].

    Raises:
        ValueError: a half-life that is not positive.
    """
    if half_life is not None and not half_life > 0:
        raise ValueError(f"half_life should be positive or None, received {half_life!r}")
    if half_life is None or len(ended_at) == 0:
        return np.ones(len(ended_at), np.float32)
    now = float(np.max(ended_at)) if now is None else now
    weights = np.exp2(-np.maximum(now - ended_at, 0.0) / half_life)
    return np.asarray(weights / weights.mean(), np.float32)
