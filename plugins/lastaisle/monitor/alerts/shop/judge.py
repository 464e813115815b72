"""Judge the measures of each placement and of the whole shop, and say in words what was found."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np

from lastaisle.baseline.fit import DAY, LEAST_DAYS, WEEK
from lastaisle.baseline.hours import HISTORY, moment_of
from lastaisle.baseline.measures import MEASURES
from lastaisle.monitor.alerts.shop.episodes import Course, Episode, Rule, course_of
from lastaisle.monitor.alerts.shop.level import DEVIATIONS, Level, chance_of
from lastaisle.telemetry.shown import utc

if TYPE_CHECKING:
    from lastaisle.baseline.fit import Series
    from lastaisle.baseline.hours import Mask, ShopHours
    from lastaisle.baseline.measures import Measure
    from lastaisle.monitor.alerts.shop.limits import ShopDropOptions

State = Literal["dropped", "usual", "too few sessions", "too little history"]

HOURS_READ: Final = HISTORY + 5 * WEEK
"""So many hours are read: those that are judged, and those of the baseline of the first."""
#: At most so many placements, those with most lists, are judged one by one.
_MOST_PLACEMENTS: Final = 10
#: A shop has enough sessions if a day shows a drop of this share.
_TO_BE_FOUND: Final = 0.2
_MOST_TRAFFIC: Final = 1e5
#: Days of a shop with few counts are taken to vary by so much.
_DAYS_SPREAD: Final = 0.03
_WORDS: Final = {
    "ctr": "CTR",
    "add_to_cart_rate": "The add-to-cart rate",
    "conversion": "Conversion",
    "revenue_per_session": "Revenue a session",
    "abandonment": "Checkout abandonment",
}


@dataclass(frozen=True)
class Judged:
    """What the figures say of one measure of one placement.

    Attributes:
        placement: the placement; None = the whole shop.
        measure: the measure.
        state: whether it dropped; or why that cannot be said.
        sentence: the same in words.
        drop: the drop that goes on; None without one.
        value: the rate since the drop began.
        usual: the rate that was expected for the same hours, with the ends of its interval of 95 %.
        ended: the drops that ended, oldest first, with a sentence each.
    """

    placement: str | None
    measure: Measure
    state: State
    sentence: str
    drop: Episode | None = None
    value: float = math.nan
    usual: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    ended: tuple[tuple[Episode, str], ...] = ()

    @property
    def scope(self) -> dict[str, str]:
        """What is concerned, as an alert names it."""
        of_placement = {} if self.placement is None else {"placement": self.placement}
        return {**of_placement, "metric": self.measure.name}


class Watched(NamedTuple):
    """A measure of a placement that is judged.

    Attributes:
        placement: the placement; None = the whole shop.
        measure: the measure.
        rule: when a change is an alarm.
        series: the complete hours.
    """

    placement: str | None
    measure: Measure
    rule: Rule
    series: Series


def judge_shop(shop: ShopHours, measures: Iterable[str], options: ShopDropOptions) -> list[Judged]:
    """Judge some measures of each placement and, with several placements, of the whole shop.

    Args:
        shop: the figures by hour, placement and segment, of HOURS_READ hours.
        measures: the names of the measures.
        options: how strict the judgement is.
    """
    return [_Judge(shop, *watched).judge() for watched in watched_in(shop, measures, options)]


def watched_in(shop: ShopHours, measures: Iterable[str], options: ShopDropOptions) -> list[Watched]:
    """Return the hours of each measure and placement that is judged; see `judge_shop`."""
    names = shop.placements().astype(str)
    lists = {name: float(shop.lists[names == name].sum()) for name in np.unique(names) if name}
    most = sorted(lists, key=lambda name: (-lists[name], name))[:_MOST_PLACEMENTS]
    scopes: list[str | None] = list(most) if len(lists) == 1 and names.all() else [None, *most]
    wanted = [MEASURES[name] for name in measures]
    alpha = options.alpha(len(scopes) * len(wanted))
    found = []
    for placement in scopes:
        chosen: Mask = np.ones(len(names), dtype=bool) if placement is None else names == placement
        for measure in wanted:
            series = shop.series(measure, chosen, by=("placement", "segment"))
            series = series.between(0, shop.complete_until)
            found.append(Watched(placement, measure, rule_of(measure, options, alpha), series))
    return found


def rule_of(measure: Measure, options: ShopDropOptions, alpha: float) -> Rule:
    """Return when a change of a measure is an alarm."""
    days = [math.floor((day - moment_of(0).date()) / timedelta(days=1)) for day in options.holidays]
    return Rule(
        sign=measure.sign,
        alpha=alpha,
        smallest_drop=options.smallest_drop,
        new_normal=round(DAY * options.new_normal_days),
        holidays=np.array(days, dtype=np.int64),
    )


@dataclass(frozen=True)
class _Judge:
    """Judges one measure of one placement; see Judged."""

    shop: ShopHours
    placement: str | None
    measure: Measure
    rule: Rule
    series: Series

    @property
    def _name(self) -> str:
        return f"{_WORDS[self.measure.name]}{'' if self.placement is None else f' at {self.placement}'}"

    def judge(self) -> Judged:
        """Judge it."""
        end = self.shop.complete_until
        course = course_of(self.series, self.rule, end)
        if course.level is None:
            reason = (
                f"{self._name} is not judged: less than {LEAST_DAYS} days before "
                f"{_hour(end // WEEK * WEEK)} have counts of it."
            )
            return Judged(self.placement, self.measure, "too little history", reason)
        ended = tuple((one, self._end_of(one)) for one in course.episodes if one.ended is not None)
        if course.episodes and course.episodes[-1].ended is None:
            return self._dropped(course.episodes[-1], ended)
        state, sentence = self._usual(course, course.level, end)
        return Judged(self.placement, self.measure, state, sentence, ended=ended)

    def _dropped(self, drop: Episode, ended: tuple[tuple[Episode, str], ...]) -> Judged:
        since = self.series.between(drop.since, self.shop.complete_until)
        value = float(since.totals.sum() / max(since.units.sum(), 1))
        scale = value / drop.counted if drop.counted > 0 else 1 / max(float(since.units.sum()), 1)
        half = DEVIATIONS * drop.spread
        ends = (max(drop.usual - half, 0.0), drop.usual + half)
        usual = (scale * drop.usual, scale * ends[0], scale * ends[1])
        low, middle_text, high = (self._written(one) for one in (usual[1], usual[0], usual[2]))
        sentence = (
            f"{self._name} is {self._written(value)} since {_hour(drop.since)}, {_difference(drop)} the same "
            f"hours of the past {HISTORY // WEEK} weeks ({middle_text}, between {low} and {high})."
        )
        return Judged(self.placement, self.measure, "dropped", sentence, drop, value, usual, ended)

    def _usual(self, course: Course, level: Level, end: int) -> tuple[State, str]:
        """Say whether a drop of a fifth would be seen within a day, and with which traffic it would."""
        day = course.series.between(end - DAY, end)
        expected = level.baseline.expected(day)[1]
        some = expected > 0
        if not some.any():
            return "too few sessions", f"{self._name} is not judged: the last day has no counts of it."
        chance = level.baseline.dispersion / float(expected.sum())
        whole = level.variance_together(day.hours[some], expected[some])
        factor = self._traffic_factor(chance, max(whole - chance, 0.0))
        if factor <= 1:
            return "usual", f"{self._name} is as usual."
        sessions = self._sessions_an_hour(end)
        asked = (
            f"from about {math.ceil(factor * sessions):,} sessions an hour on"
            if math.isfinite(factor)
            else "with no number of sessions, since the shop varies so much from day to day"
        )
        return "too few sessions", (
            f"{self._name} has too few sessions to judge: a drop of {_percent(_TO_BE_FOUND)} can be found "
            f"within a day {asked}; the last week had {sessions:,.1f} an hour."
        )

    def _traffic_factor(self, chance: float, other: float) -> float:
        """Return how many times the traffic must grow until a day shows a drop of a fifth; 1 = enough."""
        if (
            chance > _DAYS_SPREAD**2
        ):  # few counts: chance is in the other variation too, and traffic reduces it
            other = min(other, _DAYS_SPREAD**2)
        factors = np.geomspace(1.0, _MOST_TRAFFIC, 200)
        change = np.full_like(factors, -self.rule.sign * _TO_BE_FOUND)
        found = chance_of(change, chance / factors + other, self.rule.sign) < self.rule.alpha
        return float(factors[found.argmax()]) if found.any() else math.inf

    def _sessions_an_hour(self, end: int) -> float:
        chosen = (self.shop.hours >= end - WEEK) & (self.shop.hours < end)
        if self.placement is not None:
            chosen &= self.shop.placements() == self.placement
        return float(self.shop.rows["sessions"].to_numpy()[chosen].sum()) / WEEK

    def _end_of(self, one: Episode) -> str:
        if one.back is not None:
            return f"{self._name} is back at its usual level since {_hour(one.back)}."
        days = self.rule.new_normal / DAY
        return (
            f"{self._name} has stayed {_difference(one)} its level before {_hour(one.since)} for {days:g} "
            "days: that is the new normal now."
        )

    def _written(self, rate: float) -> str:
        return written(self.measure, rate, self.shop.currency)


def written(measure: Measure, rate: float, currency: str | None) -> str:
    """Return a rate as people read it: 2.13 %, or 0.84 EUR."""
    if measure.part == "revenue":
        return f"{rate:,.2f} {currency or ''}".strip()
    return f"{100 * rate:.3g} %"


def _difference(drop: Episode) -> str:
    return f"{_percent(abs(drop.change))} {'below' if drop.change < 0 else 'above'}"


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _hour(hour: int) -> str:
    return utc(moment_of(hour))
