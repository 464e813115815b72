"""Spans and shares in the sentences of alerts."""

from __future__ import annotations

from datetime import timedelta


def span(length: timedelta) -> str:
    """Return a length of time: 45 minutes, 3.5 hours, 12 days."""
    minutes = length.total_seconds() / 60
    if minutes < 90:
        return _counted(round(minutes), "minute")
    if minutes < 48 * 60:
        return f"{minutes / 60:.3g} hours"
    return f"{minutes / 1440:.3g} days"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def share(value: float) -> str:
    """Return a share in per cent: 3.4 %."""
    return f"{100 * value:.3g} %"
