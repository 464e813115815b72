"""The difference between an arm and the control: means and ratios, with what shoppers did before.

A ratio of two sums over units gets its variance by the delta method (A. Deng, U. Knoblich, J. Lu, Applying
the delta method in metric analytics, KDD 2018). What a unit did before the experiment takes variance away:
CUPED (A. Deng, Y. Xu, R. Kohavi, T. Walker, Improving the sensitivity of online controlled experiments by
utilizing pre-experiment data, WSDM 2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lastaisle.experiments.statistics.moments import Moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: With fewer units of one of the arms a stratum says nothing yet: the intervals are asymptotic.
LEAST_UNITS: Final = 100


@dataclass(frozen=True)
class Comparison:
    """An arm beside the control. Each attribute has the shape of the groups without their strata.

    Attributes:
        control: the metric of the control.
        arm: the metric of the arm.
        difference: the metric of the arm without the metric of the control; NaN while nothing is known.
        variance: the variance of the difference; infinite while nothing is known.
        units: the units of both arms that count.
        plain_variance: the variance without CUPED.
    """

    control: Floats
    arm: Floats
    difference: Floats
    variance: Floats
    units: Floats
    plain_variance: Floats

    def interval(self, width: Any) -> tuple[Floats, Floats]:
        """Return the ends of the interval around the difference; infinite while nothing is known.

        Args:
            width: half of its width, in standard errors.
        """
        known = np.isfinite(self.variance)
        half = np.where(
            known, np.where(known, width, 0.0) * np.sqrt(np.where(known, self.variance, 0.0)), np.inf
        )
        middle = np.where(known, self.difference, 0.0)
        return middle - half, middle + half


def compare(control: Moments, arm: Moments, *, least_units: int = LEAST_UNITS) -> Comparison:
    """Compare an arm with the control, stratum by stratum.

    A stratum counts with its share of the units of both arms, so a changed allocation does not bias the
    difference. A stratum with few units in one of the arms does not count yet.

    Args:
        control: the moments of the control; the strata lie on the last axis.
        arm: the moments of the arm, of the same shape.
        least_units: a stratum with fewer units of one of the arms does not count yet; at least 2.
    """
    enough = (control.count >= least_units) & (arm.count >= least_units)
    both = control + arm
    units = np.where(enough, both.count, 0.0)
    total = units.sum(-1)
    weights = units / np.maximum(total, 1.0)[..., None]
    middle = _Mean.of(both, weights)
    coefficient = middle.cuped_coefficient()
    means = [_Mean.of(one, weights, of_mean=True) for one in (control, arm)]
    values = [mean.adjusted(coefficient, middle) for mean in means]
    plain = sum(mean.variance(np.zeros_like(coefficient)) for mean in means)
    variance = sum(mean.variance(coefficient) for mean in means)
    known = (total > 0) & np.isfinite(values[1] - values[0]) & (variance > 0)
    return Comparison(
        control=values[0],
        arm=values[1],
        difference=np.where(known, values[1] - values[0], np.nan),
        variance=np.where(known, variance, np.inf),
        units=total,
        plain_variance=np.where(known, plain, np.inf),
    )


@dataclass(frozen=True)
class _Mean:
    """The means of the four numbers over all strata, with a covariance: of a unit, or of the means.

    Attributes:
        means: the means; the last axis has the four numbers.
        covariance: their covariances.
    """

    means: Floats
    covariance: Floats

    @classmethod
    def of(cls, moments: Moments, weights: Floats, *, of_mean: bool = False) -> _Mean:
        """Add up strata by their weights."""
        means = np.einsum("...s,...si->...i", weights, moments.means())
        scale = weights**2 / np.maximum(moments.count, 1.0) if of_mean else weights
        return cls(means, np.einsum("...s,...sij->...ij", scale, moments.covariances()))

    def ratio(self, at: int) -> Floats:
        """Return the ratio of two of the numbers; NaN without a denominator."""
        return _divided(self.means[..., at], self.means[..., at + 1])

    def gradient(self, at: int) -> Floats:
        """Return the derivative of the ratio by its two numbers; 0 without a denominator."""
        below = self.means[..., at + 1]
        there = below != 0
        inverse = np.where(there, 1.0 / np.where(there, below, 1.0), 0.0)
        return np.stack([inverse, -self.means[..., at] * inverse**2], -1)

    def product(self, one: int, other: int) -> Floats:
        """Return the covariance of two of the ratios, by the delta method."""
        block = self.covariance[..., one : one + 2, other : other + 2]
        found: Floats = np.einsum("...i,...ij,...j->...", self.gradient(one), block, self.gradient(other))
        return found

    def cuped_coefficient(self) -> Floats:
        """Return how much of the ratio before the experiment is taken off the ratio; 0 if it never varied."""
        spread = self.product(2, 2)
        varies = spread > 0
        return np.where(varies, self.product(0, 2) / np.where(varies, spread, 1.0), 0.0)

    def adjusted(self, coefficient: Floats, middle: _Mean) -> Floats:
        """Return the ratio without what the time before explains."""
        before = self.ratio(2) - middle.ratio(2)
        return self.ratio(0) - np.where(coefficient != 0, coefficient * before, 0.0)

    def variance(self, coefficient: Floats) -> Floats:
        """Return the variance of the adjusted ratio."""
        return self.product(0, 0) - 2 * coefficient * self.product(0, 2) + coefficient**2 * self.product(2, 2)


def _divided(top: Floats, bottom: Floats) -> Floats:
    there = bottom != 0
    return np.where(there, top / np.where(there, bottom, 1.0), np.nan)
