"""Guess how the times of a log are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

#: Formats beside ISO; of two that fit, the first counts.
FORMATS = (
    *("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y, %H:%M:%S", "%d.%m.%Y, %H:%M", "%d.%m.%Y"),
    *("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p"),
    *("%m/%d/%Y %I:%M %p", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%m-%Y"),
    *("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y%m%d%H%M%S", "%Y%m%dT%H%M%SZ", "%d/%b/%Y:%H:%M:%S %z"),
    *("%b %d, %Y %H:%M:%S", "%b %d, %Y, %I:%M:%S %p", "%d %b %Y %H:%M:%S", "%a, %d %b %Y %H:%M:%S %z"),
    *("%a %b %d %H:%M:%S %Y", "%Y.%m.%d %H:%M:%S"),
)
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_SINCE, _UNTIL = 946_684_800, 4_102_444_800  # the years 2000 to 2100
_SAMPLE = 200
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


def time_form(values: Sequence[str], connection: Any) -> str:
    """Return s, ms, us, ns, iso or a format that reads at least nine of ten values; empty if none does.

    Args:
        values: texts of one place.
        connection: a DuckDB connection, since DuckDB reads the times later.
    """
    sample = list(dict.fromkeys(values))[:_SAMPLE]
    if not sample:
        return ""
    numbers = [float(text) for text in sample if _NUMBER.fullmatch(text)]
    if 10 * len(numbers) >= 9 * len(sample):
        for unit, per_second in _UNITS.items():
            if 10 * sum(_SINCE <= number / per_second < _UNTIL for number in numbers) >= 9 * len(numbers):
                return unit
    if _share("TRY_CAST(v AS TIMESTAMPTZ) IS NOT NULL AND v BETWEEN '0' AND ':'", sample, connection) >= 0.9:
        return "iso"
    shares = {text: _share(f"try_strptime(v, '{text}') IS NOT NULL", sample, connection) for text in FORMATS}
    best = max(FORMATS, key=lambda text: shares[text])
    return best if shares[best] >= 0.9 else ""


def names_a_zone(form: str, values: Sequence[str]) -> bool:
    """Tell whether times say their time zone themselves."""
    if form in _UNITS or "%z" in form or form.endswith("Z"):
        return True
    return (
        form == "iso" and bool(values) and bool(re.search(r"([zZ]|[+-]\d\d:?\d\d|UTC)$", values[0].strip()))
    )


def is_date(values: Sequence[str]) -> bool:
    """Tell whether values are days without a time of day."""
    return bool(values) and all(
        re.fullmatch(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}", text.strip()) for text in values
    )


def is_time_of_day(values: Sequence[str]) -> bool:
    """Tell whether values are times without a day."""
    return bool(values) and all(re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", text.strip()) for text in values)


def _share(test: str, sample: Sequence[str], connection: Any) -> float:
    """Return the share of the values that pass a test in SQL over v."""
    query = f"SELECT count_if({test}) / count(*) FROM (SELECT unnest(?::VARCHAR[]) AS v)"
    return float(connection.execute(query, [list(sample)]).fetchone()[0])
