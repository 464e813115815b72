"""Look at one day: measure it, judge it by its history, say what drifted, and whether to train for it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.tables import EVENTS
from lastaisle.lake.workspace import open_tables
from lastaisle.monitor.drift.concept import ADWIN, hit_rate_drop, hits
from lastaisle.monitor.drift.counts import RETURNING_DAYS, Counts, count_events
from lastaisle.monitor.drift.history import History, keep, ordered, stored
from lastaisle.monitor.drift.measure import (
    LEAST_REFERENCE_DAYS,
    LEAST_VISITS,
    REFERENCE_DAYS,
    Score,
    compared,
    price_changes,
    scores,
)
from lastaisle.monitor.drift.report import DriftReport, Finding
from lastaisle.monitor.drift.thresholds import Rule
from lastaisle.monitor.drift.versions import version_scores
from lastaisle.monitor.drift.words import describe, describe_price_level, describe_weekday
from lastaisle.sessions.windows import evaluation_sessions

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings
    from models.recommender import Recommender

_LEARNED_BACK = "measured later, for the limits of the days after it"
HIT_STREAM_DAYS = 28


@dataclass(frozen=True)
class Versions:
    """The versions whose predictions are looked at.

    Attributes:
        champion: the version that serves.
        champion_model: its model.
        previous: the version before it; None where there was none.
        previous_model: its model.
    """

    champion: str
    champion_model: Recommender
    previous: str | None = None
    previous_model: Recommender | None = None

    @property
    def pair(self) -> str | None:
        """Name both."""
        return None if self.previous is None else f"{self.previous}→{self.champion}"


def rule_of(settings: Settings) -> Rule:
    """Return how limits are learned, as the settings say."""
    return Rule(false_alarms=settings.drift.false_alarms, history=settings.drift.history_days)


def detect(lake: Lake, settings: Settings, day: date, versions: Versions | None = None) -> DriftReport:
    """Say what drifted on a day, and keep it in the table `drift`.

    Days before it that the table lacks are measured too, so that there are limits from the first time on.
    Asked again with the same events and versions it returns what it found then.

    Args:
        lake: where `events` is.
        settings: say how limits are learned, and how long a started training rests.
        day: the day (UTC), which should be over.
        versions: champion and previous; without them only the events are looked at.

    Raises:
        NotEnoughDataError: the day has too few events, or too few days before it have any.
    """
    rule = rule_of(settings)
    contents = _contents(lake, day, versions)
    found = stored(lake, day, contents)
    if found is not None:
        return found
    counts = _count(lake, day, rule)
    history = History.read(lake, day, rule.history)
    measured = scores(counts, day)
    if not measured:
        before = int(np.count_nonzero(counts.totals[-1 - REFERENCE_DAYS : -1]))
        raise NotEnoughDataError(
            f"{day} cannot be compared: it has {int(counts.totals[-1]):,} visits ({LEAST_VISITS} needed), "
            f"and {before} of the {REFERENCE_DAYS} days before have any ({LEAST_REFERENCE_DAYS} needed)"
        )
    findings, stream = _of_versions(lake, day, versions, history, rule) if versions else ([], [])
    family = len(measured) + len(findings)
    judged = [history.judge(score, family, rule) for score in measured]
    judged += [history.judge(each, family, rule) if isinstance(each, Score) else each for each in findings]
    report = _report(day, _said(judged, counts, day), history, settings.drift.cooldown_hours)
    if versions is not None:
        report = dataclasses.replace(report, model_version=versions.champion)
    keep(lake, report, contents, versions=versions.pair if versions else None, hits=stream)
    return report


def _count(lake: Lake, day: date, rule: Rule) -> Counts:
    """Count the events that the day's comparison needs, and keep the scores of former days that lack them."""
    known, there = History.read(lake, day, rule.history).days, _days_of(lake)
    former = [day - timedelta(days=number) for number in range(rule.history, 0, -1)]
    missing = [each for each in former if each not in known and each in there and _has_reference(each, there)]
    start = min([day, *missing]) - timedelta(days=2 * REFERENCE_DAYS - 1)
    counts = count_events(lake, start, day)
    for each in missing:
        measured = scores(counts, each)
        if measured:
            findings = [
                Finding(limit=None, alarmed=False, change="", **dataclasses.asdict(score))
                for score in measured
            ]
            keep(lake, DriftReport(each, tuple(findings), False, _LEARNED_BACK), _contents(lake, each, None))
    return counts


