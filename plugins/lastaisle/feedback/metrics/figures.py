"""The shop's figures: which counts make which rate, and by what the counts may be split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.lake.tables import TIMESTAMP

#: By what figures are split, and the columns of `shop_metrics` for it. An arm belongs to its experiment.
BY: Final = {
    "placement": ("placement",),
    "version": ("model_version",),
    "policy": ("policy",),
    "experiment": ("experiment",),
    "arm": ("experiment", "arm"),
    "segment": ("segment",),
    "position": ("position",),
}
EVERY: Final = ("hour", "day", "week")

#: Counts of items shown. They are known by position.
ITEM_COUNTS: Final = ("exposures", "clicks", "clicked", "viewed", "added", "ordered", "dwell_ms")
#: Counts of sessions. They are not known by position, since a session sees many positions.
SESSION_COUNTS: Final = (
    *("lists", "sessions", "sessions_clicked", "sessions_added", "sessions_checkout", "sessions_ordered"),
    *("sessions_abandoned", "items_viewed", "session_seconds", "session_dwell_ms"),
)

#: Shares: name to numerator and denominator. The numerator counts some of those of the denominator.
SHARES: Final = {
    "ctr": ("clicked", "exposures"),
    "view_rate": ("viewed", "exposures"),
    "add_to_cart_rate": ("added", "exposures"),
    "order_rate": ("ordered", "exposures"),
    "session_ctr": ("sessions_clicked", "sessions"),
    "session_add_rate": ("sessions_added", "sessions"),
    "conversion": ("sessions_ordered", "sessions"),
    "checkout_completion": ("sessions_ordered", "sessions_checkout"),
    "abandonment": ("sessions_abandoned", "sessions_checkout"),
}
#: Means a session: name to the sum and the sum of squares.
MEANS: Final = {
    "depth": ("items_viewed", "items_viewed_squares"),
    "seconds": ("session_seconds", "session_seconds_squares"),
}

REVENUE: Final = pa.struct(
    [
        pa.field("currency", pa.string()),
        pa.field("revenue", pa.float64()),
        pa.field("attributed_revenue", pa.float64()),
        pa.field("per_session", pa.float64()),
        pa.field("per_session_low", pa.float64()),
        pa.field("per_session_high", pa.float64()),
    ]
)


class FiguresError(LastaisleError):
    """Figures that cannot be split as asked."""

    exit_code = ExitCode.WRONG_REQUEST


def key_columns(by: tuple[str, ...]) -> list[str]:
    """Return the columns by which figures are split, each once.

    Raises:
        FiguresError: figures cannot be split by one of the names.
    """
    unknown = [name for name in by if name not in BY]
    if unknown:
        raise FiguresError(f"figures are split by {', '.join(BY)}; received {unknown[0]!r}")
    return list(dict.fromkeys(column for name in by for column in BY[name]))


def group_name(row: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Name the group of a row: its values; `all` if the figures are not split."""
    if not keys:
        return "all"
    return " / ".join(_value_name(key, row[key]) for key in keys)


def _value_name(key: str, value: object) -> str:
    if value is None:
        return f"no {key.removeprefix('model_')}"
    return f"{key.removeprefix('model_')} {value}" if key in ("model_version", "position") else str(value)


def figures_schema(keys: list[str], every: str | None) -> pa.Schema:
    """Return the columns of the figures that are split by some columns of `shop_metrics`."""
    counted = {name: pa.int64() for name in (*ITEM_COUNTS, *SESSION_COUNTS)} | {
        "session_seconds": pa.float64()
    }
    rates = [f"{name}{end}" for name in (*SHARES, *MEANS) for end in ("", "_low", "_high")]
    return pa.schema(
        [
            *([pa.field("period", TIMESTAMP)] if every else []),
            *(pa.field(key, pa.int32() if key == "position" else pa.string()) for key in keys),
            *(pa.field(name, kind) for name, kind in counted.items()),
            *(pa.field(name, pa.float64()) for name in (*rates, "dwell_seconds")),
            pa.field("revenue", pa.list_(REVENUE)),
        ]
    )
