"""The report of a run of attribution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any


@dataclass(frozen=True)
class AttributionReport:
    """What one run attributed, and the counts of the whole tables after it.

    Attributes:
        days: the days (UTC) of exposures that were attributed anew; no days if nothing had changed.
        changed_days: the days of them on which rows of `outcomes` or `unattributed` are new or different.
        exposures: items that were on the screen; rows of `outcomes`.
        clicks: clicks that an exposure explains.
        views: views of an item that an exposure explains.
        adds: additions to the cart that an exposure explains.
        orders: orders of an item that an exposure explains.
        clicks_received: clicks in `exposures`: `clicks` and the unattributed clicks together.
        unattributed_by_reason: reason to the number of rows that no exposure explains; see docs/feedback.md.
        revenue_left_out: currency to the revenue of these days that is in no row of `outcomes`, since another
            order of the same exposure came first and had another currency.
        versions: the version of each table that was read.
    """

    days: list[date] = field(default_factory=list)
    changed_days: list[date] = field(default_factory=list)
    exposures: int = 0
    clicks: int = 0
    views: int = 0
    adds: int = 0
    orders: int = 0
    clicks_received: int = 0
    unattributed_by_reason: Mapping[str, int] = field(default_factory=dict)
    revenue_left_out: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it."""
        days = {name: [day.isoformat() for day in getattr(self, name)] for name in ("days", "changed_days")}
        return asdict(self) | days
