"""The options of a simulated shop."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import IntEnum

import numpy as np

from lastaisle.errors import ExitCode, LastaisleError

MINIMA = {"seed": 0, "days": 1, "sessions_per_day": 1, "items": 50, "new_items_per_day": 0}
SHARES = (
    "broken",
    "late",
    "duplicates",
    "bots",
    "anonymous",
    "without_session",
    "single_view",
    "taste_drift",
)


class ShopOptionsError(LastaisleError):
    """An option of the simulated shop that cannot be used."""

    exit_code = ExitCode.WRONG_REQUEST


@dataclass(frozen=True)
class ShopOptions:
    """The options of a shop to simulate; the same options always give the same bytes.

    Shares are fractions in [0, 1].

    Attributes:
        seed: seed of every random choice.
        start: first day of the logs (UTC).
        days: how many days of logs.
        sessions_per_day: shoppers' sessions on an average day; weekdays differ as in the YooChoose logs.
        items: items in the catalogue when the first day starts.
        new_items_per_day: items launched at the start of each later day.
        broken: share of rows damaged on their way; each has one kind of damage of noise.BREAKS.
        late: share of rows that arrive 2 to 36 hours after they happened.
        duplicates: share of rows delivered a second time, some of them a day later.
        bots: share of sessions that are crawlers; a crawler reads hundreds of items at machine speed.
        anonymous: share of sessions that are not signed in; their rows carry no user_id.
        without_session: share of signed-in sessions whose rows carry no session_id.
        single_view: share of sessions that end after one item (the YooChoose logs leave such sessions out).
        taste_drift: share of shoppers whose tastes change from one day to the next.
        eventful: whether three events happen. After a third of the days, many items are launched at once.
            After half of the days, prices rise and shoppers turn to cheaper items. After three quarters of
            the days, half of the shoppers change their tastes.
    """

    seed: int = 7
    start: date = date(2025, 10, 1)
    days: int = 7
    sessions_per_day: int = 3000
    items: int = 2000
    new_items_per_day: int = 20
    broken: float = 0.004
    late: float = 0.005
    duplicates: float = 0.005
    bots: float = 0.0005
    anonymous: float = 0.25
    without_session: float = 0.02
    single_view: float = 0.15
    taste_drift: float = 0.03
    eventful: bool = False

    def __post_init__(self) -> None:
        for name, least in MINIMA.items():
            if getattr(self, name) < least:
                raise ShopOptionsError(f"{name} should be at least {least}, received {getattr(self, name)}")
        for name in SHARES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ShopOptionsError(
                    f"{name} should be a share between 0 and 1, received {getattr(self, name)}"
                )
        if self.broken + self.late > 1.0:
            raise ShopOptionsError(
                f"broken and late rows are different rows: their shares should add up to at most 1, "
                f"received {self.broken} + {self.late}"
            )


class Part(IntEnum):
    """The parts of the simulation that draw random numbers."""

    CATALOGUE = 0
    SHOPPERS = 1
    LAUNCHES = 2
    TASTES = 3
    SESSIONS = 4
    PURCHASES = 5
    REFERRERS = 6
    DELAYS = 7
    REPEATS = 8
    BREAKS = 9
    STOCK = 10
    REACTIONS = 11


@dataclass(frozen=True)
class Day:
    """One day of the simulated shop.

    Attributes:
        options: the options of the shop.
        number: 0 for the first day.
    """

    options: ShopOptions
    number: int

    @property
    def date(self) -> date:
        """The day itself (UTC)."""
        return self.options.start + timedelta(days=self.number)

    @property
    def midnight(self) -> int:
        """The start of the day, in milliseconds since the epoch."""
        return int(np.datetime64(self.date, "ms").astype(np.int64))

    @property
    def next(self) -> Day:
        """The day after."""
        return Day(self.options, self.number + 1)

    def generator(self, part: Part, *numbers: int) -> np.random.Generator:
        """Make the generator of one part of this day; the draws of the parts are independent.

        Numbers, such as that of a session, give each section of a part draws of its own.
        """
        return np.random.default_rng([self.options.seed, part, self.number, *numbers])
