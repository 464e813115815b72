"""Which items each shopper has seen in lists, and how much of it is forgotten from day to day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

_FORGOTTEN: Final = 0.05  # a smaller count is dropped


class Fatigue:
    """Counts how often an item was shown to a shopper in lists.

    Args:
        forgetting: share of the counts that goes away from one day to the next.
    """

    def __init__(self, forgetting: float) -> None:
        self._forgetting = forgetting
        self._day = 0
        self._shown: dict[int, dict[int, float]] = {}

    def of(self, shopper: int) -> Mapping[int, float]:
        """Return a copy of the counts of a shopper, by item."""
        return dict(self._shown.get(shopper, {}))

    def show(self, shopper: int, items: Sequence[int]) -> None:
        """Count that items were shown to a shopper."""
        counts = self._shown.setdefault(shopper, {})
        for item in items:
            counts[item] = counts.get(item, 0.0) + 1.0

    def move_to(self, day: int) -> None:
        """Let the shoppers forget until a later day."""
        left = (1.0 - self._forgetting) ** max(day - self._day, 0)
        self._day = max(day, self._day)
        if left < 1.0:
            faded = {
                shopper: {item: count * left for item, count in counts.items() if count * left >= _FORGOTTEN}
                for shopper, counts in self._shown.items()
            }
            self._shown = {shopper: counts for shopper, counts in faded.items() if counts}
