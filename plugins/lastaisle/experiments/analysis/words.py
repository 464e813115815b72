"""Numbers of an analysis as texts."""

from __future__ import annotations

import math
from typing import Final

#: Stands for a number that is not known yet.
UNKNOWN: Final = "-"


def level(alpha: float) -> str:
    """Return the level of an interval in words, such as 95 %."""
    return f"{100 * (1 - alpha):.4g} %"


def number(value: float | None) -> str:
    """Return a number with four digits; a dash if it is not known."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def relative(value: float | None, control: float | None) -> str:
    """Return a difference as a share of the control, such as +3.1%; the difference itself if that is 0."""
    if value is None or control is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value / abs(control):+.1%}" if control else f"{value:+,.4g}"


def span(low: float | None, high: float | None, control: float | None) -> str:
    """Return both ends of an interval, relative to the control; a dash if they are not known."""
    if low is None or high is None or control is None:
        return UNKNOWN
    return f"{relative(low, control)} to {relative(high, control)}"
