"""The plots of an evaluation: how good each model is, with intervals."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

from lastaisle.evaluation.report import Estimate, EvaluationReport
from lastaisle.registry.plots import TEXT, new_axes
from models.evaluation.objectives import NEW_ITEM, NEXT_ITEM

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Each has a contrast of 3 to 1 or more on white.
COLOURS: Final = {
    "candidate": "#1b6ca8",
    "champion": "#c05a00",
    "anchor": "#7b3fa0",
    "popularity": "#8a8a8a",
    "repeat": "#555555",
    "cooccurrence": "#2f8f6b",
}
ROW: Final = 0.26  # inches for each model of a row
SMALL: Final = 10
METRICS = {NEXT_ITEM: ("recall@20", "mrr@20", "recall@5"), NEW_ITEM: ("recall@20", "mrr@20")}


def comparison(report: EvaluationReport) -> Figure:
    """Draw all models side by side, on next items and on new items, with 95 % intervals."""
    objectives = report.candidate.objectives
    drawn = [(name, metric) for name in METRICS if name in objectives for metric in METRICS[name]]
    labels = [f"{metric}\n{name}\n({objectives[name].targets:,})" for name, metric in drawn]
    groups = {
        role: [evaluation.objectives[name].metrics[metric] for name, metric in drawn]
        for role, evaluation in report.models.items()
    }
    return _intervals(labels, groups, f"{report.targets:,} targets of {report.sessions:,} sessions")


def slice_bars(report: EvaluationReport, metric: str = "recall@20") -> Figure:
    """Draw one metric of candidate and champion on each slice, with 95 % intervals."""
    parts = [name for name in ("candidate", "champion") if name in report.models]
    slices = list(report.candidate.slices)
    groups = {name: [report.models[name].slices[part].metrics[metric] for part in slices] for name in parts}
    labels = [f"{part}\n({report.candidate.slices[part].targets:,})" for part in slices]
    return _intervals(labels, groups, f"{metric} by slice (targets)")


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    written = BytesIO()
    figure.savefig(written, format="png")
    return written.getvalue()


def _intervals(labels: list[str], groups: dict[str, list[Estimate]], title: str) -> Figure:
    """Draw a row for each label, and in the row one point with its interval and its value for each model."""
    step = 0.8 / max(1, len(groups))
    height = 1.5 + len(labels) * max(0.55, ROW * len(groups))
    figure, axes = new_axes(height, title, x_label="with 95 % intervals")
    for at, (name, estimates) in enumerate(groups.items()):
        places = [row + (at - (len(groups) - 1) / 2) * step for row in range(len(labels))]
        colour = COLOURS.get(name)
        ends = [(max(0.0, each.value - each.low), max(0.0, each.high - each.value)) for each in estimates]
        axes.errorbar(
            [each.value for each in estimates],
            places,
            xerr=list(zip(*ends, strict=True)),
            fmt="o",
            markersize=7,
            capsize=3,
            elinewidth=2,
            label=name,
            color=colour,
        )
        for place, each in zip(places, estimates, strict=True):
            axes.annotate(
                f"{each.value:.3f}",
                (each.high, place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=SMALL,
            )
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, axes.get_xlim()[1] + 0.05)
    for row in range(1, len(labels)):
        axes.axhline(row - 0.5, color="#dddddd", linewidth=1)
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=TEXT, frameon=False)
    return figure
