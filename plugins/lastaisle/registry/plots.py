"""One look for the plots of a run: wide enough for MLflow's pages, with text that can be read there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, DPI = 9.0, 110  # 990 pixels; MLflow shows a picture about 900 pixels wide
TEXT: Final = 12  # points: 18 pixels
TITLE: Final = 14


def new_axes(height: float, title: str, *, x_label: str = "", y_label: str = "") -> tuple[Figure, Axes]:
    """Return a figure and its axes.

    Args:
        height: in inches of DPI pixels.
        title: of the axes.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
    """
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=TITLE, loc="left")
    axes.set_xlabel(x_label, fontsize=TEXT)
    axes.set_ylabel(y_label, fontsize=TEXT)
    axes.tick_params(labelsize=TEXT)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
