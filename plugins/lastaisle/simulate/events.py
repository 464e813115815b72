"""From views to events: carts, removals, checkouts, orders, and checkouts left behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lastaisle.simulate.draws import Bools, Ints, choose
from lastaisle.simulate.options import Day, Part
from lastaisle.simulate.sessions import Sessions

EVENT_TYPES = (
    "page_viewed",
    "item_viewed",
    "item_added",
    "item_removed",
    "checkout_started",
    "checkout_abandoned",
    "order_completed",
)
PAGE, VIEW, ADD, REMOVE, CHECKOUT, ABANDON, ORDER = range(len(EVENT_TYPES))
LANDING = 0.4  # sessions that open on a page rather than on an item
BUYING = 0.18  # sessions that look for something to buy
ADDING = 0.42  # views of such a session that end in the cart
REMOVING = 0.06  # added items taken out again
CHECKING_OUT = 0.72  # carts taken to the checkout
COMPLETING = 0.58  # checkouts that become orders
SAYING_SO = 0.7  # checkouts left behind of which the shop sends a checkout_abandoned
QUANTITIES = (0.86, 0.1, 0.03, 0.01)


@dataclass(frozen=True)
class Events:
    """Events as columns, [n_events], in the order in which they happened in their session.

    Attributes:
        kind: index into EVENT_TYPES.
        session: index into the day's sessions.
        occurred: milliseconds since the epoch.
        item: index into the catalogue, -1 where the event has none.
        quantity: how many, 0 where the event has none.
        dwell: milliseconds, -1 where the event has none.
        first: opens its session.
    """

    kind: Ints
    session: Ints
    occurred: Ints
    item: Ints
    quantity: Ints
    dwell: Ints
    first: Bools

    def __len__(self) -> int:
        return len(self.kind)


def events_of(day: Day, sessions: Sessions) -> Events:
    """Turn the views of one day's sessions into all of their events."""
    rng = day.generator(Part.PURCHASES)
    parts = [_part(VIEW, sessions.session, sessions.viewed, item=sessions.item, dwell=sessions.dwell)]
    landed = np.flatnonzero((rng.random(len(sessions)) < LANDING) & ~sessions.bot)
    waited = rng.integers(2000, 20000, size=len(landed))
    parts.append(_part(PAGE, landed, sessions.started[landed] - waited, dwell=waited))
    parts += _purchases(rng, sessions)
    columns = np.concatenate(parts, axis=1)
    kind, session, occurred, item, quantity, dwell = columns[
        :, np.lexsort((columns[0], columns[2], columns[1]))
    ]
    first = np.r_[True, session[1:] != session[:-1]]
    return Events(kind, session, occurred, item, quantity, dwell, first)


def _part(
    kind: int,
    session: Ints,
    occurred: Ints,
    *,
    item: Ints | int = -1,
    quantity: Ints | int = 0,
    dwell: Ints | int = -1,
) -> Ints:
    """Lay out events of one kind as the rows kind, session, occurred, item, quantity, dwell."""
    columns = (kind, session, occurred, item, quantity, dwell)
    return np.stack([np.broadcast_to(np.asarray(column, np.int64), session.shape) for column in columns])


def _purchases(rng: np.random.Generator, sessions: Sessions) -> list[Ints]:
    """Fill carts and take them to the checkout, or leave them."""
    buying = (rng.random(len(sessions)) < BUYING) & ~sessions.bot
    view = np.flatnonzero(buying[sessions.session] & (rng.random(len(sessions.session)) < ADDING))
    pair = sessions.session[view] * (int(sessions.item.max()) + 1) + sessions.item[view]
    view = view[np.sort(np.unique(pair, return_index=True)[1])]  # an item goes into a cart once
    session, item = sessions.session[view], sessions.item[view]
    quantity = 1 + choose(rng, QUANTITIES, len(view))
    thinking = (sessions.dwell[view] * (0.2 + 0.6 * rng.random(len(view)))).astype(np.int64)
    parts = [_part(ADD, session, sessions.viewed[view] + thinking, item=item, quantity=quantity)]
    last = np.searchsorted(sessions.session, np.arange(len(sessions)), side="right") - 1
    leaving = sessions.viewed[last] + np.minimum(sessions.dwell[last], 60_000)
    removed = rng.random(len(view)) < REMOVING
    out = session[removed]
    parts.append(_part(REMOVE, out, leaving[out] + 2000, item=item[removed], quantity=quantity[removed]))
    kept = ~removed
    return parts + _checkouts(rng, session[kept], item[kept], quantity[kept], leaving)


def _checkouts(
    rng: np.random.Generator, session: Ints, item: Ints, quantity: Ints, leaving: Ints
) -> list[Ints]:
    """Check carts out: an order is one event an item, all of them with the order's time and id."""
    carts = np.unique(session)
    carts = carts[rng.random(len(carts)) < CHECKING_OUT]
    started = leaving[carts] + rng.integers(5000, 60_000, size=len(carts))
    done = rng.random(len(carts)) < COMPLETING
    ended = started + rng.integers(30_000, 300_000, size=len(carts))
    silent = rng.random(len(carts)) >= SAYING_SO
    order_time = np.full(len(leaving), -1, dtype=np.int64)
    order_time[carts[done]] = ended[done]
    bought = order_time[session] >= 0
    buyer = session[bought]
    left = ~done & ~silent
    return [
        _part(CHECKOUT, carts, started),
        _part(ABANDON, carts[left], ended[left]),
        _part(ORDER, buyer, order_time[buyer], item=item[bought], quantity=quantity[bought]),
    ]
