"""Intervals around shares and means, from sums alone."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

#: Half of the width of a normal interval of 95 %, in standard errors.
Z: Final = 1.959963984540054


class Estimate(NamedTuple):
    """A rate with its 95 % interval; None where there is nothing to divide by, or too little to judge.

    Attributes:
        value: the rate.
        low: the lower end.
        high: the upper end.
    """

    value: float | None
    low: float | None
    high: float | None


NOTHING: Final = Estimate(None, None, None)


def share(successes: int | None, trials: int | None) -> Estimate:
    """Return successes / trials with Wilson's interval; nothing without trials, or if a number is unknown.

    The interval takes the trials as independent of each other.
    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if successes is None or not trials:
        return NOTHING
    value = successes / trials
    shrink = 1 + Z**2 / trials
    centre = (value + Z**2 / (2 * trials)) / shrink
    half = Z / shrink * math.sqrt(value * (1 - value) / trials + Z**2 / (4 * trials**2))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return Estimate(value, low, high)


def mean(total: float | None, squares: float | None, count: int | None) -> Estimate:
    """Return total / count with the normal interval of a mean; nothing without numbers, or if unknown.

    Args:
        total: the sum of numbers that are not negative.
        squares: the sum of their squares.
        count: how many numbers there are. One number has a mean, and no interval.
    """
    if total is None or squares is None or not count:
        return NOTHING
    value = total / count
    if count == 1 or not math.isfinite(squares):
        return Estimate(value, None, None)
    variance = max(0.0, squares - count * value**2) / (count - 1)
    half = Z * math.sqrt(variance / count)
    return Estimate(value, max(0.0, value - half), value + half)


def difference(one: Estimate, other: Estimate) -> Estimate:
    """Return one - other of two independent rates, with the interval that their intervals give.

    For two shares with Wilson's intervals this is Newcombe's interval, and for two means the normal one.
    A rate without an interval gives a difference without an interval.

    Sources: R. G. Newcombe, Interval estimation for the difference between independent proportions, 1998,
    method 10; G. Y. Zou and A. Donner, Construction of confidence limits about effect measures, 2008.
    """
    if one.value is None or other.value is None:
        return NOTHING
    value = one.value - other.value
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Estimate(value, None, None)
    down = math.hypot(one.value - one.low, other.high - other.value)
    up = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, value - down, value + up)