def _days_of(lake: Lake) -> set[date]:
    """Return the days that have events."""
    table = lake.table(EVENTS)
    partitions = table.partitions() if table else []
    return {date.fromisoformat(str(partition["event_date"])) for partition in partitions}


def _has_reference(day: date, there: set[date]) -> bool:
    before = (day - timedelta(days=number) for number in range(1, REFERENCE_DAYS + 1))
    return sum(each in there for each in before) >= LEAST_REFERENCE_DAYS


def _report(day: date, findings: Sequence[Finding], history: History, cooldown_hours: float) -> DriftReport:
    """Decide whether the day's alarms start a full training."""
    listed = ordered(findings)
    if not any(each.alarmed for each in listed):
        return DriftReport(day, listed, False, "nothing drifted")
    last = history.retrained_within(cooldown_hours)
    if last is not None:
        reason = (
            f"No training is started: drift on {last} started one, and {cooldown_hours:g} hours have to pass."
        )
        return DriftReport(day, listed, False, reason)
    return DriftReport(day, listed, True, "A full training is started.")


def _said(judged: Sequence[Finding], counts: Counts, day: date) -> list[Finding]:
    """Say of each alarm what changed."""
    sides, levels = dict(compared(counts, day)), price_changes(counts, day)
    found = []
    for each in judged:
        change = each.change
        if each.alarmed and not change:
            change = _ABOUT_VERSIONS.get(each.feature, "")
            side = sides.get(_COUNTED_AS.get(each.feature, (each.feature, each.segment)))
            if each.feature == "price_level":
                change = describe_price_level(each.segment, levels[each.segment][0])
            elif each.feature == "weekday":
                change = describe_weekday(counts.totals)
            elif side is not None:
                change = describe(each.feature, each.segment, *side)
        found.append(dataclasses.replace(each, change=change))
    return found


#: Features that are read from the counts of another.
_COUNTED_AS = {"new_items": ("items", "all"), "category_share": ("category", "all")}
_ABOUT_VERSIONS = {
    "embeddings": "the items' nearest neighbours changed from the previous version to the champion",
    "predictions": "the first 20 items changed from the previous version to the champion",
    "recommended_popularity": "the champion recommends items of another popularity than the version before",
}


def _of_versions(
    lake: Lake, day: date, versions: Versions, history: History, rule: Rule
) -> tuple[list[Score | Finding], list[float]]:
    """Score versions that were not compared before, and judge the hits of the day's sessions."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    log = evaluation_sessions(lake, start, start + timedelta(days=1), None).log
    found: list[Score | Finding] = []
    if versions.previous_model is not None and versions.pair and not history.has_versions(versions.pair):
        found += version_scores(versions.previous_model, versions.champion_model, log)
    stream = hits(versions.champion_model, log)
    past = history.hits()[-HIT_STREAM_DAYS:]
    if len(stream):
        drop = hit_rate_drop(past, stream, rule.false_alarms)
        change = f"the champion's hit_rate@20 fell from {drop.before:.3f} to {drop.after:.3f}"
        score = drop.drop if drop.drop == drop.drop else 0.0  # NaN on the first day
        sizes = (len(stream), sum(map(len, past)))
        said = change if drop.dropped else ""
        found.append(Finding("hit_rate", "all", ADWIN, score, None, None, drop.dropped, said, *sizes))
    return found, stream.tolist()


def _contents(lake: Lake, day: date, versions: Versions | None) -> str:
    """Return a digest of what a day's scores depend on: the batches in reach with their rows, and versions.

    Events that come late, or are erased, make another one; compaction does not.
    """
    events = lake.require(EVENTS)
    reach = {"first": day - timedelta(days=REFERENCE_DAYS + RETURNING_DAYS), "last": day}
    batch = "batch_id" if "batch_id" in events.schema.names else "NULL"
    query = (
        f"SELECT event_date, {batch} AS batch, count(*) FROM events "
        "WHERE event_date BETWEEN $first AND $last GROUP BY ALL ORDER BY ALL"
    )
    with open_tables(events=events) as connection:
        parts = [str(row) for row in connection.execute(query, reach).fetchall()]
    if versions is not None:
        parts.append(f"{versions.pair} {versions.champion}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
