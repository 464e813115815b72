"""Find the drops of one measure: when each began, and when the figures were back.

Every hour is judged with a baseline of the eight weeks before its week. So the judgement of an hour does not
depend on later hours. The hours of a drop that ended teach no baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from lastaisle.baseline.fit import WEEK, Series, fit_baseline
from lastaisle.baseline.hours import HISTORY
from lastaisle.monitor.alerts.shop.level import Level, Steps, chance_of, level_of, steps_of

if TYPE_CHECKING:
    from lastaisle.baseline.fit import Ints

Ending = Literal["back", "new normal"]

JUDGED: Final = 4 * WEEK
"""So many hours are judged again at each look: a drop that is open began in them."""
_BEFORE: Final = WEEK
_WINDOWS: Final = np.array([1, 2, 3, 4, 6, 8, 12, 18, 24, 36, 48, 72, 120, 168])
_RETURNS: Final = np.array([1, 2, 3, 4, 6, 8, 12, 18, 24, 36, 48])
#: A window with a smaller expected count is no alarm.
_LEAST_COUNTS: Final = 20.0
#: The figures are back if that is so many times as likely as that the drop goes on (a logarithm).
_BACK_LIKELIHOOD: Final = float(np.log(1000))
_NONE: Final = np.array([], dtype=np.int64)


@dataclass(frozen=True)
class Rule:
    """When a change of a measure is an alarm.

    Attributes:
        sign: 1 if less is worse, -1 if more is worse.
        alpha: a window is an alarm below this probability.
        smallest_drop: a smaller drop is none.
        new_normal: after so many hours, a drop is the new normal.
        holidays: in days since 1970.
    """

    sign: int
    alpha: float
    smallest_drop: float
    new_normal: int
    holidays: Ints


@dataclass(frozen=True)
class Episode:
    """A drop.

    Attributes:
        since: the hour in which it began, in hours since 1970.
        found: the hour whose figures showed it.
        counted: the count since then.
        usual: the count that was expected, with the level just before.
        spread: the standard deviation of `usual`.
        ended: the hour whose figures ended it; None while it goes on.
        back: the hour from which on the figures are back; None unless they are.
    """

    since: int
    found: int
    counted: float
    usual: float
    spread: float
    ended: int | None = None
    back: int | None = None

    @property
    def change(self) -> float:
        """How much the measure changed, relative to the level before; -0.2 is a fifth less."""
        return self.counted / self.usual - 1

    @property
    def ending(self) -> Ending | None:
        """How it ended; None while it goes on."""
        if self.ended is None:
            return None
        return "new normal" if self.back is None else "back"

    def taken_from(self, series: Series) -> Series:
        """Return the series that teaches the baselines after the drop."""
        if self.back is not None:
            return series.where((series.hours < self.since) | (series.hours >= self.back))
        level = np.where(series.hours < self.since, 1 + self.change, 1.0)
        return Series(series.hours, series.totals * level[:, None], series.units)


@dataclass(frozen=True)
class Course:
    """What became of a measure in the judged hours.

    Attributes:
        episodes: the drops, oldest first.
        level: how the newest hours vary; None without enough history.
        series: the hours that teach the next baseline.
        levels: the first hour of each week that was judged, with how the hours vary by which it was judged.
    """

    episodes: tuple[Episode, ...]
    level: Level | None
    series: Series
    levels: Mapping[int, Level]


def first_judged(end: int) -> int:
    """Return the first hour that a look at the hours up to an end judges: the first of its week."""
    return (end - JUDGED) // WEEK * WEEK


def course_of(series: Series, rule: Rule, end: int, first: int | None = None) -> Course:
    """Judge every hour up to an end.

    Args:
        series: the hours, also those before the first that is judged.
        rule: when a change is an alarm.
        end: the hour after the last that counts.
        first: the first hour that is judged; default four weeks before the end.
    """
    place = first_judged(end) if first is None else first
    series, level, earliest = series.between(place - HISTORY, end), None, 0
    episodes: list[Episode] = []
    levels: dict[int, Level] = {}
    while place < end:
        week = place // WEEK * WEEK
        stop = min(week + WEEK, end)
        level = _level_before(series, week, rule)
        if level is not None:
            levels[week] = level
        found = (
            None
            if level is None
            else _find(level, series.between(week - _BEFORE, stop), rule, place, earliest)
        )
        if level is None or found is None:
            place = stop
            continue
        last = min(found[0] + rule.new_normal, end)
        episode = _follow(level, series.between(found[0] - _BEFORE, last), rule, found, end)
        episodes.append(episode)
        # All hours of a drop are judged with the baseline before it.
        levels |= dict.fromkeys(range(week, end if episode.ended is None else episode.ended + 1, WEEK), level)
        if episode.ended is None:
            break
        series, place = episode.taken_from(series), episode.ended + 1
        earliest = episode.ended if episode.back is None else episode.back
    return Course(tuple(episodes), level, series, levels)


def _level_before(series: Series, week: int, rule: Rule) -> Level | None:
    past = series.between(week - HISTORY, week)
    past = past.where(~np.isin(past.days, rule.holidays))
    baseline = fit_baseline(past)
    return None if baseline is None else level_of(baseline, past, rule.holidays)


def _find(level: Level, series: Series, rule: Rule, place: int, earliest: int) -> tuple[int, int] | None:
    """Return the hour of the first change that is an alarm, and the hour that showed it."""
    if not _looks_worse(level, series, rule, place):
        return None
    steps = steps_of(level, series, max(earliest, place - int(_WINDOWS.max())))
    judged = np.flatnonzero(steps.hours >= place)
    if not len(steps.starts):
        return None
    lead = len(steps.hours) - len(steps.starts)
    column = judged[:, None] - _WINDOWS + 1 - lead
    some, column = column >= 0, np.maximum(column, 0)
    row = judged[:, None]
    variance = 1 / steps.known[row, column]
    change = steps.moved[row, column] * variance
    sums = np.concatenate([[0.0], np.cumsum(steps.expected)])
    counts = sums[row + 1] - sums[column + lead]
    alarm = some & (rule.sign * change <= -rule.smallest_drop) & (counts >= _LEAST_COUNTS)
    chance = np.where(alarm, chance_of(change, variance, rule.sign), 1.0)
    hits = np.flatnonzero(chance.min(axis=1) < rule.alpha)
    if not len(hits):
        return None
    at, window = int(hits[0]), int(chance[hits[0]].argmin())
    return int(steps.starts[column[at, window]]), int(steps.hours[judged[at]])


def _looks_worse(level: Level, series: Series, rule: Rule, place: int) -> bool:
    """Tell whether any window is below its baseline, beyond the chance of counts: most weeks are not."""
    totals, expected = level.baseline.expected(series)
    have, want = (np.concatenate([[0.0], np.cumsum(counts)]) for counts in (totals, expected))
    ends = np.flatnonzero(series.hours >= place)[:, None] + 1
    begins = np.maximum(ends - _WINDOWS, 0)
    counted, wanted = have[ends] - have[begins], want[ends] - want[begins]
    wanted = np.maximum(wanted, 1e-9)
    change = counted / wanted - 1
    chance = chance_of(change, level.baseline.dispersion / wanted, rule.sign)
    return bool(((rule.sign * change <= -rule.smallest_drop) & (chance < rule.alpha)).any())


def _follow(level: Level, series: Series, rule: Rule, found: tuple[int, int], end: int) -> Episode:
    """Return a drop, as far as the hours show it.

    Args:
        level: how the hours vary.
        series: the hours up to the new normal, or up to the end.
        rule: when a change is an alarm.
        found: the hour in which it began, and the hour that showed it.
        end: the hour after the last that counts.
    """
    since, shown = found
    steps = steps_of(level, series, since)
    lead = len(steps.hours) - len(steps.starts)
    last = len(steps.hours) - 1
    back = _return(steps, rule, shown, lead)
    if back is not None:
        last = back[1]
    ended = None if back is None else int(steps.hours[back[1]])
    if ended is None and end - since >= rule.new_normal:
        ended = since + rule.new_normal - 1
    until = last if back is None else int(np.searchsorted(steps.hours, back[0])) - 1
    variance = 1 / steps.known[until, 0]
    expected = float(steps.expected[lead : until + 1].sum())
    counted = float(steps.counted[lead : until + 1].sum())
    change = float(steps.moved[until, 0] * variance)
    return Episode(
        since=since,
        found=shown,
        counted=counted,
        usual=max(counted - change * expected, 1e-9),
        spread=float(variance**0.5) * expected,
        ended=ended,
        back=None if back is None else back[0],
    )


def _return(steps: Steps, rule: Rule, found: int, lead: int) -> tuple[int, int] | None:
    """Return from which hour on the figures are back, and the row that showed it; None if they are not.

    The drop and the change back are estimated together. A likelihood ratio compares the usual level with the
    level of the drop (Wald's sequential test), for the last hours of each window.
    """
    row = np.flatnonzero(steps.hours > found)[:, None]
    column = row - _RETURNS + 1 - lead
    some, column = column > 0, np.maximum(column, 1)
    if not len(row) or len(steps.starts) < 2:
        return None
    drop, change, both = steps.known[row, 0], steps.known[row, column], steps.shared[row, column]
    moved, turned = steps.moved[row, 0], steps.moved[row, column]
    free = np.maximum(drop * change - both**2, 1e-12)
    # The level of the last hours is the drop and the change back; it is compared with half of the drop.
    above = rule.sign * (0.5 * (change * moved - both * turned) + (drop * turned - both * moved)) / free
    variance = (0.25 * change - both + drop) / free
    lost = np.maximum(-rule.sign * (change * moved - both * turned) / free, 0.0)
    score = np.where(some, above * lost / variance, -np.inf)
    hits = np.flatnonzero(score.max(axis=1) > _BACK_LIKELIHOOD)
    if not len(hits):
        return None
    window = int(score[hits[0]].argmax())
    return int(steps.starts[column[hits[0], window]]), int(row[hits[0], 0])
