"""The report of a replay for people: a table of the means, and a chart of metrics and cost by period."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from rich.table import Table

COLOURS = {
    "frozen": "#9a9a9a",
    "scratch": "#e0a030",
    "incremental": "#1b6ca8",
    "online": "#2a9d5c",
    "ensemble": "#b0457b",
}

MOST_LABELS = 10


def tabulate(report: Mapping[str, Any]) -> Table:
    """Return the summary of a replay's report as a table with one row a strategy."""
    table = Table("strategy", "recall@20", "precision@20", "mrr@20", "train seconds")
    for strategy, mean in report["summary"].items():
        metrics = (f"{mean[name]:.4f}" for name in ("recall@20", "precision@20", "mrr@20"))
        table.add_row(strategy, *metrics, f"{mean['train_seconds']:.1f}")
    return table


def draw(report: Mapping[str, Any], file: Path, marks: Mapping[int, str] | None = None) -> None:
    """Draw recall@20 and precision@20 over the periods, and the training seconds below.

    Args:
        report: the report that `lastaisle.replay.replay.replay` returned.
        file: PNG file to write; its folder is made.
        marks: number of a period, counted from 0, to the event that is marked there.
    """
    figure = Figure(figsize=(8, 7), dpi=100, layout="constrained")
    recall, precision, cost = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    labels = [period["period"] for period in report["periods"]]
    for strategy in report["summary"]:
        rows = [period["strategies"][strategy] for period in report["periods"]]
        style = {"label": strategy, "color": COLOURS.get(strategy), "marker": "o", "markersize": 4}
        recall.plot(labels, [row["recall@20"] for row in rows], **style)
        precision.plot(labels, [row["precision@20"] for row in rows], **style)
        cost.plot(labels, list(accumulate(row["train_seconds"] for row in rows)), **style)
    for place, event in (marks or {}).items():
        for axes in (recall, precision, cost):
            axes.axvline(place, color="#555555", linestyle=":", linewidth=1)
        recall.annotate(f" {event}", (place, 0), xycoords=("data", "axes fraction"), va="bottom", fontsize=8)
    recall.set(ylabel="recall@20", title="Trained up to the period before, tested on this one")
    precision.set(ylabel="precision@20")
    cost.set(ylabel="train seconds, sum", yscale="log")
    for axes in (recall, precision, cost):
        axes.grid(alpha=0.3)
    figure.legend(*recall.get_legend_handles_labels(), loc="outside upper center", ncols=len(COLOURS))
    cost.xaxis.set_major_locator(FixedLocator(range(0, len(labels), 1 + len(labels) // MOST_LABELS)))
    cost.tick_params(axis="x", rotation=30)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)
