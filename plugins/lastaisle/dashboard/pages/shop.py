"""The page Shop: what shoppers do with the recommendations, over time, by group, and by version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from lastaisle.baseline.fit import LEAST_DAYS, WEEK
from lastaisle.baseline.hours import HISTORY
from lastaisle.dashboard.charts import Chart, Series
from lastaisle.dashboard.figures.cube import Cube, shop_cube
from lastaisle.dashboard.figures.shop import PERIODS, Metric, Row, ShopFigures, shop_figures
from lastaisle.dashboard.figures.today import read_champion
from lastaisle.dashboard.figures.usual import Ends, Usual, find_usual
from lastaisle.dashboard.figures.versions import Comparison, compare
from lastaisle.dashboard.origin import Origin
from lastaisle.dashboard.paging import chosen
from lastaisle.dashboard.render import PagesOf, Problem, attempt, known
from lastaisle.dashboard.shown import share
from lastaisle.dashboard.source import Source
from lastaisle.lake.tables import SHOP_METRICS

router = APIRouter()

BY: Final = {
    "": "nothing: one line",
    "version": "version",
    "arm": "experiment and arm",
    "placement": "placement",
    "segment": "segment",
    "policy": "policy",
}
MOST_MARKS: Final = 12
_SHORT: Final = timedelta(days=7)


@dataclass(frozen=True)
class Choice:
    """What the address of the page chooses.

    Attributes:
        period: a key of PERIODS.
        by: a key of BY.
        placement: a placement; empty for all.
        one: the version that is compared; empty if there is none.
        other: the version with which it is compared.
    """

    period: str = ""
    by: str = ""
    placement: str = ""
    one: str = ""
    other: str = ""


@router.get("/shop")
def shop(request: Request, pages: PagesOf, asked: Annotated[Choice, Depends()]) -> HTMLResponse:
    """Show the page."""
    source = pages.source
    cube = attempt(lambda: shop_cube(source))
    if isinstance(cube, Cube):
        asked = _checked(source, cube, asked)
    figures = attempt(lambda: _figures(source, cube, asked))
    comparison = attempt(lambda: _compared(source, cube, asked))
    shown = figures if isinstance(figures, ShopFigures) else None
    usual = attempt(lambda: find_usual(source)) if shown and not asked.by else None
    bands = _bands(shown, known(usual), asked)
    return pages.render(
        request,
        "shop",
        title="Shop",
        cube=cube,
        asked=asked,
        periods=PERIODS,
        splits=BY,
        placements=cube.values("placement") if isinstance(cube, Cube) else (),
        versions=_versions(cube),
        figures=figures,
        charts=[_chart(metric, shown, bands.get(metric.name, {})) for metric in shown.metrics]
        if shown
        else (),
        usual=usual,
        has_bands=bool(bands),
        past_weeks=HISTORY // WEEK,
        least_days=LEAST_DAYS,
        marks=len(_marks(shown)) if shown else 0,
        comparison=comparison,
        is_chosen=bool(request.query_params.get("one")),
        sentence=_sentence(comparison) if isinstance(comparison, Comparison) else None,
        origins=_origins(cube, asked, shown),
    )


def begin(source: Source) -> None:
    """Read what the page shows, before somebody asks."""
    cube = shop_cube(source)
    if cube is not None:
        asked = _checked(source, cube, Choice())
        _figures(source, cube, asked)
        _compared(source, cube, asked)


def _checked(source: Source, cube: Cube, asked: Choice) -> Choice:
    """Return the choice with its defaults.

    Raises:
        HTTPException: 422, it chooses something that there is not.
    """
    is_short = cube.end - cube.first <= _SHORT
    period = chosen(asked.period or ("7-hour" if is_short else "28-day"), PERIODS, "period")
    chosen(asked.by, BY, "by")
    if asked.placement:
        chosen(asked.placement, cube.values("placement"), "placement")
    one, other = asked.one, asked.other
    for version in (one, other):
        if version:
            chosen(version, _versions(cube), "version")
    if not one or not other:
        first, second = _usual_versions(source, cube)
        one = one or (first if first != other else second)
        other = other or (second if second != one else first)
    return Choice(period, asked.by, asked.placement, one, other)


def _versions(cube: Cube | Problem | None) -> list[str]:
    """Return the versions that made lists, the newest first."""
    if not isinstance(cube, Cube):
        return []
    names = cube.values("model_version")
    return sorted(names, key=lambda name: (int(name) if name.isdigit() else -1, name), reverse=True)


def _usual_versions(source: Source, cube: Cube) -> tuple[str, str]:
    """Return the versions to compare first: the champion and the version before it, else the newest two."""
    champion = known(attempt(lambda: read_champion(source)))
    preferred = [] if champion is None else [champion.version, champion.before]
    versions = _versions(cube)
    found = [name for name in dict.fromkeys([*preferred, *versions]) if name in versions]
    first, second, *_ = (*found, "", "")
    return first, second


def _figures(source: Source, cube: Cube | Problem | None, asked: Choice) -> ShopFigures | None:
    """Return the figures, computed once for all who choose the same."""
    if not isinstance(cube, Cube):
        return None
    by, placement = tuple(filter(None, [asked.by])), asked.placement or None
    name = ("shop", asked.period, by, placement)

    def compute() -> ShopFigures | None:
        newest = shop_cube(source)
        return None if newest is None else shop_figures(newest, PERIODS[asked.period], by, placement)

    return source.once(name, [SHOP_METRICS], compute)


def _compared(source: Source, cube: Cube | Problem | None, asked: Choice) -> Comparison | None:
    if not isinstance(cube, Cube) or not asked.one or not asked.other:
        return None
    placement = asked.placement or None
    name = ("versions", asked.one, asked.other, placement)

    def compute() -> Comparison | None:
        newest = shop_cube(source)
        return None if newest is None else compare(newest, asked.one, asked.other, placement)

    return source.once(name, [SHOP_METRICS], compute)


def _marks(figures: ShopFigures) -> list[tuple[datetime | float, str]]:
    """Return the newest hours in which another version began to serve."""
    begun = figures.begins[1:] if figures.begins and figures.begins[0][0] == figures.since else figures.begins
    return [(hour, f"version {version}") for hour, version in begun[-MOST_MARKS:]]


def _bands(
    figures: ShopFigures | None, usual: Usual | None, asked: Choice
) -> dict[str, dict[datetime, Ends]]:
    """Return the usual band of each metric that has one in the period."""
    if figures is None or usual is None:
        return {}
    every, shown = PERIODS[asked.period].every, set(figures.moments)
    found = {metric.name: usual.of(metric, asked.placement or None, every) for metric in figures.metrics}
    return {name: band for name, band in found.items() if shown & band.keys()}


def _chart(metric: Metric, figures: ShopFigures, band: Mapping[datetime, Ends]) -> Chart:
    """Return a metric over time, a line a group, before the usual band.

    A second band shows the interval of at most three lines.
    """
    with_bands = len(figures.lines) <= 3

    def line(name: str, rows: Mapping[datetime, Row]) -> Series:
        estimates = [
            metric.estimate(row) if (row := rows.get(moment)) else None for moment in figures.moments
        ]
        ends = estimates if with_bands and any(one and one.low is not None for one in estimates) else []
        return Series(
            name,
            [None if one is None else one.value for one in estimates],
            [None if one is None else one.low for one in ends],
            [None if one is None else one.high for one in ends],
        )

    ends = [band.get(moment, (None, None, None)) for moment in figures.moments]
    value, low, high = ([end[place] for end in ends] for place in range(3))
    usual = [Series("usual", value, low, high, "usual")] if band else []
    return Chart(
        name=metric.name,
        title=metric.title,
        x=figures.moments,
        series=usual + [line(name, rows) for name, rows in figures.lines],
        unit=metric.unit,
        summary=f"Lines: {len(figures.lines)}. The table below has the figures of the whole period.",
        marks=_marks(figures),
        origin="figures",
    )


def _sentence(comparison: Comparison) -> str:
    """Say how the conversion of two versions differs."""
    found = comparison.of("conversion")
    value = found.value
    one, other = f"version {comparison.one}", f"version {comparison.other}"
    if found.one.value is None or found.other.value is None or value.value is None:
        return f"One of {one} and {other} was shown in no session, so nothing can be said of conversion."
    text = (
        f"Conversion is {share(found.one.value)} with {one} and {share(found.other.value)} with {other}: "
        f"{100 * value.value:+.2f} percentage points"
    )
    if value.low is None or value.high is None:
        return f"{text}."
    text += f" (95 % interval {100 * value.low:+.2f} to {100 * value.high:+.2f}). "
    said = {
        "better": f"{one.capitalize()} converts better.",
        "worse": f"{one.capitalize()} converts worse.",
        "open": "The interval holds 0: the figures show no difference.",
    }
    return text + said.get(found.verdict, "")


def _origins(cube: Cube | Problem | None, asked: Choice, figures: ShopFigures | None) -> list[Origin]:
    if not isinstance(cube, Cube):
        return []
    of_placement = f" --placement {asked.placement}" if asked.placement else ""
    period = PERIODS[asked.period]
    by = f" --by {asked.by}" if asked.by else ""
    since = f" --since {figures.since:%Y-%m-%dT%H:%M}" if figures else ""
    return [
        Origin(
            "figures",
            "The figures of each period, with 95 % intervals. A session counts once for each placement.",
            SHOP_METRICS,
            cube.version,
            f"lastaisle metrics --every {period.every}{by}{since}{of_placement}",
        ),
        Origin(
            "groups",
            "The figures of the whole period.",
            SHOP_METRICS,
            cube.version,
            f"lastaisle metrics --every all{by}{since}{of_placement}",
        ),
        Origin(
            "versions",
            "The figures of each version, over all days. Newcombe (1998) gives the intervals of differences.",
            SHOP_METRICS,
            cube.version,
            f"lastaisle metrics --every all --by version{of_placement}",
        ),
    ]
