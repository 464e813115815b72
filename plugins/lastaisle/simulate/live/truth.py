"""The truth about the reactions of one day: what shoppers saw and did, and what was to be expected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from lastaisle.simulate.live.reactions import Moment, Taste
from lastaisle.simulate.live.visit import Page, Visit

ListMaker = Callable[[Moment], Sequence[str]]
"""Makes the list of a moment: ids, best first."""


@dataclass
class PositionCounts:
    """Counts of the items at one position of the lists of one arm and placement.

    Attributes:
        shown: items on the screen.
        clicked: clicks on them.
        added: clicked items that went into the cart.
        ordered: added items that were ordered.
        expected_clicks: sum of the true chances of a click.
        revenue: of the ordered items, price times quantity in EUR.
        stored_shown: rows that the service stored; without consent it stores none. So are the others.
        stored_clicked: rows of clicks.
        stored_added: rows of additions; a share of the shoppers sends these.
        stored_bought: rows of orders, of the same shoppers.
    """

    shown: int = 0
    clicked: int = 0
    added: int = 0
    ordered: int = 0
    expected_clicks: float = 0.0
    revenue: float = 0.0
    stored_shown: int = 0
    stored_clicked: int = 0
    stored_added: int = 0
    stored_bought: int = 0

    @property
    def ctr(self) -> float:
        """Clicks an item on the screen; 0 without items."""
        return self.clicked / self.shown if self.shown else 0.0

    @property
    def expected_ctr(self) -> float:
        """Expected clicks an item on the screen; 0 without items."""
        return self.expected_clicks / self.shown if self.shown else 0.0


@dataclass
class ListCounts:
    """Counts of the lists of one arm and placement.

    Attributes:
        asked: pages that asked for a list.
        shown: lists of which an item came on the screen.
        empty: answers without an item.
        unanswered: requests without a good answer after all tries; their pages show no list.
    """

    asked: int = 0
    shown: int = 0
    empty: int = 0
    unanswered: int = 0


@dataclass
class SessionCounts:
    """Counts of the sessions of one arm that had something in the cart, all of which asked for lists.

    Attributes:
        sessions: the sessions.
        checkouts: sessions with a checkout.
        orders: checkouts that became an order.
        abandoned: the other checkouts.
        expected_orders: sum of the true chances that a checkout becomes an order.
        revenue: of all their orders, price times quantity in EUR.
    """

    sessions: int = 0
    checkouts: int = 0
    orders: int = 0
    abandoned: int = 0
    expected_orders: float = 0.0
    revenue: float = 0.0


_Counts = TypeVar("_Counts", PositionCounts, ListCounts, SessionCounts)


@dataclass
class LiveTruth:
    """The truth about one day.

    Attributes:
        taste: tells the true chance of a click on any item.
        positions: counts by arm, placement and position.
        lists: counts by arm and placement.
        sessions: counts by arm.
        requests: counts of the requests to the service; see `Connection`.
        problem: the last thing that went wrong with a request; empty if nothing did.
        unknown_items: items on the screen whose id the shop does not have.
        moments: the moments at which lists came on the screen, in order of sessions.
    """

    taste: Taste
    positions: dict[tuple[str, str, int], PositionCounts] = field(default_factory=dict)
    lists: dict[tuple[str, str], ListCounts] = field(default_factory=dict)
    sessions: dict[str, SessionCounts] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""
    unknown_items: int = 0
    moments: list[Moment] = field(default_factory=list)

    def at(self, arm: str, placement: str, position: int) -> PositionCounts:
        """Return the counts of a position, to add to."""
        return self.positions.setdefault((arm, placement, position), PositionCounts())

    def list_at(self, arm: str, placement: str) -> ListCounts:
        """Return the counts of the lists of an arm and a placement, to add to."""
        return self.lists.setdefault((arm, placement), ListCounts())

    def sessions_of(self, arm: str) -> SessionCounts:
        """Return the counts of the sessions of an arm, to add to."""
        return self.sessions.setdefault(arm, SessionCounts())

    def total(
        self, *, arm: str | None = None, placement: str | None = None, position: int | None = None
    ) -> PositionCounts:
        """Add up the counts of positions; None takes all arms, placements or positions."""
        wanted = (arm, placement, position)
        return _sum(
            PositionCounts,
            (
                counts
                for cell, counts in self.positions.items()
                if all(want in (None, have) for want, have in zip(wanted, cell, strict=True))
            ),
        )

    def expected_ctr(self, list_of: ListMaker) -> float:
        """Return the clicks an item on the screen that other lists would get at the same moments.

        It is no estimate: it adds up true chances, so it has no bias. The moments stay as they were: that
        an earlier list would have changed a later moment is left out.

        Args:
            list_of: makes the list of each moment.
        """
        clicks = [self.taste.chances(moment, list_of(moment)) for moment in self.moments]
        shown = sum(len(chances) for chances in clicks)
        return float(sum(chances.sum() for chances in clicks)) / shown if shown else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain values, for JSON, with sums by arm and placement."""
        cells = sorted(self.lists)
        return {
            "lists": [
                {
                    "arm": arm,
                    "placement": placement,
                    "asked": self.lists[arm, placement].asked,
                    "lists": self.lists[arm, placement].shown,
                    "empty": self.lists[arm, placement].empty,
                    "unanswered": self.lists[arm, placement].unanswered,
                    **asdict(self.total(arm=arm, placement=placement)),
                }
                for arm, placement in cells
            ],
            "positions": [
                {"arm": arm, "placement": placement, "position": position, **asdict(counts)}
                for (arm, placement, position), counts in sorted(self.positions.items())
            ],
            "sessions": {arm: asdict(counts) for arm, counts in sorted(self.sessions.items())},
            "total": asdict(self.total()),
            "unknown_items": self.unknown_items,
            "requests": dict(self.requests),
            "problem": self.problem,
        }


