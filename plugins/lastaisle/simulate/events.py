"""Turn views into events: carts, removals, checkouts, orders and abandoned checkouts."""

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
# Shares.
LANDING = 0.4  # sessions that begin on a page and not on an item
BUYING = 0.18  # sessions with the intent to buy
ADDING = 0.42  # views of such a session whose item goes into the cart
REMOVING = 0.06  # added items that are removed again
CHECKING_OUT = 0.72  # carts that reach the checkout
COMPLETING = 0.58  # checkouts that become orders
REPORTING = 0.7  # abandoned checkouts for which the shop sends checkout_abandoned
QUANTITIES = (0.86, 0.1, 0.03, 0.01)


@dataclass(frozen=True)
class Events:
    """Events as columns, [n_events], in the order in which they happened in their session.

    Attributes:
        kind: index into EVENT_TYPES.
        session: index into the day's sessions.
        occurred: milliseconds since the epoch.
        item: index into the catalogue; -1 if the event has no item.
        quantity: number of pieces; 0 if the event has no quantity.
        dwell: milliseconds; -1 if the event has no dwell time.
        first: whether the event opens its session.
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
    return in_order(np.concatenate(parts, axis=1))


def in_order(columns: Ints) -> Events:
    """Put events in order: by session, then by time, then by kind.

    Args:
        columns: [6, n_events] kind, session, occurred, item, quantity and dwell.
    """
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
    """Make the events of carts and checkouts."""
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
    removing = session[removed]
    parts.append(
        _part(REMOVE, removing, leaving[removing] + 2000, item=item[removed], quantity=quantity[removed])
    )
    in_cart = ~removed
    return parts + _checkouts(rng, session[in_cart], item[in_cart], quantity[in_cart], leaving)


def _checkouts(
    rng: np.random.Generator, session: Ints, item: Ints, quantity: Ints, leaving: Ints
) -> list[Ints]:
    """Make the events of checkouts; an order is one event for each item, with the order's time and id."""
    carts = np.unique(session)
    carts = carts[rng.random(len(carts)) < CHECKING_OUT]
    started = leaving[carts] + rng.integers(5000, 60_000, size=len(carts))
    completed = rng.random(len(carts)) < COMPLETING
    ended = started + rng.integers(30_000, 300_000, size=len(carts))
    unreported = rng.random(len(carts)) >= REPORTING
    order_time = np.full(len(leaving), -1, dtype=np.int64)
    order_time[carts[completed]] = ended[completed]
    bought = order_time[session] >= 0
    buyer = session[bought]
    reported = ~completed & ~unreported
    return [
        _part(CHECKOUT, carts, started),
        _part(ABANDON, carts[reported], ended[reported]),
        _part(ORDER, buyer, order_time[buyer], item=item[bought], quantity=quantity[bought]),
    ]
