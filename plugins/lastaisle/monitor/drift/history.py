"""The table `drift`: one row a day, feature and segment, from which the limits of later days are learned."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from lastaisle.lake.tables import DRIFT, DRIFT_SCHEMA
from lastaisle.monitor.drift.measure import CHANGE, Score
from lastaisle.monitor.drift.report import DriftReport, Finding
from lastaisle.monitor.drift.thresholds import Rule, limit_of

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake

Row = Mapping[str, Any]


class History:
    """The rows of days before, as they were measured last.

    Args:
        rows: of the table `drift`, up to and with the day that is judged.
        day: that day: its own scores, of an earlier measurement, are no history of it.
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
        """Read so many days before a day."""
        import pyarrow.compute as pc

        if lake.version(DRIFT) is None:
            return cls([], day)
        reach = (pc.field("day") <= day) & (pc.field("day") >= day - timedelta(days=days))
        return cls(lake.scan(DRIFT, where=reach).to_pylist(), day)

    def judge(self, score: Score, family: int, rule: Rule) -> Finding:
        """Put a score beside the limit that its history gives."""
        rows = self._series.get((score.feature, score.segment, score.measure), [])
        past = np.array([row["score"] for row in rows], np.float64)
        weekdays = np.array([row["day"].weekday() for row in rows], np.int64)
        if score.measure == CHANGE:
            rule = dataclasses.replace(rule, floor=rule.price_floor)
        limit = limit_of(past, weekdays, self.day.weekday(), family, rule)
        alarmed = limit is not None and score.score > limit
        return Finding(limit=limit, alarmed=alarmed, change="", **dataclasses.asdict(score))

    def retrained_within(self, hours: float) -> date | None:
        """Return a day less than so many hours away that started a training, or None."""
        near = [day for day in self._retrained if abs((self.day - day).days) * 24 < hours]
        return max(near, default=None)

    def hits(self) -> list[Sequence[float]]:
        """Return the hits of each day's sessions, oldest first, where a champion served."""
        return [row["hits"] for row in self.rows if row["feature"] == "hit_rate" and row["hits"]]

    def has_versions(self, versions: str) -> bool:
        """Tell whether this pair of versions was compared on an earlier day."""
        return any(row["feature"] == "predictions" and row["model_version"] == versions for row in self.rows)


def stored(lake: Lake, day: date, contents: str) -> DriftReport | None:
    """Return what was found on this day, on just these events and versions; None if nothing was yet."""
    import pyarrow.compute as pc

    if not lake.has(DRIFT, key_of(day, contents)):
        return None
    rows = lake.scan(DRIFT, where=(pc.field("day") == day) & (pc.field("contents") == contents)).to_pylist()
    names = [field.name for field in dataclasses.fields(Finding)]
    findings = [Finding(**{name: row[name] for name in names}) for row in rows]
    retrain, reason = any(row["retrain"] for row in rows), next((row["reason"] for row in rows), "")
    version = next((row["model_version"] for row in rows if row["feature"] == "hit_rate"), None)
    return DriftReport(day, ordered(findings), retrain, reason, version)


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Put the alarming findings first, then by name."""
    return tuple(
        sorted(
            findings,
            key=lambda each: (not each.alarmed, -each.excess * each.alarmed, each.feature, each.segment),
        )
    )


def key_of(day: date, contents: str) -> str:
    """Name the append of a day's rows: measured again on the same events, it writes nothing."""
    return f"drift/{day.isoformat()}/{contents}"


def keep(
    lake: Lake,
    report: DriftReport,
    contents: str,
    *,
    versions: str | None = None,
    hits: Sequence[float] = (),
) -> bool:
    """Append a day's rows, exactly once by its day and contents; False if they were there."""
    import pyarrow as pa

    now = datetime.now(UTC)
    rows = [
        {
            **dataclasses.asdict(each),
            "day": report.day,
            "window_start": datetime(report.day.year, report.day.month, report.day.day, tzinfo=UTC),
            "window_end": datetime(report.day.year, report.day.month, report.day.day, tzinfo=UTC)
            + timedelta(days=1),
            "retrain": report.retrain,
            "reason": report.reason,
            "model_version": report.model_version if each.feature == "hit_rate" else versions,
            "hits": list(hits) if each.feature == "hit_rate" else None,
            "contents": contents,
            "measured_at": now,
        }
        for each in report.findings
    ]
    return lake.append(
        DRIFT, pa.Table.from_pylist(rows, schema=DRIFT_SCHEMA), key=key_of(report.day, contents)
    )
