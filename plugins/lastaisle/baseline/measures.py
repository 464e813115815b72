"""The measures that guardrails watch: sums of the table `shop_metrics`."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from lastaisle.feedback.metrics.figures import SHARES


class Measure(NamedTuple):
    """A rate of the shop.

    Attributes:
        name: its name, as `lastaisle metrics` shows it.
        part: the column of `shop_metrics` that is its numerator.
        whole: the column that is its denominator.
        better: whether more of it is better (up) or less of it (down).
    """

    name: str
    part: str
    whole: str
    better: Literal["up", "down"] = "up"

    @property
    def sign(self) -> int:
        """1 if more is better, -1 if less is better."""
        return 1 if self.better == "up" else -1


MEASURES: Final[dict[str, Measure]] = {
    measure.name: measure
    for measure in (
        Measure("conversion", *SHARES["conversion"]),
        Measure("revenue_per_session", "revenue", "sessions"),
        Measure("ctr", *SHARES["ctr"]),
        Measure("add_to_cart_rate", *SHARES["add_to_cart_rate"]),
        Measure("abandonment", *SHARES["abandonment"], "down"),
    )
}
