"""The page Quality: how good each version is before it serves, beside what shoppers do while it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from lastaisle.dashboard.charts import Chart, Series
from lastaisle.dashboard.figures.cube import Cube, shop_cube
from lastaisle.dashboard.figures.quality import (
    Registered,
    VersionRow,
    find_online,
    find_registered,
    lengths_in,
    rows_of,
)
from lastaisle.dashboard.figures.reports import Reports, Unreadable, find_reports
from lastaisle.dashboard.origin import Origin
from lastaisle.dashboard.paging import chosen, paged
from lastaisle.dashboard.render import PagesOf, Pending, Problem, attempt
from lastaisle.dashboard.source import Source
from lastaisle.evaluation.report import REPORT, Estimate
from lastaisle.feedback.metrics import intervals
from lastaisle.lake.tables import RELEASES, SHOP_METRICS
from lastaisle.registry.links import ANY_EXPERIMENT, artifact_page
from lastaisle.release.card.place import PAGE as CARD
from models.evaluation.objectives import NEW_ITEM, NEXT_ITEM

router = APIRouter()

ROWS: Final = 40
LENGTHS: Final = (1, 5, 10, 20)
"""The lengths k that evaluations measure; shown while no report is read."""
OBJECTIVES: Final = {NEXT_ITEM: "any next item", NEW_ITEM: "new items"}


@dataclass(frozen=True)
class Choice:
    """What the address of the page chooses.

    Attributes:
        k: the length of the lists.
        placement: a placement; empty for all.
        page: the page of the table.
    """

    k: str = "20"
    placement: str = ""
    page: str = "1"


@router.get("/quality")
def quality(request: Request, pages: PagesOf, asked: Annotated[Choice, Depends()]) -> HTMLResponse:
    """Show the page."""
    source = pages.source
    registered = attempt(lambda: source.once("registered", [RELEASES], lambda: find_registered(source)))
    known = [] if isinstance(registered, Problem) else registered
    reports = attempt(lambda: _reports(source, known))
    cube = attempt(lambda: shop_cube(source))
    places = cube.values("placement") if isinstance(cube, Cube) else []
    if asked.placement and not isinstance(cube, Problem):
        chosen(asked.placement, places, "placement")
    online = attempt(lambda: _online(source, asked.placement or None))
    read = Reports({}, 0) if isinstance(reports, Problem) else reports
    lengths = [str(k) for k in lengths_in(read) or LENGTHS]
    k = chosen(asked.k, lengths, "k")
    rows = rows_of(known, read, {} if isinstance(online, Problem) else online)
    return pages.render(
        request,
        "quality",
        title="Quality",
        registered=registered,
        reports=reports,
        online=online,
        waiting=_waiting(read),
        unreadable=[report.text for report in read.by_run.values() if isinstance(report, Unreadable)],
        k=k,
        lengths=lengths,
        placement=asked.placement,
        placements=places,
        objectives=OBJECTIVES,
        charts=charts_of(rows, k),
        table=paged(rows, asked.page, ROWS),
        card_page=partial(_card_page, source.settings.services.mlflow_ui),
        estimate=_estimate,
        origins=_origins(cube, asked.placement),
    )


def begin(source: Source) -> None:
    """Read what the page shows, before somebody asks."""
    _online(source, None)
    _reports(source, source.once("registered", [RELEASES], lambda: find_registered(source)))


def _reports(source: Source, registered: Sequence[Registered]) -> Reports:
    runs = [(one.fate.run_id, one.fate.decided is not None) for one in registered if one.fate.run_id]
    return find_reports(source, runs) if runs else Reports({}, 0)


def _waiting(reports: Reports) -> Pending | None:
    """Say how many evaluations are still being read; the page then loads again by itself."""
    if not reports.waiting:
        return None
    return Pending(f"The evaluations of {reports.waiting:,} versions are still being read from MLflow")


def _online(source: Source, placement: str | None) -> Mapping[str, Mapping[str, Any]]:
    return source.once(("online", placement), [SHOP_METRICS], lambda: find_online(source, placement))


def _card_page(mlflow: str, run_id: str) -> str:
    return artifact_page(mlflow, ANY_EXPERIMENT, run_id, CARD)


def _estimate(row: Mapping[str, Any], name: str) -> intervals.Estimate:
    """Return a rate of a row with its interval."""
    return intervals.Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])


def charts_of(rows: Sequence[VersionRow], k: str) -> list[Chart]:
    """Return the charts over the versions: what evaluations measured, and beside it what shoppers did."""
    ordered = sorted((row for row in rows if row.of.version.isdigit()), key=lambda row: int(row.of.version))
    return [
        _offline("recall", k, ordered),
        _online_chart("ctr", "Click-through rate", ordered),
        _offline("precision", k, ordered),
        _online_chart("conversion", "Conversion", ordered),
    ]


def _offline(name: str, k: str, rows: Sequence[VersionRow]) -> Chart:
    """Return a metric of the evaluations: a line an objective, and points on the refused versions."""
    metric = f"{name}@{k}"
    lines = [
        _line(text, [row.score(metric, objective) for row in rows]) for objective, text in OBJECTIVES.items()
    ]
    refused = [row.score(metric, NEXT_ITEM) if row.of.is_refused else None for row in rows]
    points = Series("refused", [None if one is None else one.value for one in refused], style="alarms")
    return Chart(
        name=name,
        title=f"{metric} before the release, over versions",
        x=[float(row.of.version) for row in rows],
        x_name="version",
        series=[*lines, points],
        summary=f"{len(rows)} versions. The table below has the figures.",
        origin="reports",
    )


def _online_chart(name: str, title: str, rows: Sequence[VersionRow]) -> Chart:
    """Return a rate of the lists of each version."""
    return Chart(
        name=name,
        title=f"{title} of the version's lists, over versions",
        x=[float(row.of.version) for row in rows],
        x_name="version",
        series=[
            _line("shoppers", [None if row.online is None else _estimate(row.online, name) for row in rows])
        ],
        unit="share",
        summary=f"{len(rows)} versions. The table below has the figures.",
        origin="online",
    )


def _line(name: str, estimates: Sequence[Estimate | intervals.Estimate | None]) -> Series:
    return Series(
        name,
        [None if one is None else one.value for one in estimates],
        [None if one is None else one.low for one in estimates],
        [None if one is None else one.high for one in estimates],
    )


def _origins(cube: Cube | Problem | None, placement: str) -> list[Origin]:
    of_placement = f" --placement {placement}" if placement else ""
    return [
        Origin("versions", "The ledger: each move of a version.", RELEASES, query="lastaisle releases"),
        Origin(
            "reports",
            f"The evaluation of each version, {REPORT} of its run. The figures link to the run.",
        ),
        Origin(
            "online",
            "What shoppers did with the lists of each version, over all days.",
            SHOP_METRICS,
            cube.version if isinstance(cube, Cube) else None,
            f"lastaisle metrics --every all --by version,policy{of_placement}",
        ),
    ]