def count_visits(taste: Taste, visits: Iterable[Visit]) -> LiveTruth:
    """Count what the sessions of a day saw and did.

    Args:
        taste: tells the true chance of a click on any item.
        visits: the sessions that asked for lists.
    """
    truth = LiveTruth(taste)
    for visit in visits:
        _count_session(truth.sessions_of(visit.caller.arm), visit, taste)
        for page in visit.pages:
            _count_page(truth, page)
    return truth


def _count_session(counts: SessionCounts, visit: Visit, taste: Taste) -> None:
    counts.sessions += 1
    if visit.order_chance is not None:
        counts.checkouts += 1
        counts.expected_orders += visit.order_chance
        counts.orders += visit.has_ordered
        counts.abandoned += not visit.has_ordered
    if visit.has_ordered:
        counts.revenue += sum(float(taste.price[item]) * pieces for item, pieces in visit.cart.items())


def _count_page(truth: LiveTruth, page: Page) -> None:
    arm, placement = page.moment.arm, page.moment.placement
    lists = truth.list_at(arm, placement)
    lists.asked += 1
    lists.unanswered += page.listed is None
    lists.empty += page.listed is not None and not page.shown
    if not page.shown:
        return
    lists.shown += 1
    truth.moments.append(page.moment)
    numbers = truth.taste.numbers(page.shown).tolist()
    truth.unknown_items += numbers.count(-1)
    for position, (item, chance) in enumerate(zip(numbers, page.chances.tolist(), strict=True), start=1):
        counts = truth.at(arm, placement, position)
        pieces = page.quantities.get(position, 0)
        counts.shown += 1
        counts.clicked += position in page.clicked
        counts.added += position in page.added
        counts.ordered += pieces > 0
        counts.expected_clicks += chance
        counts.revenue += pieces * float(truth.taste.price[item]) if pieces else 0.0
        for kind in ("shown", "clicked", "added", "bought"):
            name = f"stored_{kind}"
            setattr(counts, name, getattr(counts, name) + page.stored[kind, position])


def _sum(kind: type[_Counts], counted: Iterable[_Counts]) -> _Counts:
    summed = kind()
    for counts in counted:
        for each in fields(kind):
            setattr(summed, each.name, getattr(summed, each.name) + getattr(counts, each.name))
    return summed
