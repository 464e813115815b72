"""The measures that guardrails and alerts watch: sums of the table `shop_metrics`."""

from __future__ import annotations

from typing import Annotated, Final, Literal, NamedTuple

from pydantic import AfterValidator

from lastaisle.feedback.metrics.figures import SHARES
from lastaisle.yaml_model import closest


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


def known_measure(name: str) -> str:
    """Refuse a name that no measure has."""
    if name not in MEASURES:
        raise ValueError(f"there is no measure {name!r}; {closest(name, list(MEASURES), 'the measures are')}")
    return name


MeasureName = Annotated[str, AfterValidator(known_measure)]
