"""The table `drift`: one row a day, feature and segment. The limits of later days are learned from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.lake.tables import DRIFT, DRIFT_SCHEMA
from lastaisle.monitor.drift.measure import CHANGE, Score
from lastaisle.monitor.drift.report import DriftReport, Finding
from lastaisle.monitor.drift.thresholds import LimitRule, learn_limit

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.lake.reader import LakeReader

Row = Mapping[str, Any]


class History:
    """The rows of the days before; of each day, feature and segment the newest measurement.

    Args:
        rows: rows of the table `drift` up to the judged day, and of that day.
        day: the judged day. Its own scores of an earlier measurement do not belong to its history.
    """

    def __init__(self, rows: Iterable[Row], day: date) -> None:
        rows = list(rows)
        self.day = day
        self._retrained = {row["day"] for row in rows if row["retrain"]}
        newest: dict[tuple[date, str, str], Row] = {}
        for row in sorted(rows, key=lambda row: row["measured_at"]):
            if row["day"] != day:
                newest[row["day"], row["feature"], row["segment"]] = row
        self.rows = sorted(newest.values(), key=lambda row: row["day"])
        self.days = {row["day"] for row in self.rows}
        self._series: dict[tuple[str, str, str], list[Row]] = {}
        for row in self.rows:
            self._series.setdefault((row["feature"], row["segment"], row["measure"]), []).append(row)

    @classmethod
    def read(cls, lake: Lake, day: date, days: int) -> History:
        """Read the history of a day: this number of days before the day."""
        if lake.version(DRIFT) is None:
            return cls([], day)
        reach = (pc.field("day") <= day) & (pc.field("day") >= day - timedelta(days=days))
        return cls(lake.scan(DRIFT, where=reach).to_pylist(), day)

    def judge(self, score: Score, family: int, rule: LimitRule) -> Finding:
        """Compare a score with the limit that is learned from its history.

        Args:
            score: a score of the judged day.
            family: number of series that are judged together.
            rule: how limits are learned.
        """
        rows = self._series.get((score.feature, score.segment, score.measure), [])
        past = np.array([row["score"] for row in rows], np.float64)
        weekdays = np.array([row["day"].weekday() for row in rows], np.int64)
        if score.measure == CHANGE:
            rule = dataclasses.replace(rule, floor=rule.price_floor)
        limit = learn_limit(past, weekdays, self.day.weekday(), family, rule)
        alarmed = limit is not None and score.score > limit
        return Finding(limit=limit, alarmed=alarmed, change="", **dataclasses.asdict(score))

    def retrained_within(self, hours: float) -> date | None:
        """Return the newest day that started a training, less than `hours` before or after; None = no day."""
        near = [day for day in self._retrained if abs((self.day - day).days) * 24 < hours]
        return max(near, default=None)

    def hits(self, segment: str) -> list[Sequence[float]]:
        """Return the hits of each day's sessions in a segment, oldest first; days without hits are left out.

        Rows of older releases have the segment `all`. Their models knew the shopper, unlike the models that
        services get, so their hits are not compared with later hits.
        """
        return [
            row["hits"]
            for row in self.rows
            if (row["feature"], row["segment"]) == ("hit_rate", segment) and row["hits"]
        ]

    def has_compared(self, pair: str) -> bool:
        """Return whether this pair of versions was compared on an earlier day."""
        return any(row["feature"] == "predictions" and row["model_version"] == pair for row in self.rows)


def stored_report(lake: Lake, day: date, contents: str) -> DriftReport | None:
    """Return the stored report of a day on exactly these contents; None if there is none.

    Args:
        lake: the lake with the table `drift`.
        day: the day.
        contents: digest of the events and versions; see `lastaisle.monitor.drift.detect`.
    """
    if not lake.has(DRIFT, _transaction_key(day, contents)):
        return None
    rows = lake.scan(DRIFT, where=(pc.field("day") == day) & (pc.field("contents") == contents)).to_pylist()
    return _report(day, rows) if rows else DriftReport(day, (), False, "")


def reports_since(lake: LakeReader, first: date) -> list[DriftReport]:
    """Return the report of each day from a day on, the newest first; of each score the newest counts.

    Args:
        lake: the lake with the table `drift`.
        first: the first day.
    """
    stored = lake.dataset(DRIFT)
    if stored is None:
        return []
    columns = [name for name in stored.schema.names if name != "hits"]
    rows = lake.scan(DRIFT, columns, pc.field("day") >= first).to_pylist()
    days: dict[date, dict[tuple[str, str], Row]] = {}
    for row in sorted(rows, key=lambda row: row["measured_at"]):
        days.setdefault(row["day"], {})[row["feature"], row["segment"]] = row
    return [_report(day, list(days[day].values())) for day in sorted(days, reverse=True)]


def _report(day: date, rows: Sequence[Row]) -> DriftReport:
    """Return the report that rows of one day make; the newest row says whether a training was started."""
    names = [field.name for field in dataclasses.fields(Finding)]
    findings = [Finding(**{name: row[name] for name in names}) for row in rows]
    newest = max(rows, key=lambda row: row["measured_at"])
    starts = next((row for row in rows if row["retrain"]), newest)
    version = next((row["model_version"] for row in rows if row["feature"] == "hit_rate"), None)
    return DriftReport(day, sort_findings(findings), bool(starts["retrain"]), starts["reason"], version)


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings with alarms first, and the others by name."""
    return tuple(
        sorted(
            findings,
            key=lambda each: (not each.alarmed, -each.excess * each.alarmed, each.feature, each.segment),
        )
    )


def store_report(
    lake: Lake,
    report: DriftReport,
    contents: str,
    *,
    versions: str | None = None,
    hits: Sequence[float] = (),
) -> bool:
    """Append a day's rows exactly once for its day and contents; return False if the table had them.

    Args:
        lake: the lake with the table `drift`.
        report: the report to store.
        contents: digest of the events and versions.
        versions: the pair of compared versions.
        hits: the hits of the day's sessions.
    """
    start = datetime(report.day.year, report.day.month, report.day.day, tzinfo=UTC)
    now = datetime.now(UTC)
    rows = [
        {
            **dataclasses.asdict(each),
            "day": report.day,
            "window_start": start,
            "window_end": start + timedelta(days=1),
            "retrain": report.retrain,
            "reason": report.reason,
            "model_version": report.model_version if each.feature == "hit_rate" else versions,
            "hits": list(hits) if each.feature == "hit_rate" else None,
            "contents": contents,
            "measured_at": now,
        }
        for each in report.findings
    ]
    table = pa.Table.from_pylist(rows, schema=DRIFT_SCHEMA)
    return lake.append(DRIFT, table, key=_transaction_key(report.day, contents))


def _transaction_key(day: date, contents: str) -> str:
    """Return the key of the append: a second measurement of the same contents writes nothing."""
    return f"drift/{day.isoformat()}/{contents}"
