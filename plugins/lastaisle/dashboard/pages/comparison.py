"""Two versions side by side: what was measured, and what they show in the same real sessions."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from lastaisle.dashboard.choices import ChoiceError
from lastaisle.dashboard.figures.comparison import LENGTH, compare_lists, metric_order
from lastaisle.dashboard.figures.releases import Releases, read_releases
from lastaisle.dashboard.figures.reports import Measured, measured_in
from lastaisle.dashboard.origin import Origin
from lastaisle.dashboard.pages.releases import require_version
from lastaisle.dashboard.render import PagesOf, Problem, attempt, known
from lastaisle.dashboard.source import Source
from lastaisle.evaluation.report import Estimate
from lastaisle.lake.tables import EVENTS

router = APIRouter()


@dataclass(frozen=True)
class MetricRow:
    """One metric of both versions.

    Attributes:
        name: such as recall@20.
        one: of the first version; None if it was not measured.
        other: of the second version.
    """

    name: str
    one: Estimate | None
    other: Estimate | None

    @property
    def length(self) -> int:
        """The length of the list that the metric looks at; 0 if its name has none."""
        length = self.name.partition("@")[2]
        return int(length) if length.isdigit() else 0

    @property
    def difference(self) -> float | None:
        """The second less the first; None if one of both was not measured."""
        return None if self.one is None or self.other is None else self.other.value - self.one.value


@router.get("/releases/compare")
def compare(request: Request, pages: PagesOf, one: str = "", other: str = "") -> HTMLResponse:
    """Show the page."""
    source = pages.source
    if not one or not other:
        raise ChoiceError("a comparison needs two versions: choose them on the page Releases")
    found = attempt(lambda: read_releases(source))
    ledger = known(found)
    if ledger is None:
        measured: list[Measured | Problem | None] = [None, None]
        lists: object = found
    else:
        for version in (one, other):
            require_version(ledger, version)
        measured = [_measured(source, ledger, version) for version in (one, other)]
        lists = attempt(lambda: compare_lists(source, one, other))
    return pages.render(
        request,
        "comparison",
        title=f"Version {one} and version {other}",
        section="Releases",
        one=one,
        other=other,
        numbers=[version.number for version in ledger.versions] if ledger else [],
        first=measured[0],
        second=measured[1],
        rows=_rows(*measured),
        lists=lists,
        length=LENGTH,
        origins=_origins(one, other, *measured),
    )


def _measured(source: Source, ledger: Releases, version: str) -> Measured | Problem | None:
    found = ledger.version(version)
    if found is None or not found.run_id:
        return None
    run_id = found.run_id
    return attempt(lambda: measured_in(source, run_id))


def _rows(one: Measured | Problem | None, other: Measured | Problem | None) -> list[MetricRow]:
    scores = [
        {} if found is None or isinstance(found, Problem) else found.scores[found.served]
        for found in (one, other)
    ]
    first, second = scores
    return [MetricRow(name, first.get(name), second.get(name)) for name in metric_order({*first, *second})]


def _origins(
    one: str, other: str, first: Measured | Problem | None, second: Measured | Problem | None
) -> list[Origin]:
    runs = [
        None if found is None or isinstance(found, Problem) else found.run_id for found in (first, second)
    ]
    return [
        Origin("one", f"The evaluation of version {one}, in its run.", run_id=runs[0]),
        Origin("other", f"The evaluation of version {other}, in its run.", run_id=runs[1]),
        Origin(
            "lists",
            f"What version {one} and version {other} answer to the newest sessions, asked as services ask.",
            EVENTS,
            query=f"models:/…/{one} and models:/…/{other}, asked with the sessions of {EVENTS}",
        ),
    ]
