"""The plots of an evaluation. They are small, because every run keeps them."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure

from lastaisle.evaluation.report import Estimate, EvaluationReport
from models.evaluation.objectives import NEW_ITEM, NEXT_ITEM

COLOURS = {
    "candidate": "#1b6ca8",
    "champion": "#e0a030",
    "popularity": "#9a9a9a",
    "repeat": "#767676",
    "cooccurrence": "#c4c4c4",
}
METRICS = {NEXT_ITEM: ("recall@20", "mrr@20", "recall@5"), NEW_ITEM: ("recall@20", "mrr@20")}


def comparison(report: EvaluationReport) -> Figure:
    """Draw all models side by side, on next items and on new items, with 95 % intervals."""
    objectives = report.candidate.objectives
    drawn = [(name, metric) for name in METRICS if name in objectives for metric in METRICS[name]]
    labels = [f"{metric}\n{name} ({objectives[name].targets:,})" for name, metric in drawn]
    groups = {
        role: [evaluation.objectives[name].metrics[metric] for name, metric in drawn]
        for role, evaluation in report.models.items()
    }
    return _bars(labels, groups, f"{report.targets:,} targets of {report.sessions:,} sessions")


def slice_bars(report: EvaluationReport, metric: str = "recall@20") -> Figure:
    """Draw one metric of candidate and champion on each slice, with 95 % intervals."""
    parts = [name for name in ("candidate", "champion") if name in report.models]
    slices = list(report.candidate.slices)
    groups = {name: [report.models[name].slices[part].metrics[metric] for part in slices] for name in parts}
    labels = [f"{part}\n({report.candidate.slices[part].targets:,})" for part in slices]
    return _bars(labels, groups, f"{metric} by slice (targets)")


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    written = BytesIO()
    figure.savefig(written, format="png")
    return written.getvalue()


def _bars(labels: list[str], groups: dict[str, list[Estimate]], title: str) -> Figure:
    figure = Figure(figsize=(7, 3.8), dpi=80, layout="tight")
    axes = figure.subplots()
    width = 0.8 / max(1, len(groups))
    for at, (name, estimates) in enumerate(groups.items()):
        heights = [estimate.value for estimate in estimates]
        errors = [
            [max(0.0, estimate.value - estimate.low) for estimate in estimates],
            [max(0.0, estimate.high - estimate.value) for estimate in estimates],
        ]
        places = [place + (at - (len(groups) - 1) / 2) * width for place in range(len(labels))]
        axes.bar(places, heights, width, yerr=errors, capsize=2, label=name, color=COLOURS.get(name))
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set(title=title, ylim=(0, None))
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    return figure
