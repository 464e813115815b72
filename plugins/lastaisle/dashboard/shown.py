"""How templates show values: shares, counts, money, ages and moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from markupsafe import Markup

NOTHING = "-"


def share(value: float | None, digits: int = 2) -> str:
    """Show a share in percent: 0.0312 is 3.12 %."""
    return NOTHING if value is None else f"{100 * value:.{digits}f} %"


def count(value: float | None) -> str:
    """Show a whole number with commas."""
    return NOTHING if value is None else f"{value:,.0f}"


def number(value: float | None, digits: int = 4) -> str:
    """Show a number, such as a score."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def score(value: float | None) -> str:
    """Show a value of a decision table: a count without digits after the point, a score with four."""
    return NOTHING if value is None else f"{value:,.4f}".removesuffix(".0000")


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, without the sentences after it."""
    head, dot, _ = text.partition(". ")
    return f"{head}." if dot else text


def money(value: float | None, currency: str | None = None) -> str:
    """Show an amount with its currency."""
    return NOTHING if value is None else f"{value:,.2f} {currency or ''}".rstrip()


def age(since: datetime | None, now: datetime) -> str:
    """Show how long ago a moment was, in the largest fitting unit."""
    return NOTHING if since is None else duration(now - since)


def duration(length: timedelta) -> str:
    """Show a length of time in the largest fitting unit."""
    seconds = max(0, int(length.total_seconds()))
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            units = seconds // size
            return f"{units:,} {unit}{'' if units == 1 else 's'}"
    return "less than a minute"


def moment(value: datetime | None) -> Markup:
    """Show a moment in UTC, as an element that the page's script turns into the viewer's time zone."""
    if value is None:
        return Markup(NOTHING)
    utc = value.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        utc.isoformat(timespec="seconds"), utc.strftime("%Y-%m-%d %H:%M")
    )


FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    "share": share,
    "count": count,
    "number": number,
    "score": score,
    "first_sentence": first_sentence,
    "money": money,
    "age": age,
    "duration": duration,
    "moment": moment,
}
"""The filters of the templates."""
