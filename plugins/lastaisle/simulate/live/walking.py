"""All sessions of a day walk past their lists at the same time; those of one shopper follow each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from lastaisle.errors import LastaisleError
from lastaisle.simulate.draws import Ints
from lastaisle.simulate.events import ADD, Events, in_order
from lastaisle.simulate.live.caller import caller_of
from lastaisle.simulate.live.visit import Row, Shopfront, Visit
from lastaisle.simulate.options import Part
from lastaisle.simulate.shop import DrawnDay

Progress = Callable[[int, int], None]
"""Is called with the number of finished shoppers and of all shoppers who see lists."""


class Clock:
    """The time of a simulated day beside real time, which begins with the clock.

    Args:
        midnight: start of the day, in milliseconds since the epoch.
        speed: simulated seconds a real second; 0 never waits.
    """

    def __init__(self, midnight: int, speed: float) -> None:
        self._midnight = midnight
        self._speed = speed
        self._began = time.monotonic()

    async def wait_until(self, moment: int) -> None:
        """Wait until a simulated moment, in milliseconds since the epoch."""
        if self._speed:
            seconds = (moment - self._midnight) / 1000 / self._speed
            await asyncio.sleep(max(self._began + seconds - time.monotonic(), 0.0))


async def walk_all(
    drawn: DrawnDay, front: Shopfront, popular_share: float | None, progress: Progress
) -> dict[int, Visit]:
    """Let each session that puts something into the cart see lists; return them in order of their numbers.

    Args:
        drawn: the day.
        front: what the sessions share.
        popular_share: share of the shoppers in the arm of popular items; None if the shop has no arms.
        progress: function to call after each shopper.

    Raises:
        LastaisleError: the first error that ended a session; the others are cancelled.
    """
    rows = _rows_with_carts(drawn.events)
    chains = _by_shopper(drawn, rows)
    visits: dict[int, Visit] = {}
    done = 0

    async def follow(chain: Sequence[int]) -> None:
        nonlocal done
        for session in chain:
            visits[session] = _visit(drawn, front, session, popular_share)
            await visits[session].walk(rows[session])
        done += 1
        progress(done, len(chains))

    first_error: LastaisleError | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for chain in chains:
                group.create_task(follow(chain))
    except* LastaisleError as errors:
        first_error = next(error for error in _leaves(errors) if isinstance(error, LastaisleError))
    if first_error is not None:
        raise first_error
    return {session: visits[session] for session in sorted(visits)}


def with_visits(events: Events, visits: Mapping[int, Visit]) -> Events:
    """Return the events of a day with the rows of the visits in place of those of their sessions."""
    others = _columns(events)[:, ~np.isin(events.session, list(visits))]
    rows = [row for visit in visits.values() for row in visit.rows]
    return in_order(np.c_[others, np.array(rows, dtype=np.int64).reshape(-1, 6).T])


def _visit(drawn: DrawnDay, front: Shopfront, session: int, popular_share: float | None) -> Visit:
    return Visit(
        front,
        caller_of(drawn, session, popular_share, front.taste.reactions.telling),
        drawn.day.generator(Part.REACTIONS, session),
        session=session,
        shopper=int(drawn.sessions.shopper[session]),
        style=int(drawn.sessions.style[session]),
    )


def _by_shopper(drawn: DrawnDay, sessions: Iterable[int]) -> list[list[int]]:
    """Put the sessions of each shopper together, in order of time: a later one remembers the earlier ones."""
    chains: dict[int, list[int]] = {}
    for session in sorted(sessions, key=lambda each: (drawn.sessions.started[each], each)):
        chains.setdefault(int(drawn.sessions.shopper[session]), []).append(session)
    return list(chains.values())


def _rows_with_carts(events: Events) -> dict[int, list[Row]]:
    """Return the rows of each session that puts something into the cart."""
    with_cart = np.isin(events.session, events.session[events.kind == ADD])
    rows: dict[int, list[Row]] = {}
    for kind, session, occurred, item, quantity, dwell in _columns(events)[:, with_cart].T.tolist():
        rows.setdefault(session, []).append((kind, session, occurred, item, quantity, dwell))
    return rows


def _columns(events: Events) -> Ints:
    return np.stack(
        [events.kind, events.session, events.occurred, events.item, events.quantity, events.dwell]
    )


def _leaves(errors: BaseExceptionGroup[BaseException]) -> Iterable[BaseException]:
    for error in errors.exceptions:
        yield from _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
