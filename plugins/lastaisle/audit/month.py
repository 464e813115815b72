"""The days of a month."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, datetime, timedelta

from lastaisle.errors import ExitCode, LastaisleError


class WrongMonthError(LastaisleError):
    """A text that names no month that has begun."""

    exit_code = ExitCode.WRONG_REQUEST


def days_of_month(text: str, now: datetime) -> tuple[date, date]:
    """Return the first and the last day of a month; of the last whole month if the text is empty.

    Args:
        text: the month, such as 2026-10.
        now: the present (UTC).

    Raises:
        WrongMonthError: the text is no month, or the month has not begun.
    """
    first = (now.date().replace(day=1) - timedelta(days=1)).replace(day=1)
    if text.strip():
        try:
            if not re.fullmatch(r"[0-9]{4}-[0-9]{2}", text.strip()):
                raise ValueError(text)
            first = date.fromisoformat(f"{text.strip()}-01")
        except ValueError as error:
            raise WrongMonthError(f"a month is written like 2026-10, received {text!r}") from error
    if not date(1970, 1, 1) <= first <= now.date():
        raise WrongMonthError(f"a month from 1970-01 that has begun, received {text!r}")
    return first, first.replace(day=monthrange(first.year, first.month)[1])
