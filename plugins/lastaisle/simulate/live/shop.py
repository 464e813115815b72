"""The live shop: its shoppers see the lists of a real service and react to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from lastaisle.simulate.events import Events
from lastaisle.simulate.live.answers import Answers
from lastaisle.simulate.live.fatigue import Fatigue
from lastaisle.simulate.live.reactions import Reactions, taste_of
from lastaisle.simulate.live.service import LiveService
from lastaisle.simulate.live.truth import LiveTruth, count_visits
from lastaisle.simulate.live.visit import Shopfront, Visit
from lastaisle.simulate.live.walking import Clock, Progress, walk_all, with_visits
from lastaisle.simulate.options import Day, ShopOptions, ShopOptionsError
from lastaisle.simulate.shop import DayOfLogs, DrawnDay, Shop

PAST_DAYS: Final = 2
"""Lists are shown on days that are at least so many days ago: a session of a day may end on the next."""
MOST_ITEMS: Final = 1000
"""The most items that a page may ask for; the service allows no more."""


@dataclass(frozen=True)
class LiveDay:
    """A day on which shoppers saw lists.

    Attributes:
        logs: the rows that arrived on the day, as of a shop without lists.
        truth: what shoppers saw and did of the lists.
    """

    logs: DayOfLogs
    truth: LiveTruth


class LiveShop:
    """A simulated shop that asks a real service for lists, at the cart and at the checkout.

    The shop lives one day after another, and its shoppers remember lists. Equal options and equal answers
    give equal days, however fast the service answers. A shop whose day ended with an error is of no more
    use: make a new one, and go to that day again.

    Args:
        options: the options of the shop.
        service: the service.
        reactions: how shoppers react.
        popular_share: share of the shoppers in the arm of popular items; the others are in the arm of the
            model. None = the shop runs no experiment, so that the service may assign shoppers to arms.
        speed: simulated seconds a real second; 0 is as fast as the service answers.
        count: how many items a page asks for.
        journal: a folder that keeps the answers of each day. A day that was cut and begins again shows the
            same lists, and so its feedback repeats rows and adds none. None keeps nothing.
        spoiled: for versions whose lists the page shows badly, for example without pictures, the share of
            the chance of a click that is left. No evaluation offline can know this. The mapping may get
            more versions from day to day.

    Raises:
        ShopOptionsError: an option cannot be used.
    """

    def __init__(
        self,
        options: ShopOptions,
        service: LiveService,
        reactions: Reactions | None = None,
        *,
        popular_share: float | None = 0.5,
        speed: float = 0.0,
        count: int = 10,
        journal: Path | None = None,
        spoiled: Mapping[str, float] | None = None,
    ) -> None:
        if popular_share is not None and not 0.0 <= popular_share <= 1.0:
            raise ShopOptionsError(
                f"popular_share should be a share between 0 and 1, received {popular_share}"
            )
        if not 0.0 <= speed < np.inf:
            raise ShopOptionsError(f"speed should be a finite number, 0 or more, received {speed}")
        if not 1 <= count <= MOST_ITEMS:
            raise ShopOptionsError(f"count should be from 1 to {MOST_ITEMS:,}, received {count}")
        self._reactions = reactions or Reactions()
        self._fatigue = Fatigue(self._reactions.forgetting)
        self._service = service
        self._shop = Shop(options)
        self._popular_share = popular_share
        self._speed = speed
        self._count = count
        self._journal = journal
        self._spoiled = {} if spoiled is None else spoiled
        self._description = _describe(options, self._reactions, popular_share, count)

    def plain_day(self, number: int) -> DayOfLogs:
        """Return a day on which no page shows a list; the service is not asked.

        Args:
            number: of the day, 0 for the first. The days before pass as `day` says.

        Raises:
            ShopOptionsError: the day is over.
        """
        self._pass_until(number)
        return self._shop.next_day()

    def day(self, number: int, progress: Progress | None = None) -> LiveDay:
        """Return a day on which shoppers see lists.

        The days between the last one and this one pass first, and the service is not asked for them. A day
        whose answers the journal keeps passes with the same lists, and another day without lists. So a new
        process that goes on with the journal of an earlier one finds the shop as the earlier one left it.

        Args:
            number: of the day, 0 for the first.
            progress: function to call after each shopper.

        Raises:
            ShopOptionsError: the day is over, or the day does not lie in the past.
            LiveServiceError: the service does not answer.
            LiveKeyError: the service refuses the key.
        """
        _check_past(Day(self._shop.options, number))
        self._pass_until(number)
        return self._next_day(lambda drawn: self._ask(drawn, progress or _show_no_progress))

    def _pass_until(self, number: int) -> None:
        if number < self._shop.number:
            raise ShopOptionsError(
                f"day {number} of the shop is over, and day {self._shop.number} is next: make a new shop to "
                "go back"
            )
        while self._shop.number < number:
            journal = self._journal_of(Day(self._shop.options, self._shop.number))
            if journal is not None and journal.exists():
                self._next_day(self._repeat)
            else:
                self._shop.next_day()

    def _next_day(self, see_lists: Callable[[DrawnDay], Coroutine[Any, Any, _Seen]]) -> LiveDay:
        truths: list[LiveTruth] = []

        def react(drawn: DrawnDay) -> Events:
            self._fatigue.move_to(drawn.day.number)
            visits, truth = asyncio.run(see_lists(drawn))
            truths.append(truth)
            return with_visits(drawn.events, visits)

        logs = self._shop.next_day(react)
        return LiveDay(logs, truths[0])

    async def _ask(self, drawn: DrawnDay, progress: Progress) -> _Seen:
        """Let the sessions of a day see lists of the service."""
        async with self._service.open() as connection:
            with Answers(connection, self._journal_of(drawn.day), self._description) as answers:
                clock = Clock(drawn.day.midnight, self._speed)
                visits, truth = await self._walk(drawn, answers, clock, progress)
            truth.requests, truth.problem = dict(connection.counts), connection.problem
        return visits, truth

    async def _repeat(self, drawn: DrawnDay) -> _Seen:
        """Let the sessions of a day see the lists of the journal again; the service hears nothing of it."""
        with Answers(None, self._journal_of(drawn.day), self._description) as answers:
            return await self._walk(drawn, answers, Clock(drawn.day.midnight, 0.0), _show_no_progress)

    async def _walk(self, drawn: DrawnDay, answers: Answers, clock: Clock, progress: Progress) -> _Seen:
        taste = taste_of(drawn.catalogue, self._reactions)
        ask, tell = answers.ask, answers.tell
        front = Shopfront(taste, self._fatigue, self._count, self._spoiled, ask, tell, clock.wait_until)
        visits = await walk_all(drawn, front, self._popular_share, progress)
        return visits, count_visits(taste, visits.values())

    def _journal_of(self, day: Day) -> Path | None:
        return None if self._journal is None else self._journal / f"{day.date.isoformat()}.jsonl"


_Seen = tuple[Mapping[int, Visit], LiveTruth]
"""The sessions that saw lists, by their numbers, and the truth about them."""


def _describe(
    options: ShopOptions, reactions: Reactions, popular_share: float | None, count: int
) -> dict[str, Any]:
    """Return all that the questions of a day depend on, as plain values."""
    described = {**asdict(options), **asdict(reactions), "popular_share": popular_share, "count": count}
    described["start"] = options.start.isoformat()
    if not options.eventful:
        del described["days"]  # a day does not depend on how many days follow
    return described


def _show_no_progress(done: int, every: int) -> None:
    """Show nothing."""


def _check_past(day: Day) -> None:
    """Refuse a day whose last sessions may not be over: the service takes no feedback of the future."""
    today = datetime.now(UTC).date()
    if (today - day.date).days < PAST_DAYS:
        raise ShopOptionsError(
            f"shoppers see lists on days of the past, because the service refuses feedback of the future: "
            f"day {day.number} should be before {today - timedelta(days=PAST_DAYS - 1)}, received {day.date}"
        )
