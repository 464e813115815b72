"""Sums over units from which means, variances and covariances follow, of as many groups as there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: The four numbers of a unit: a metric's numerator and denominator, and both before the experiment.
VALUES: Final = ("numerator", "denominator", "numerator_before", "denominator_before")
#: The products of two of the numbers, each pair once.
PAIRS: Final = tuple((first, second) for first in range(4) for second in range(first, 4))


@dataclass(frozen=True)
class Moments:
    """How many units there are in each group, and the sums of their numbers and of the products of two.

    Attributes:
        count: the units, of any shape.
        sums: the sums of the four numbers of VALUES; one axis of 4 more than `count`.
        products: the sums of their products; two axes of 4 more than `count`.
    """

    count: Floats
    sums: Floats
    products: Floats

    @classmethod
    def of_units(
        cls, numerator: Any, denominator: Any = None, before: Any = None, denominator_before: Any = None
    ) -> Moments:
        """Return the moments of units, which lie on the last axis.

        Args:
            numerator: the metric's numerator.
            denominator: its denominator; without one each unit counts 1.
            before: the numerator before the experiment; 0 without one.
            denominator_before: the denominator before the experiment; without one each unit counts 1.
        """
        top = np.asarray(numerator, dtype=float)
        given = (top, denominator, np.zeros_like(top) if before is None else before, denominator_before)
        values = np.stack(
            [np.ones_like(top) if value is None else np.asarray(value, dtype=float) for value in given]
        )
        products = np.einsum("i...u,j...u->...ij", values, values)
        return cls(
            np.full(top.shape[:-1], top.shape[-1], float), np.moveaxis(values.sum(-1), 0, -1), products
        )

    @classmethod
    def of_successes(cls, units: Any, successes: Any) -> Moments:
        """Return the moments of units that succeed or not; for example of shoppers who order or not."""
        count, wins = np.broadcast_arrays(np.asarray(units, float), np.asarray(successes, float))
        none = np.zeros_like(count)
        ones = dict.fromkeys(((1, 1), (1, 3), (3, 3)), count)
        products = {**dict.fromkeys(PAIRS, none), **dict.fromkeys(((0, 0), (0, 1), (0, 3)), wins), **ones}
        return cls.of_sums(count, [wins, count, none, count], products)

    @classmethod
    def of_sums(cls, count: Any, sums: Sequence[Any], products: Mapping[tuple[int, int], Any]) -> Moments:
        """Return moments from sums that another program made, such as DuckDB.

        Args:
            count: the units of each group.
            sums: the sums of the four numbers, in the order of VALUES.
            products: the sums of the products, for each pair of PAIRS.
        """
        units = np.asarray(count, dtype=float)
        matrix = np.empty((*units.shape, 4, 4))
        for (first, second), product in products.items():
            matrix[..., first, second] = matrix[..., second, first] = product
        return cls(units, np.stack([np.asarray(one, dtype=float) for one in sums], -1), matrix)

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of the units of both."""
        return Moments(self.count + other.count, self.sums + other.sums, self.products + other.products)

    def __getitem__(self, at: Any) -> Moments:
        """Return some of the groups."""
        return Moments(self.count[at], self.sums[at], self.products[at])

    def running(self, axis: int) -> Moments:
        """Return the moments of the units so far, along one axis of the groups."""
        return Moments(*(np.cumsum(part, axis) for part in (self.count, self.sums, self.products)))

    def means(self) -> Floats:
        """Return the means of the four numbers; 0 without units."""
        mean: Floats = self.sums / np.maximum(self.count, 1.0)[..., None]
        return mean

    def covariances(self) -> Floats:
        """Return the covariances between the four numbers, by n - 1; 0 with fewer than two units."""
        spread = self.products - np.einsum("...i,...j->...ij", self.sums, self.means())
        covariance: Floats = spread / np.maximum(self.count - 1.0, 1.0)[..., None, None]
        return covariance
