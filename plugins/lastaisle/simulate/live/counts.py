"""Counts of what shoppers saw and did, by arm, placement and position; days add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self, TypeVar


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


_Kind = TypeVar("_Kind", PositionCounts, ListCounts, SessionCounts)
_Cell = TypeVar("_Cell", bound=Hashable)


@dataclass
class LiveCounts:
    """Counts of one day or of several.

    Attributes:
        positions: counts by arm, placement and position.
        lists: counts by arm and placement.
        sessions: counts by arm.
        requests: counts of the requests to the service; see `Connection`.
        problem: the last thing that went wrong with a request; empty if nothing did.
        unknown_items: items on the screen whose id the shop does not have.
    """

    positions: dict[tuple[str, str, int], PositionCounts] = field(default_factory=dict)
    lists: dict[tuple[str, str], ListCounts] = field(default_factory=dict)
    sessions: dict[str, SessionCounts] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""
    unknown_items: int = 0

    @classmethod
    def sum_of(cls, days: Iterable[LiveCounts]) -> Self:
        """Add up the counts of days."""
        every, requests = list(days), Counter[str]()
        for day in every:
            requests.update(day.requests)
        return cls(
            positions=_summed_cells(PositionCounts, [day.positions for day in every]),
            lists=_summed_cells(ListCounts, [day.lists for day in every]),
            sessions=_summed_cells(SessionCounts, [day.sessions for day in every]),
            requests=dict(requests),
            problem=next((day.problem for day in reversed(every) if day.problem), ""),
            unknown_items=sum(day.unknown_items for day in every),
        )

    def total(
        self, *, arm: str | None = None, placement: str | None = None, position: int | None = None
    ) -> PositionCounts:
        """Add up the counts of positions; None takes all arms, placements or positions."""
        wanted = (arm, placement, position)
        return _summed(
            PositionCounts,
            (
                counts
                for cell, counts in self.positions.items()
                if all(want in (None, have) for want, have in zip(wanted, cell, strict=True))
            ),
        )

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


def _summed_cells(kind: type[_Kind], days: Iterable[Mapping[_Cell, _Kind]]) -> dict[_Cell, _Kind]:
    found: dict[_Cell, list[_Kind]] = {}
    for day in days:
        for cell, counts in day.items():
            found.setdefault(cell, []).append(counts)
    return {cell: _summed(kind, each) for cell, each in found.items()}


def _summed(kind: type[_Kind], counted: Iterable[_Kind]) -> _Kind:
    summed = kind()
    for counts in counted:
        for each in fields(kind):
            setattr(summed, each.name, getattr(summed, each.name) + getattr(counts, each.name))
    return summed
