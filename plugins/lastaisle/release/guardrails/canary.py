"""Compare the canary with its control: two arms of the same hours, whose shoppers chance has chosen.

The relative difference of the two rates has a confidence sequence, as the change of a champion has. Its
variance comes from the hours themselves: how far each hour's counts lie from the hour's common rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import chi2

from lastaisle.baseline.hours import CANARY_ARM, CONTROL, trial_of
from lastaisle.release.guardrails.change import Change

if TYPE_CHECKING:
    from lastaisle.baseline.fit import Floats, Series
    from lastaisle.baseline.hours import Mask, ShopHours
    from lastaisle.baseline.measures import Measure

#: The variance of the hours comes from few hours: this upper end of its interval counts.
_UPPER_END: Final = 0.8
#: Sessions of one shopper are alike, and stay in one arm: the variance is greater by this factor.
_SHOPPERS_ALIKE: Final = 1.1
#: An estimate of a ratio is about normal from so many counts in each arm.
LEAST_COUNTS: Final = 25


@dataclass(frozen=True)
class Arms:
    """The hours that both arms of a canary have.

    Attributes:
        shop: the figures by hour.
        version: the version of the canary.
        control: the champion, with which it is compared.
        started: the hour in which the trial began, in hours since 1970.
        since: the first hour; None = there is none.
        until: the hour after the last that counts.
    """

    shop: ShopHours
    version: str
    control: str
    started: int
    since: int | None
    until: int

    @property
    def hours(self) -> int:
        """How many hours passed."""
        return 0 if self.since is None else max(self.until - self.since, 0)

    @property
    def waited_hours(self) -> int:
        """How many hours passed since the trial began."""
        return max(self.until - self.started, 0)

    @property
    def sessions(self) -> int:
        """The sessions of the canary."""
        chosen = self.shop.of_arm(trial_of(self.version), CANARY_ARM, self.version) & self._in_time()
        return int(self.shop.rows["sessions"].to_numpy()[chosen].sum())

    def _in_time(self) -> Mask:
        in_time: Mask = (self.shop.hours >= (self.since or 0)) & (self.shop.hours < self.until)
        return in_time

    def difference(self, measure: Measure) -> Change | None:
        """Return the canary's difference, relative to the control; None if the counts are too few.

        Args:
            measure: the measure.
        """
        if self.since is None:
            return None
        trial, in_time = trial_of(self.version), self._in_time()
        canary = self.shop.series(measure, self.shop.of_arm(trial, CANARY_ARM, self.version) & in_time, by=())
        control = self.shop.series(measure, self.shop.of_arm(trial, CONTROL, self.control) & in_time, by=())
        return relative_difference(canary, control)


def arms_of(shop: ShopHours, version: str, control: str, started: int) -> Arms:
    """Return the hours that both arms of a canary have, since its start.

    If the champion changed meanwhile, only the hours of the present champion count.
    """
    trial = trial_of(version)
    canary = shop.hours[shop.of_arm(trial, CANARY_ARM, version)]
    compared = shop.hours[shop.of_arm(trial, CONTROL, control)]
    both = np.intersect1d(canary, compared)
    both = both[both >= started]
    since = int(both[0]) if len(both) else None
    return Arms(shop, version, control, started, since, shop.complete_until)


def relative_difference(canary: Series, control: Series) -> Change | None:
    """Return the difference of two rates, relative to the control, on the hours that both have.

    Args:
        canary: the counts of the canary; of one stratum.
        control: the counts of the control.

    Returns:
        None with fewer than LEAST_COUNTS counts in an arm, or without hours in common.
    """
    shared = np.intersect1d(canary.hours, control.hours)
    arms = [one.where(np.isin(one.hours, shared)) for one in (canary, control)]
    totals = np.array([one.totals.sum(axis=1) for one in arms])
    units = np.array([one.units.sum(axis=1) for one in arms])
    totals, units = totals[:, units.all(axis=0)], units[:, units.all(axis=0)]
    have, whole = totals.sum(axis=1), units.sum(axis=1)
    if not len(shared) or have.min(initial=np.inf) < LEAST_COUNTS or not whole.all():
        return None
    ratio = (have[0] / whole[0]) / (have[1] / whole[1])
    variance = ratio**2 * _dispersion(totals, units) * (1 / have).sum() * _SHOPPERS_ALIKE
    return Change(float(ratio - 1), float(variance))


def _dispersion(totals: Floats, units: Floats) -> float:
    """Return the variance of a count, in multiples of its expectation, as the arms of each hour show it."""
    rates = totals.sum(axis=1, keepdims=True) / units.sum(axis=1, keepdims=True)
    level = totals.sum(axis=0) / (units * rates).sum(axis=0)
    expected = units * rates * level
    some = (expected > 0).all(axis=0)
    freedom = int(some.sum()) - 1
    if freedom < 1:
        return np.inf
    squares = float(((totals - expected)[:, some] ** 2 / expected[:, some]).sum())
    # With a rate of 30 %, counts vary less than a Poisson count by a third; without hours that tell it, not.
    return max(squares / float(chi2.ppf(1 - _UPPER_END, freedom)), 1e-9)
