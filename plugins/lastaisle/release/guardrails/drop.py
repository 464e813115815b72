"""The drop of a measure since a version serves, and whether it is sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastaisle.release.guardrails.change import Change, change_since

if TYPE_CHECKING:
    from lastaisle.baseline.fit import Baseline, Series
    from lastaisle.baseline.measures import Measure


@dataclass(frozen=True)
class Drop:
    """How much worse a measure is, relative to another level; for `abandonment` a rise is a drop.

    Attributes:
        change: the change for the better; negative is worse.
        low: the lower end of the change's interval.
        high: the upper end.
        sign: 1 if more of the measure is better, -1 if less is better.
    """

    change: Change
    low: float
    high: float
    sign: int = 1

    @property
    def value(self) -> float:
        """The drop; 0.1 = a tenth worse."""
        return -self.change.value

    @property
    def is_sure(self) -> bool:
        """Whether the whole interval is worse."""
        return self.high < 0

    def __str__(self) -> str:
        """Write the change of the measure's own numbers, with its interval."""
        low, high = sorted((self.sign * self.low, self.sign * self.high))
        return f"{self.sign * self.change.value:+.1%} [{low:+.1%}, {high:+.1%}]"


def drop_from(measure: Measure, change: Change, alpha: float) -> Drop:
    """Return the drop that a change of the measure's numbers means."""
    better = Change(measure.sign * change.value, change.variance)
    return Drop(better, *better.interval(alpha), measure.sign)


def drop_of(
    measure: Measure, baseline: Baseline, series: Series, hours: tuple[int, int], alpha: float
) -> Drop | None:
    """Return the drop since a start; None if there are no counts before or after.

    Args:
        measure: which of more and less is better.
        baseline: fitted to hours before the start.
        series: the hours, also before the start.
        hours: the first hour of the version, and the hour after the last that counts.
        alpha: the probability that the interval misses the truth at any look.
    """
    change = change_since(baseline, series, *hours)
    return None if change is None else drop_from(measure, change, alpha)
