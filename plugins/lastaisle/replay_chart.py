"""The chart of a replay: what each strategy's model was worth in each period, and what it cost so far."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

COLOURS = {"frozen": "#9a9a9a", "scratch": "#e0a030", "incremental": "#1b6ca8"}


def draw(report: Mapping[str, Any], file: Path) -> None:
    """Draw a replay's report: recall@20 and precision@20 over the periods, training seconds below.

    Args:
        report: what `lastaisle.replay.replay` returned.
        file: PNG file to write; its folder is made.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), dpi=100, layout="constrained")
    recall, precision, cost = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    labels = [period["period"] for period in report["periods"]]
    for strategy in report["summary"]:
        rows = [period["strategies"][strategy] for period in report["periods"]]
        style = {"label": strategy, "color": COLOURS.get(strategy), "marker": "o"}
        recall.plot(labels, [row["recall@20"] for row in rows], **style)
        precision.plot(labels, [row["precision@20"] for row in rows], **style)
        cost.plot(labels, list(accumulate(row["train_seconds"] for row in rows)), **style)
    recall.set(ylabel="recall@20", title="Trained up to the period before, tested on this one")
    precision.set(ylabel="precision@20")
    cost.set(ylabel="train seconds, sum", yscale="log")
    for axes in (recall, precision, cost):
        axes.grid(alpha=0.3)
    recall.legend()
    cost.tick_params(axis="x", rotation=30)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)
