"""The page Drift: which features moved away from the days before, when, and what came of it."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from lastaisle.dashboard.choices import NotThereError
from lastaisle.dashboard.figures.drift import DAYS, Drift, course, feature_map, read_drift, segment_map
from lastaisle.dashboard.origin import Origin
from lastaisle.dashboard.paging import chosen
from lastaisle.dashboard.render import PagesOf, attempt, known
from lastaisle.dashboard.source import Source
from lastaisle.lake.tables import DRIFT, EVENTS
from lastaisle.monitor.drift.report import MEASURE_NAMES, DriftReport

router = APIRouter()
ALARMS_SHOWN: Final = 50


@router.get("/drift")
def drift(
    request: Request, pages: PagesOf, feature: str = "", segment: str = "", day: str = ""
) -> HTMLResponse:
    """Show the page; with a feature its segments, and with a day all scores of the day."""
    found = attempt(lambda: read_drift(pages.source))
    read = known(found)
    if read is None or not read.reports:
        return pages.render(request, "drift", title="Drift", drift=found, origins=())
    report = _report(read, day)
    feature, segment = _choice(read, feature, segment)
    return pages.render(
        request,
        "drift",
        title="Drift",
        drift=found,
        report=report,
        is_newest=report is read.reports[0],
        map=feature_map(read),
        feature=feature,
        segment=segment,
        segments=segment_map(read, feature) if len(read.features[feature]) > 1 else None,
        course=course(read, feature, segment),
        alarms=read.alarms[:ALARMS_SHOWN],
        more_alarms=max(0, len(read.alarms) - ALARMS_SHOWN),
        days=DAYS,
        measures=MEASURE_NAMES,
        origins=_origins(read, report, feature, segment),
    )


def _report(drift: Drift, day: str) -> DriftReport:
    """Return the report of the chosen day; the newest without a choice.

    Raises:
        NotThereError: the day has no report, or is none.
    """
    if not day:
        return drift.reports[0]
    report = drift.report(day)
    if report is None:
        days = f"{drift.reports[-1].day} to {drift.reports[0].day}"
        raise NotThereError(f"the drift of the day {day[:40]!r} is not known: there are days from {days}")
    return report


def _choice(drift: Drift, feature: str, segment: str) -> tuple[str, str]:
    """Return the chosen feature and segment; by default those that moved most on the newest day.

    Raises:
        ChoiceError: there is no such feature, or the feature has no such segment.
    """
    features = drift.features
    if not feature:
        most = max(drift.reports[0].findings, key=lambda one: (one.alarmed, one.excess), default=None)
        feature = most.feature if most else next(iter(features))
        segment = segment or (most.segment if most else "")
    chosen(feature, features, "feature")
    return feature, chosen(segment or features[feature][0], features[feature], "segment")


def _origins(drift: Drift, report: DriftReport, feature: str, segment: str) -> list[Origin]:
    return [
        Origin(
            "drift",
            f"The scores and limits of the newest {DAYS} days; a day may be measured several times.",
            DRIFT,
            drift.table_version,
            f'SELECT day, feature, segment, score, "limit", alarmed\nFROM {DRIFT} ORDER BY day, measured_at',
        ),
        Origin(
            "day",
            f"The scores of {report.day}.",
            DRIFT,
            drift.table_version,
            f"lastaisle drift --day {report.day}",
        ),
        Origin(
            "events",
            f"The events of {report.day} (UTC), from which the scores were measured.",
            EVENTS,
            query=f"SELECT * FROM {EVENTS} WHERE event_date = DATE '{report.day}'",
        ),
        Origin(
            "course",
            f"The score of {feature} in one segment, day by day.",
            DRIFT,
            drift.table_version,
            f'SELECT day, score, "limit", alarmed FROM {DRIFT}\n'
            f"WHERE feature = '{_quoted(feature)}' "
            f"AND segment = '{_quoted(segment)}' ORDER BY day, measured_at",
        ),
    ]


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def begin(source: Source) -> None:
    """Read what the page shows, before somebody asks."""
    read_drift(source)
