"""How strict the judgement of the shop's figures is: a part of the configuration of alerts."""

from __future__ import annotations

from datetime import date
from typing import Final

from pydantic import Field

from lastaisle.monitor.alerts.context import RuleOptions

MONTH: Final = 730
"""The hours of a month."""
#: So many independent looks an hour are as many as the overlapping windows of one hour.
#: `benchmarks/alerts.py` measures the false alarms that follow.
_LOOKS: Final = 2.5


class ShopDropOptions(RuleOptions):
    """The options of ctr_drop and conversion_drop."""

    false_alarms_a_month: float = Field(
        0.5,
        gt=0,
        le=100,
        description="How many alarms a month chance alone may cause, over the measures and placements of the "
        "rule.",
    )
    smallest_drop: float = Field(
        0.05, ge=0, lt=1, description="A drop of a smaller share of the usual level is no alarm."
    )
    critical_drop: float = Field(
        0.2,
        gt=0,
        le=1,
        description="A drop of this share or more is critical; a smaller is a warning.",
    )
    new_normal_days: float = Field(
        14.0,
        ge=1,
        le=21,
        description="A drop that stays for so many days is the new normal: its alert ends.",
    )
    holidays: list[date] = Field(
        [],
        description="Days (UTC) on which shoppers act unusually: only great drops are alarms, and no "
        "baseline learns from them.",
    )
    maturity_hours: float = Field(
        2.0,
        ge=0,
        le=168,
        description="The newest hours that do not count: their sessions still go on.",
    )

    def alpha(self, sequences: int) -> float:
        """Return the probability below which a window of a sequence is an alarm.

        Args:
            sequences: how many measures of how many placements are watched.
        """
        return min(self.false_alarms_a_month / (MONTH * _LOOKS * max(sequences, 1)), 0.05)
