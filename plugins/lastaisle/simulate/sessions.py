"""The sessions of one day: their shoppers, their times, and the items that each session looks at in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lastaisle.simulate.affinity import Affinity
from lastaisle.simulate.draws import Bools, Ints, choose, lognormal
from lastaisle.simulate.options import Day, Part
from lastaisle.simulate.shoppers import DEVICE_WEIGHTS, Shoppers

# Clicks by hour of the day (UTC) and by weekday from Monday, as in the YooChoose week of April 2014.
HOURS = np.array(
    [2, 4, 11, 23, 34, 44, 46, 46, 51, 51, 50, 45, 42, 44, 46, 57, 70, 67, 53, 27, 14, 6, 4, 2],
    dtype=np.float64,
)
WEEKDAYS = (1.13, 0.97, 0.98, 0.97, 0.76, 0.76, 1.43)
# Views of a session beyond the second: two geometric laws, for shoppers who leave soon and shoppers who stay.
STAYING = 0.285
LEAVE_SOON = 0.52
LEAVE_LATE = 0.184
MOST_VIEWS = 150
BOT_VIEWS = (210, 600)
# Shares of the next view: the same item again, an earlier item, an item of another shelf. NEIGHBOUR is the
# share of neighbours among the other views; the rest are popular items of the shelf.
AGAIN = 0.18
BACK = 0.045
OTHER_SHELF = 0.13
NEIGHBOUR = 0.55
GAP_SECONDS = 55.0
GAP_SIGMA = 1.25
LONGEST_GAP = 1500.0


@dataclass(frozen=True)
class Sessions:
    """One day's sessions, longest first, and their views in order.

    Attributes:
        shopper: [n_sessions] index into the shoppers.
        started: [n_sessions] milliseconds since the epoch.
        bot: [n_sessions] whether the session is a crawler's.
        anonymous: [n_sessions] whether the shopper is not signed in.
        unlabelled: [n_sessions] whether the session's rows carry no session_id.
        device: [n_sessions] index into shoppers.DEVICES.
        style: [n_sessions] the hidden style whose items the session prefers.
        session: [n_views] index of the session of each view; the views of a session stand together.
        item: [n_views] index into the catalogue.
        viewed: [n_views] milliseconds since the epoch.
        dwell: [n_views] milliseconds until the next view, or until the shopper left.
    """

    shopper: Ints
    started: Ints
    bot: Bools
    anonymous: Bools
    unlabelled: Bools
    device: Ints
    style: Ints
    session: Ints
    item: Ints
    viewed: Ints
    dwell: Ints

    def __len__(self) -> int:
        return len(self.shopper)


def sessions_of(day: Day, shoppers: Shoppers, affinity: Affinity) -> Sessions:
    """Simulate the sessions that start on one day."""
    rng, options = day.generator(Part.SESSIONS), day.options
    count = max(1, round(options.sessions_per_day * WEEKDAYS[day.date.weekday()]))
    bot = rng.random(count) < options.bots
    length = _lengths(rng, bot, options.single_view)
    order = np.argsort(-length, kind="stable")
    bot, length = bot[order], length[order]
    shopper = shoppers.arrive(rng, count, affinity.demand)
    shelf = shoppers.shelf_for(rng, shopper, affinity.demand)
    style = shoppers.style_for(rng, shopper)
    path = _draw_paths(rng, affinity, shelf, style, length=length, bot=bot)
    started = _start_times(rng, day.midnight, count)
    session = np.repeat(np.arange(count, dtype=np.int64), length)
    viewed, dwell = _view_times(rng, started, session, bot)
    anonymous = rng.random(count) < options.anonymous
    return Sessions(
        shopper=shopper,
        started=started,
        bot=bot,
        anonymous=anonymous,
        unlabelled=~anonymous & (rng.random(count) < options.without_session),
        device=np.where(
            rng.random(count) < 0.15, choose(rng, DEVICE_WEIGHTS, count), shoppers.device[shopper]
        ),
        style=style,
        session=session,
        item=path[np.arange(path.shape[1])[None, :] < length[:, None]],
        viewed=viewed,
        dwell=dwell,
    )


def _lengths(rng: np.random.Generator, bot: Bools, single_view: float) -> Ints:
    """Draw the number of views of each session."""
    count = len(bot)
    leave = np.where(rng.random(count) < STAYING, LEAVE_LATE, LEAVE_SOON)
    length = np.minimum(1 + rng.geometric(leave), MOST_VIEWS)
    length[rng.random(count) < single_view] = 1
    return np.where(bot, rng.integers(*BOT_VIEWS, size=count), length).astype(np.int64)


def _draw_paths(
    rng: np.random.Generator, affinity: Affinity, shelf: Ints, style: Ints, *, length: Ints, bot: Bools
) -> Ints:
    """Draw the items that sessions look at; the longest session must come first.

    Returns:
        [n_sessions, longest] item of every view. Values beyond a session's length mean nothing.
    """
    path = np.zeros((len(length), int(length[0])), dtype=np.int64)
    path[:, 0] = affinity.browse(rng, shelf, style)
    for step in range(1, path.shape[1]):
        active = int(np.searchsorted(-length, -step, side="left"))
        current, kind = path[:active, step - 1], rng.random(active)
        earlier = path[np.arange(active), rng.integers(step, size=active)]
        changes_shelf = (kind >= AGAIN + BACK) & (kind < AGAIN + BACK + OTHER_SHELF)
        shelf[:active][changes_shelf] = choose(rng, affinity.demand, int(changes_shelf.sum()))
        stay = ~changes_shelf & (rng.random(active) < NEIGHBOUR)
        new_item = np.where(
            stay,
            affinity.follow(rng, current, style[:active]),
            affinity.browse(rng, shelf[:active], style[:active]),
        )
        chosen = np.where(kind < AGAIN, current, np.where(kind < AGAIN + BACK, earlier, new_item))
        crawled = rng.integers(len(affinity.shelf_order), size=active)
        path[:active, step] = np.where(bot[:active], crawled, chosen)
    return path


def _start_times(rng: np.random.Generator, midnight: int, count: int) -> Ints:
    """Draw when sessions start, in milliseconds since the epoch."""
    hour = choose(rng, HOURS, count)
    return midnight + hour * 3_600_000 + rng.integers(3_600_000, size=count)


def _view_times(rng: np.random.Generator, started: Ints, session: Ints, bot: Bools) -> tuple[Ints, Ints]:
    """Give each view its time and its dwell time, in milliseconds."""
    gap = np.minimum(lognormal(rng, GAP_SECONDS, GAP_SIGMA, len(session)), LONGEST_GAP)
    gap = np.where(bot[session], 0.8 + 1.5 * rng.random(len(session)), gap + 1.0)
    dwell = (1000 * gap).astype(np.int64)
    elapsed = np.cumsum(dwell) - dwell
    first = np.searchsorted(session, np.arange(len(started)))
    return started[session] + elapsed - elapsed[first][session], dwell
