"""The drift of the newest days: a heat map, the alarms in words, and the course of one score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

import pyarrow.compute as pc

from lastaisle.dashboard.charts import Cell, Chart, HeatMap, Series
from lastaisle.lake.tables import DRIFT
from lastaisle.monitor.drift.concept import ADWIN
from lastaisle.monitor.drift.history import reports_since
from lastaisle.monitor.drift.report import MEASURE_NAMES, DriftReport, Finding

if TYPE_CHECKING:
    from lastaisle.dashboard.source import Source
    from lastaisle.lake.reader import LakeReader

DAYS: Final = 56
"""So many days up to the newest are shown: the days from which limits are learned by default."""
LEVELS: Final = (0.5, 1.0, 1.5, 3.0)
LEGEND: Final = (
    "no limit yet, or under half of the limit",
    "up to the limit",
    "up to 1.5 times the limit",
    "up to 3 times the limit",
    "more",
)


@dataclass(frozen=True)
class Drift:
    """The reports of the newest days.

    Attributes:
        reports: one a day, the newest first.
        table_version: the version of the table that was read.
    """

    reports: tuple[DriftReport, ...]
    table_version: int | None

    @property
    def alarms(self) -> list[tuple[date, Finding]]:
        """All alarms, the newest day first, and on a day the farthest above their limits first."""
        return [(report.day, alarm) for report in self.reports for alarm in report.alarms]

    @property
    def trainings(self) -> list[DriftReport]:
        """The days that started a full training, the newest first."""
        return [report for report in self.reports if report.retrain]

    @cached_property
    def features(self) -> dict[str, list[str]]:
        """The features with their segments, by name; the segment of all events comes first."""
        found: dict[str, set[str]] = {}
        for report in self.reports:
            for finding in report.findings:
                found.setdefault(finding.feature, set()).add(finding.segment)
        return {
            name: sorted(found[name], key=lambda segment: (segment != "all", segment))
            for name in sorted(found)
        }

    def report(self, day: str) -> DriftReport | None:
        """Return the report of a day such as 2025-10-08; None if there is none."""
        return next((report for report in self.reports if report.day.isoformat() == day), None)


def read_drift(source: Source) -> Drift:
    """Return the drift of the newest days."""
    return source.once("drift", [DRIFT], lambda: _read(source.lake))


def _read(lake: LakeReader) -> Drift:
    version = lake.version(DRIFT)
    days = lake.scan(DRIFT, ["day"]) if version is not None else None
    newest = pc.max(days["day"]).as_py() if days is not None and days.num_rows else None
    if newest is None:
        return Drift((), version)
    return Drift(tuple(reports_since(lake, newest - timedelta(days=DAYS - 1))), version)


def level_of(finding: Finding) -> int:
    """Return the level of a score in the heat map, from 0 to 4."""
    if finding.limit is None:
        return 2 if finding.alarmed else 0
    return sum(finding.excess > level for level in LEVELS)


def feature_map(drift: Drift) -> HeatMap:
    """Return features x days: a cell is the segment that is the farthest above its limit."""
    days = _days(drift)
    cells = [
        [
            _cell([one for one in report.findings if one.feature == feature] if report else [], day)
            for day, report in days
        ]
        for feature in drift.features
    ]
    return HeatMap(
        "features",
        "Score beside its limit: each feature on each day, by the segment that moved most",
        [feature.replace("_", " ") for feature in drift.features],
        [f"{day:%m-%d}" for day, _ in days],
        cells,
        LEGEND,
        "drift",
    )


def segment_map(drift: Drift, feature: str) -> HeatMap:
    """Return segments x days of one feature."""
    days = _days(drift)
    cells = [
        [
            _cell(
                [one for one in report.findings if (one.feature, one.segment) == (feature, segment)]
                if report
                else [],
                day,
            )
            for day, report in days
        ]
        for segment in drift.features[feature]
    ]
    return HeatMap(
        "segments",
        f"Score beside its limit: {feature.replace('_', ' ')}, each segment on each day",
        drift.features[feature],
        [f"{day:%m-%d}" for day, _ in days],
        cells,
        LEGEND,
        "drift",
    )


def _days(drift: Drift) -> list[tuple[date, DriftReport | None]]:
    """Return all days from the oldest to the newest; a day without a report has None."""
    reports = {report.day: report for report in drift.reports}
    first, last = min(reports), max(reports)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [(day, reports.get(day)) for day in days]


def _cell(findings: Sequence[Finding], day: date) -> Cell:
    if not findings:
        return Cell(None, 0, "")
    most = max(findings, key=lambda one: (one.alarmed, one.excess, one.score))
    limit = "no limit yet" if most.limit is None else f"limit {most.limit:.3g}"
    if most.measure == ADWIN:
        limit = "judged without a limit"
    text = f"{day}, {most.feature} of {most.segment}: {MEASURE_NAMES[most.measure]} {most.score:.3g}, {limit}"
    return Cell(most.score, level_of(most), f"{text}. {most.change}".rstrip(". "), most.alarmed)


def course(drift: Drift, feature: str, segment: str) -> Chart:
    """Return the score of a feature in a segment beside its limit, day by day."""
    days = _days(drift)
    found = [
        next((one for one in report.findings if (one.feature, one.segment) == (feature, segment)), None)
        if report
        else None
        for _, report in days
    ]
    scores = [one.score if one else None for one in found]
    newest = next((one for one in reversed(found) if one), None)
    alarms = [one.score if one and one.alarmed else None for one in found]
    measure = MEASURE_NAMES[newest.measure] if newest else "score"
    return Chart(
        name="course",
        title=f"{feature.replace('_', ' ')} of {segment}: {measure} and its limit",
        x=[datetime.combine(day, time(), UTC) for day, _ in days],
        series=[
            Series(measure, scores),
            Series("limit", [one.limit if one else None for one in found], style="dashed"),
            *([Series("alarm", alarms, style="points")] if any(alarms) else []),
        ],
        summary="" if newest is None else f"{newest.sentence} on the newest day.",
        origin="course",
    )
