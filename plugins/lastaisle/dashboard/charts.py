"""Charts and heat maps as values that templates show."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

DAY_SECONDS: Final = 86_400
"""A chart whose moments are all whole days (UTC) shows days, also to viewers in another time zone."""
Unit = Literal["share", "count", "money", "seconds", "number"]


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: in the legend.
        values: one value a moment; None where there is none.
        low: the lower ends of the intervals; empty if there are none.
        high: the upper ends.
        style: line, dashed, step, points, alarms (points in the colour of alarms), bars (from zero on), or
            usual (thin and grey, behind the lines that follow).
    """

    name: str
    values: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    style: Literal["line", "dashed", "step", "points", "alarms", "bars", "usual"] = "line"


@dataclass(frozen=True)
class Chart:
    """Lines over time, or over numbers such as versions.

    Attributes:
        name: names the chart on its page; letters, digits and dashes.
        title: above the chart.
        x: moments in rising order, or numbers.
        series: the lines.
        unit: of the values.
        summary: the chart in a sentence, for readers who do not see it.
        limits: values at which a line is drawn, with their names.
        shows: values that the axis always shows, such as 0.
        marks: moments or numbers at which something happened, with a few words.
        origin: the name of the origin of the values; see lastaisle.dashboard.origin.
        x_name: what the numbers are, such as version.
    """

    name: str
    title: str
    x: Sequence[datetime] | Sequence[float]
    series: Sequence[Series]
    unit: Unit = "number"
    summary: str = ""
    limits: Sequence[tuple[float, str]] = ()
    shows: Sequence[float] = ()
    marks: Sequence[tuple[datetime | float, str]] = ()
    origin: str | None = None
    x_name: str = "at"

    @property
    def has_points(self) -> bool:
        """Whether there is anything to draw."""
        return any(value is not None for series in self.series for value in series.values)

    def to_json(self) -> str:
        """Return the chart as the page's script reads it; safe inside an HTML element."""
        by_time = bool(self.x) and isinstance(self.x[0], datetime)
        data = {
            "byTime": by_time,
            "xName": self.x_name,
            "byDay": by_time and all(_number(x) % DAY_SECONDS == 0 for x in self.x),
            "unit": self.unit,
            "x": [_number(x) for x in self.x],
            "series": [
                {
                    "name": line.name,
                    "style": line.style,
                    "values": [_finite(value) for value in line.values],
                    "low": [_finite(value) for value in line.low],
                    "high": [_finite(value) for value in line.high],
                }
                for line in self.series
            ],
            "shows": list(self.shows),
            "limits": [list(limit) for limit in self.limits],
            "marks": [[_number(x), text] for x, text in self.marks],
        }
        text = json.dumps(data, allow_nan=False, separators=(",", ":"))
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@dataclass(frozen=True)
class Cell:
    """One cell of a heat map.

    Attributes:
        value: the value; None leaves the cell empty.
        level: 0 (quiet) to 4 (far over its limit); the colour.
        text: what the cell says when it is pointed at.
        marked: whether a border tells of an alarm.
    """

    value: float | None
    level: int
    text: str
    marked: bool = False


@dataclass(frozen=True)
class HeatMap:
    """Cells in rows and columns.

    Attributes:
        name: names the map on its page.
        title: above the map.
        rows: the names of the rows.
        columns: the names of the columns.
        cells: one list of cells a row.
        legend: the meaning of each level, from 0 on.
        origin: the name of the origin of the values.
    """

    name: str
    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[Cell]]
    legend: Sequence[str] = field(default_factory=list)
    origin: str | None = None


def _number(x: Any) -> float:
    return x.timestamp() if isinstance(x, datetime) else float(x)


def _finite(value: float | None) -> float | None:
    """Return a value with six digits, which are more than a chart shows; None if there is none."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
