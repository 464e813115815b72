"""Detect drift on one day: score the day, judge the scores by history, and decide about a full training."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from lastaisle.catalogue.history import read_titles
from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.tables import EVENTS
from lastaisle.lake.workspace import open_tables
from lastaisle.monitor.drift.concept import ADWIN, hit_rate_drop, hits
from lastaisle.monitor.drift.counts import RETURNING_DAYS, Counts, count_events
from lastaisle.monitor.drift.history import History, sort_findings, store_report, stored_report
from lastaisle.monitor.drift.measure import (
    LEAST_REFERENCE_DAYS,
    LEAST_VISITS,
    REFERENCE_DAYS,
    Score,
    comparable_series,
    price_changes,
    score_day,
)
from lastaisle.monitor.drift.report import DriftReport, Finding
from lastaisle.monitor.drift.sentences import describe_change, describe_price_level, describe_weekday
from lastaisle.monitor.drift.thresholds import LimitRule
from lastaisle.monitor.drift.versions import version_scores
from lastaisle.sessions.windows import evaluation_sessions

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.monitor.drift.serving import ServingVersions
    from lastaisle.settings import Settings

_ONLY_HISTORY = "The day was measured later, only for the limits of later days."
HIT_STREAM_DAYS = 28


def limit_rule(settings: Settings) -> LimitRule:
    """Return the rule for limits of an installation."""
    return LimitRule(false_alarms=settings.drift.false_alarms, history=settings.drift.history_days)


def detect(lake: Lake, settings: Settings, day: date, versions: ServingVersions | None = None) -> DriftReport:
    """Detect the drift of a day, and store the report in the table `drift`.

    Days before that the table lacks are scored too, so that the first call has limits already. A second call
    with the same events and versions returns the stored report.

    Args:
        lake: the lake with the table `events`.
        settings: how limits are learned, and how long no alarm starts another training.
        day: the day (UTC), which should be over.
        versions: champion and previous version; None = compare only the events.

    Raises:
        NotEnoughDataError: the day has too few events, or too few days before it have events.
    """
    rule = limit_rule(settings)
    contents = _contents_digest(lake, day, versions)
    known = stored_report(lake, day, contents)
    if known is not None:
        return known
    counts = _count_with_history(lake, day, rule)
    history = History.read(lake, day, rule.history)
    day_scores = score_day(counts, day)
    if not day_scores:
        before = int(np.count_nonzero(counts.totals[-1 - REFERENCE_DAYS : -1]))
        raise NotEnoughDataError(
            f"cannot judge {day} yet: it has {int(counts.totals[-1]):,} visits ({LEAST_VISITS} needed), "
            f"and {before} of the {REFERENCE_DAYS} days before have any ({LEAST_REFERENCE_DAYS} needed)"
        )
    about_versions, day_hits = _compare_versions(lake, day, versions, history, rule) if versions else ([], [])
    family = len(day_scores) + len(about_versions)
    findings = [
        history.judge(each, family, rule) if isinstance(each, Score) else each
        for each in (*day_scores, *about_versions)
    ]
    findings = _describe_alarms(findings, counts, day, lake)
    report = _decide_training(day, findings, history, settings.drift.cooldown_hours)
    if versions is not None:
        report = dataclasses.replace(report, model_version=versions.champion.number)
    store_report(lake, report, contents, versions=versions.pair if versions else None, hits=day_hits)
    return report


def _count_with_history(lake: Lake, day: date, rule: LimitRule) -> Counts:
    """Count the events for the day's comparison, and store the scores of days before that lack them."""
    scored, with_events = History.read(lake, day, rule.history).days, _days_with_events(lake)
    missing = [
        each
        for each in (day - timedelta(days=number) for number in range(rule.history, 0, -1))
        if each not in scored and each in with_events and _has_reference(each, with_events)
    ]
    start = min([day, *missing]) - timedelta(days=2 * REFERENCE_DAYS - 1)
    counts = count_events(lake, start, day)
    for each in missing:
        findings = tuple(
            Finding(limit=None, alarmed=False, change="", **dataclasses.asdict(score))
            for score in score_day(counts, each)
        )
        if findings:
            report = DriftReport(each, findings, False, _ONLY_HISTORY)
            store_report(lake, report, _contents_digest(lake, each, None))
    return counts


