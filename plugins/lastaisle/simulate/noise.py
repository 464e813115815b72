"""Delay, damage and repeat rows on their way, and label each row."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lastaisle.simulate.draws import Bools, Ints, lognormal
from lastaisle.simulate.options import Day, Part

HOUR_MS = 3_600_000
LATENCY_MS = 300.0
LATE_HOURS = (2, 36)
REPEATED_NEXT_DAY = 0.2
CLEAN, DUPLICATE = 0, 1


def _set(field: str, value: str) -> Callable[[str], str]:
    """Return a function that sets a field of a line to a value, or appends the field."""
    pattern = re.compile(rf'"{field}":("[^"]*"|[^,}}]*)')

    def broken(line: str) -> str:
        changed, count = pattern.subn(f'"{field}":{value}', line, count=1)
        return changed if count else f'{line[:-1]},"{field}":{value}}}'

    return broken


def _without(*names: str) -> Callable[[str], str]:
    """Return a function that removes fields from a line; the first field of a line cannot be removed."""
    pattern = re.compile("|".join(rf',"{name}":("[^"]*"|[^,}}]*)' for name in names))
    return lambda line: pattern.sub("", line)


# The kinds of damage. Each kind works on every event type, and a damaged row is never a clean event.
BREAKS: dict[str, Callable[[str], str]] = {
    "truncated_json": lambda line: line[: len(line) // 2],
    "not_json": lambda line: "<html><body>502 Bad Gateway</body></html>",
    "unknown_event_type": _set("event_type", '"item_teleported"'),
    "no_event_id": lambda line: "{" + line.split(",", 1)[1],
    "nobody": _without("user_id", "session_id"),
    "order_without_id": lambda line: _without("order_id")(_set("event_type", '"order_completed"')(line)),
    "view_without_item": lambda line: _without("item_id")(_set("event_type", '"item_viewed"')(line)),
    "price_is_text": _set("price", '"cheap"'),
    "negative_price": _set("price", "-9.90"),
    "zero_quantity": _set("quantity", "0"),
    "bad_time": _set("occurred_at", '"yesterday"'),
    "far_future": _set("occurred_at", '"2999-01-01T00:00:00.000Z"'),
}


@dataclass(frozen=True)
class Deliveries:
    """Lines and their times of arrival, in order of arrival.

    Attributes:
        received: [n] milliseconds since the epoch.
        lines: n lines without line ends.
        label: [n] CLEAN, DUPLICATE, or 2 plus the position of the damage in BREAKS.
        late: [n] whether the row took hours; damaged and repeated rows are never counted as late.
    """

    received: Ints
    lines: list[str]
    label: Ints
    late: Bools

    def __len__(self) -> int:
        return len(self.lines)

    def take(self, indices: Ints) -> Deliveries:
        """Select lines, in the order of the indices."""
        return Deliveries(
            self.received[indices],
            [self.lines[i] for i in indices.tolist()],
            self.label[indices],
            self.late[indices],
        )

    def merged(self, other: Deliveries) -> Deliveries:
        """Put two deliveries together in order of arrival."""
        both = Deliveries(
            np.r_[self.received, other.received],
            self.lines + other.lines,
            np.r_[self.label, other.label],
            np.r_[self.late, other.late],
        )
        return both.take(np.argsort(both.received, kind="stable"))

    def split(self, moment: int) -> tuple[Deliveries, Deliveries]:
        """Split the lines into those that arrived before a moment and those that are still on their way."""
        arrived = int(np.searchsorted(self.received, moment))
        order = np.arange(len(self))
        return self.take(order[:arrived]), self.take(order[arrived:])


NO_DELIVERIES = Deliveries(
    np.zeros(0, dtype=np.int64), [], np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
)


@dataclass(frozen=True)
class Fates:
    """The delay and the damage of each event of a day.

    Attributes:
        received: [n_events] milliseconds since the epoch.
        label: [n_events] CLEAN, or 2 plus the position of the damage in BREAKS.
        late: [n_events] whether the event takes hours to arrive.
    """

    received: Ints
    label: Ints
    late: Bools


def fates_of(day: Day, session: Ints, occurred: Ints) -> Fates:
    """Draw the fates; rows of a session share one latency, so the rows arrive in order."""
    rng, options = day.generator(Part.DELAYS), day.options
    latency = lognormal(rng, LATENCY_MS, 0.8, int(session[-1]) + 1).astype(np.int64)[session]
    fate = rng.random(len(occurred))
    broken, late = fate < options.broken, (fate >= options.broken) & (fate < options.broken + options.late)
    delay = rng.integers(LATE_HOURS[0] * HOUR_MS, LATE_HOURS[1] * HOUR_MS, size=len(occurred))
    label = np.where(broken, 2 + rng.integers(len(BREAKS), size=len(occurred)), CLEAN)
    return Fates(occurred + latency + np.where(late, delay, 0), label, late)


def deliver(day: Day, lines: list[str], fates: Fates) -> Deliveries:
    """Damage the broken rows, repeat some clean rows, and sort all rows by their arrival."""
    rng = day.generator(Part.REPEATS)
    breaks = list(BREAKS.values())
    lines = list(lines)
    for row in np.flatnonzero(fates.label > CLEAN).tolist():
        lines[row] = breaks[int(fates.label[row]) - 2](lines[row])
    again = np.flatnonzero((fates.label == CLEAN) & (rng.random(len(lines)) < day.options.duplicates))
    wait = np.where(rng.random(len(again)) < REPEATED_NEXT_DAY, 24 * HOUR_MS, 0) + rng.integers(
        50, HOUR_MS, len(again)
    )
    repeats = Deliveries(
        fates.received[again] + wait,
        [lines[row] for row in again.tolist()],
        np.full(len(again), DUPLICATE),
        np.zeros(len(again), dtype=bool),
    )
    return Deliveries(fates.received, lines, fates.label, fates.late).merged(repeats)
