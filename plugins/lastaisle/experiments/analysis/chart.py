"""A chart of an experiment hour by hour. Only this module imports matplotlib, so that reading need not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow.compute as pc
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lastaisle.experiments.analysis.words import level
from lastaisle.experiments.metrics import METRICS
from lastaisle.experiments.statistics.sample_ratio import ALPHA

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.axes import Axes

COLOURS: Final = ("#1b6ca8", "#e0a030", "#2a9d5c", "#b0457b", "#5b5b5b", "#c0392b", "#6f4fb0", "#4fb0ae")
#: How much wider than the newest interval a panel is: the first intervals are very wide.
MARGIN: Final = 2.5


def draw(results: pa.Table, file: Path, *, minimum_effect: float | None = None) -> None:
    """Draw the sequences of intervals: a panel a metric, a band an arm, and the sample ratio.

    Args:
        results: what `results.read_results` returned.
        file: PNG or SVG file to write, by its suffix; its folder is made.
        minimum_effect: the least effect worth finding, relative to the control, drawn beside 0.
    """
    metrics = list(
        dict.fromkeys(zip(*(results[name].to_pylist() for name in ("metric", "role")), strict=True))
    )
    rows = -(-(len(metrics) + 2) // 2)
    figure = Figure(figsize=(11, 3.2 * rows + 0.8), dpi=100, layout="constrained")
    charts = list(figure.subplots(rows, 2, squeeze=False).ravel())
    for axes, (metric, role) in zip(charts, metrics, strict=False):
        of_metric = results.filter(pc.field("metric") == metric)
        _draw_metric(axes, of_metric, metric, role, minimum_effect if role == "primary" else None)
    of_primary = results.filter(pc.field("role") == "primary")
    _draw_ratio(charts[len(metrics)], of_primary)
    _draw_shoppers(charts[len(metrics) + 1], of_primary)
    for axes in charts[len(metrics) + 2 :]:
        axes.set_axis_off()
    for axes in charts[: len(metrics) + 2]:
        _finish(axes)
    name, control = (results[column][0].as_py() for column in ("experiment", "control"))
    title = f"{name}: difference from {control}, relative (UTC). Bands: any number of looks; dashed: one"
    figure.suptitle(title.replace("$", r"\$"), fontsize=10)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _arms(rows: pa.Table) -> list[tuple[int, str, pa.Table]]:
    """Return the rows of each arm, with the place of its colour."""
    arms = sorted(set(rows["arm"].to_pylist()))
    return [(place, arm, rows.filter(pc.field("arm") == arm)) for place, arm in enumerate(arms)]


def _numbers(rows: pa.Table, name: str) -> Any:
    """Return a column as floats; NaN where nothing is known."""
    return rows[name].cast("float64").to_numpy(zero_copy_only=False)


def _draw_metric(axes: Axes, rows: pa.Table, metric: str, role: str, effect: float | None) -> None:
    limits = [effect or 0.0]
    for place, arm, own in _arms(rows):
        hours, control = own["hour"].to_pylist(), np.abs(_numbers(own, "control_value"))
        with np.errstate(divide="ignore", invalid="ignore"):
            share = {
                name: np.where(control > 0, _numbers(own, name) / control, np.nan)
                for name in ("difference", "low", "high", "fixed_low", "fixed_high")
            }
        colour = COLOURS[place % len(COLOURS)]
        axes.plot(hours, share["difference"], color=colour, linewidth=1.4, label=arm.replace("$", r"\$"))
        axes.fill_between(hours, share["low"], share["high"], color=colour, alpha=0.18, linewidth=0)
        for name in ("fixed_low", "fixed_high"):
            axes.plot(hours, share[name], color=colour, linewidth=0.8, linestyle="--", alpha=0.7)
        known = np.flatnonzero(np.isfinite(share["low"]))
        if known.size:
            limits += [abs(share[name][known[-1]]) for name in ("low", "high")]
        if len(hours) > 1 and not known.size:
            axes.set_xlim(hours[0], hours[-1])
    axes.axhline(0.0, color="#333333", linewidth=1)
    for line in (-effect, effect) if effect else ():
        axes.axhline(line, color="#333333", linewidth=0.8, linestyle=":")
    axes.set_ylim(-MARGIN * (max(limits) or 1.0), MARGIN * (max(limits) or 1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    better = "" if METRICS.get(metric) is None or METRICS[metric].better == "up" else ", less is better"
    axes.set_title(f"{metric} ({role}{better}), {level(rows['alpha'][0].as_py())}", fontsize=10, loc="left")
    axes.legend(fontsize=8, loc="upper right")


def _draw_ratio(axes: Axes, rows: pa.Table) -> None:
    _, _, own = _arms(rows)[0]
    axes.plot(own["hour"].to_pylist(), np.maximum(_numbers(own, "ratio_p"), 1e-12), color="#5b5b5b")
    axes.axhline(ALPHA, color="#c0392b", linewidth=1)
    axes.set_yscale("log")
    axes.set_ylim(ALPHA / 50, 2)
    axes.set_title(f"sample ratio: p for any number of looks; below {ALPHA} invalid", fontsize=10, loc="left")


def _draw_shoppers(axes: Axes, rows: pa.Table) -> None:
    arms = _arms(rows)
    _, _, first = arms[0]
    lines: Sequence[tuple[str, str, pa.Table]] = [
        (first["control"][0].as_py(), "control", first),
        *((arm, "arm", own) for _, arm, own in arms),
    ]
    for place, (name, prefix, own) in enumerate(lines):
        colour = "#333333" if prefix == "control" else COLOURS[(place - 1) % len(COLOURS)]
        hours = own["hour"].to_pylist()
        axes.plot(hours, _numbers(own, f"{prefix}_seen"), color=colour, label=name.replace("$", r"\$"))
        expected = _numbers(own, f"{prefix}_expected")
        axes.plot(hours, expected, color=colour, linewidth=0.8, linestyle="--")
    axes.set_ylim(bottom=0)
    axes.set_title("shoppers who saw a list; dashed: expected", fontsize=10, loc="left")
    axes.legend(fontsize=8, loc="upper left")


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