def _days_with_events(lake: Lake) -> set[date]:
    """Return the days that have events."""
    table = lake.table(EVENTS)
    partitions = table.partitions() if table else []
    return {date.fromisoformat(str(partition["event_date"])) for partition in partitions}


def _has_reference(day: date, with_events: set[date]) -> bool:
    before = (day - timedelta(days=number) for number in range(1, REFERENCE_DAYS + 1))
    return sum(each in with_events for each in before) >= LEAST_REFERENCE_DAYS


def _decide_training(
    day: date, findings: Sequence[Finding], history: History, cooldown_hours: float
) -> DriftReport:
    """Decide whether the day's alarms start a full training."""
    sorted_findings = sort_findings(findings)
    if not any(each.alarmed for each in sorted_findings):
        return DriftReport(day, sorted_findings, False, "No training is started: there is no alarm.")
    last = history.retrained_within(cooldown_hours)
    if last is not None:
        reason = (
            f"No training is started: drift on {last} started one, and {cooldown_hours:g} hours have to pass."
        )
        return DriftReport(day, sorted_findings, False, reason)
    return DriftReport(day, sorted_findings, True, "A full training is started.")


def _describe_alarms(findings: Sequence[Finding], counts: Counts, day: date, lake: Lake) -> list[Finding]:
    """Return the findings, each alarm with a description of its change; items have their titles, if known."""
    series, prices = dict(comparable_series(counts, day)), price_changes(counts, day)
    names_items = any(each.alarmed and each.feature == "items" for each in findings)
    titles = read_titles(lake) if names_items else {}
    described = []
    for each in findings:
        change = each.change
        if each.alarmed and not change:
            change = _ABOUT_VERSIONS.get(each.feature, "")
            compared = series.get(_COUNTED_AS.get(each.feature, (each.feature, each.segment)))
            if each.feature == "price_level":
                change = describe_price_level(each.segment, prices[each.segment][0])
            elif each.feature == "weekday":
                change = describe_weekday(counts.totals)
            elif compared is not None:
                change = describe_change(each.feature, each.segment, *compared, titles=titles)
        described.append(dataclasses.replace(each, change=change))
    return described


#: Features that have no counts of their own, and the series that has their counts.
_COUNTED_AS = {"new_items": ("items", "all"), "category_share": ("category", "all")}
_ABOUT_VERSIONS = {
    "embeddings": "the items' nearest neighbours changed from the previous version to the champion",
    "predictions": "the first 20 items changed from the previous version to the champion",
    "recommended_popularity": (
        "the champion recommends more popular or less popular items than the previous version"
    ),
}


def _compare_versions(
    lake: Lake, day: date, versions: ServingVersions, history: History, rule: LimitRule
) -> tuple[list[Score | Finding], list[float]]:
    """Score a pair of versions that was not compared before, and judge the hits of the day's sessions.

    Returns:
        scores and findings, and the hits of the day's sessions.
    """
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    log = evaluation_sessions(lake, start, start + timedelta(days=1), None).log
    compared: list[Score | Finding] = []
    previous, pair, objective = versions.previous, versions.pair, versions.objective
    if previous is not None and pair is not None and not history.has_compared(pair):
        compared += version_scores(previous, versions.champion, log, objective)
    day_hits = hits(versions.champion.served, log, objective)
    segment = f"objective={objective}"  # so hits of another objective are not compared with these
    past = history.hits(segment)[-HIT_STREAM_DAYS:]
    if len(day_hits):
        drop = hit_rate_drop(past, day_hits, rule.false_alarms)
        score = 0.0 if np.isnan(drop.drop) else drop.drop  # NaN on the first day
        sizes = (len(day_hits), sum(map(len, past)))
        change = f"the champion's hit_rate@20 fell from {drop.before:.3f} to {drop.after:.3f}"
        change = change if drop.dropped else ""
        compared.append(Finding("hit_rate", segment, ADWIN, score, None, None, drop.dropped, change, *sizes))
    return compared, day_hits.tolist()


def _contents_digest(lake: Lake, day: date, versions: ServingVersions | None) -> str:
    """Return a digest of all that a day's scores depend on: the batches with their rows, and the versions.

    The batches are those with events in the days that the scores read. Late events and erased events change
    the digest; compaction does not.
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
        parts.append(f"{versions.pair} {versions.champion.number} {versions.objective}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
