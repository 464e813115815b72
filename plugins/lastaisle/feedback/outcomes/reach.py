"""How far in time an outcome looks: which days have to be read for a day, and which days a change affects."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from lastaisle.sessions.windows import HISTORY, SESSION_REACH

if TYPE_CHECKING:
    from lastaisle.settings import Settings

#: Raised when the rules of attribution change. All days are then attributed again.
RULES = 2
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Reach:
    """The spans of time between an exposure and what belongs to it.

    Attributes:
        shopper: how long after an exposure an action of the same shopper, in any session, follows from it.
        segment: what splits the sessions into segments: device_type, country or returning.
        abandoned_after: a checkout that was begun and brought no order for this long is abandoned.
    """

    shopper: timedelta
    segment: str
    abandoned_after: timedelta

    @classmethod
    def of(cls, settings: Settings) -> Reach:
        """Return the spans of an installation."""
        return cls(
            timedelta(hours=settings.feedback.hours),
            settings.feedback.segment,
            timedelta(minutes=settings.abandonment.after_minutes),
        )

    @property
    def session(self) -> timedelta:
        """How long after an exposure an action of the same session follows from it."""
        return SESSION_REACH

    @property
    def list(self) -> timedelta:
        """How long after an exposure feedback that names its list follows from it."""
        return max(self.session, self.shopper)

    @property
    def days(self) -> int:
        """The days before and after a day whose exposures and actions decide about that day."""
        return _days(self.list)

    @property
    def checkout_days(self) -> int:
        """The days before a day on which a checkout may have begun that counts as abandoned on that day."""
        return _days(self.abandoned_after)

    @property
    def event_days(self) -> int:
        """The days before a day whose events say how its sessions began."""
        history = HISTORY if self.segment == "returning" else timedelta()
        return max(self.checkout_days, _days(self.session + history))

    @property
    def fingerprint(self) -> int:
        """A number that another setting, or another version of the rules, changes."""
        return number_of(f"{RULES} {self.shopper} {self.segment} {self.abandoned_after}")

    def of_changed_exposures(self, days: Iterable[date]) -> set[date]:
        """Return the days whose outcomes may change with the exposures of some days."""
        return {day + _DAY * shift for day in days for shift in range(-self.days, self.days + 1)}

    def of_changed_events(self, days: Iterable[date]) -> set[date]:
        """Return the days whose outcomes may change with the events of some days."""
        return {day + _DAY * shift for day in days for shift in range(-self.days, self.event_days + 1)}

    def of_time_passed(self, before: datetime, now: datetime) -> set[date]:
        """Return the days with exposures whose checkouts became overdue between two ends of the events."""
        first = (before - self.abandoned_after - self.session).date()
        return {first + _DAY * shift for shift in range((now.date() - first).days + 1)}


def number_of(text: str) -> int:
    """Return a positive number of 56 bits that stands for a text, since a stamp of a table is a number."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


def _days(span: timedelta) -> int:
    return math.ceil(span / _DAY)
