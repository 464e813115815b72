"""The truth about the reactions of one day: what shoppers saw and did, and what was to be expected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from lastaisle.simulate.live.counts import ListCounts, LiveCounts, PositionCounts, SessionCounts
from lastaisle.simulate.live.reactions import Moment, Taste
from lastaisle.simulate.live.visit import Page, Visit

ListMaker = Callable[[Moment], Sequence[str]]
"""Makes the list of a moment: ids, best first."""


@dataclass(kw_only=True)
class LiveTruth(LiveCounts):
    """The truth about one day.

    Attributes:
        taste: tells the true chance of a click on any item.
        moments: the moments at which lists came on the screen, in order of sessions.
    """

    taste: Taste
    moments: list[Moment] = field(default_factory=list)

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


def count_visits(taste: Taste, visits: Iterable[Visit]) -> LiveTruth:
    """Count what the sessions of a day saw and did.

    Args:
        taste: tells the true chance of a click on any item.
        visits: the sessions that asked for lists.
    """
    truth = LiveTruth(taste=taste)
    for visit in visits:
        _count_session(truth.sessions.setdefault(_arm_of(visit), SessionCounts()), visit, taste)
        for page in visit.pages:
            _count_page(truth, page)
    return truth


def _arm_of(visit: Visit) -> str:
    """Return the arm of the first list of a session, in which the session counts."""
    return next((page.arm for page in visit.pages if page.listed), visit.caller.arm)


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
    arm, placement = page.arm, page.moment.placement
    lists = truth.lists.setdefault((arm, placement), ListCounts())
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
        counts = truth.positions.setdefault((arm, placement, position), PositionCounts())
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
