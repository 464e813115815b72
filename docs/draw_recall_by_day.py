"""Draw README's picture: by day, how many clicks the model foresaw.

    lastaisle replay --format yoochoose --source yoochoose-week.tsv --report week.json
    python docs/draw_recall_by_day.py week.json docs/recall-by-day.png

The report holds recall@20 of each strategy on each day. With one target a prediction, recall@20 is the share
of clicks whose item is in the list of 20.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

SHOWN = {
    "incremental": ("learns every day", "#1b6ca8", 10),
    "frozen": ("learned once, then never again", "#808080", -20),
}


def draw(report: dict[str, Any], file: Path) -> None:
    """Draw one line for the model that learns every day, and one for the model that learned once.

    Args:
        report: what `lastaisle replay --report` wrote.
        file: PNG file to write.
    """
    figure = Figure(figsize=(8, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    days = [period["period"] for period in report["periods"]]
    for strategy, (label, colour, points) in SHOWN.items():
        shares = [100 * period["strategies"][strategy]["recall@20"] for period in report["periods"]]
        axes.plot(days, shares, color=colour, marker="o", linewidth=2.5)
        axes.annotate(
            f"{label}: {shares[-1]:.0f} %",
            (len(days) - 1, shares[-1]),
            xytext=(0, points),
            textcoords="offset points",
            ha="right",
            color=colour,
            fontweight="bold",
        )
    axes.set(ylim=(0, 80), ylabel="clicks foreseen, %")
    axes.set_title("Is the next item that a shopper clicks among the 20 recommended items?", fontsize=11)
    axes.grid(alpha=0.3, axis="y")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file)


def main() -> None:
    """Read the report and draw it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("report", type=Path, help="the report of lastaisle replay")
    parser.add_argument("picture", type=Path, help="the PNG file to write")
    given = parser.parse_args()
    draw(json.loads(given.report.read_text(encoding="utf-8")), given.picture)


if __name__ == "__main__":
    main()
