"""A chart of drift over time. Only this module imports matplotlib, so that detection need not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lastaisle.monitor.drift.report import MEASURE_NAMES

MAX_SERIES = 8

Row = Mapping[str, Any]


def draw(rows: Sequence[Row], file: Path, day: date | None = None) -> None:
    """Draw scores and limits over time for up to eight series, the farthest above their limits first.

    Args:
        rows: rows of the table `drift`.
        file: PNG file to write; its folder is made.
        day: the series with the highest scores on this day are drawn; None = the newest day.
    """
    series: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["day"]):
        series.setdefault((row["feature"], row["segment"]), []).append(row)
    judged_day = day or max((row["day"] for row in rows), default=date.min)
    chosen = sorted(series, key=lambda key: -_excess_on(judged_day, series[key]))[:MAX_SERIES]
    count = max(1, -(-len(chosen) // 2))
    figure = Figure(figsize=(11, 2.2 * count + 0.5), dpi=90, layout="constrained")
    charts = figure.subplots(count, 2, sharex=True, squeeze=False).ravel()
    for axes, key in zip(charts, chosen, strict=False):
        _draw_series(axes, key, series[key])
    figure.suptitle("Drift: scores (line), limits (dashed), alarms (dots)")
    figure.autofmt_xdate()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _excess_on(day: date, rows: Sequence[Row]) -> float:
    """Return the day's score divided by its limit: about 0 without a limit, and 0 without a score."""
    scored = next((row for row in rows if row["day"] == day), None)
    return 0.0 if scored is None else float(scored["score"] / (scored["limit"] or 1e9))


def _draw_series(axes: Any, key: tuple[str, str], rows: Sequence[Row]) -> None:
    limits = [float("nan") if row["limit"] is None else row["limit"] for row in rows]
    alarms = [row for row in rows if row["alarmed"]]
    axes.plot([row["day"] for row in rows], [row["score"] for row in rows], color="#1b6ca8")
    axes.plot([row["day"] for row in rows], limits, color="#9a9a9a", linestyle="--")
    axes.plot([row["day"] for row in alarms], [row["score"] for row in alarms], "o", color="#c0392b")
    axes.set(title=f"{key[0]}, {key[1]}", ylabel=MEASURE_NAMES[rows[0]["measure"]], ylim=(0, None))
    axes.grid(alpha=0.3)
