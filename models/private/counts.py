"""Noisy counts: how often units have each item, and which items exist at all."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from models.private.mechanism import MechanismError


def unit_vectors(
    unit: NDArray[np.int64], cell: NDArray[np.int64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the parts of all units: each unit's cells are distinct, and its weights have the L2 norm 1.

    A unit's weight of a cell is the largest of the given ones. A unit whose norm is below 1, because its
    largest weight is, keeps that norm: it counts less.

    Args:
        unit: int64 [n], from 0.
        cell: int64 [n], from 0.
        weight: float64 [n], from 0 to 1.

    Returns:
        units, cells and weights of the parts, in order of the units.
    """
    order = np.lexsort((-weight, cell, unit))
    unit, cell, weight = unit[order], cell[order], weight[order]
    first = np.ones(len(unit), bool)
    first[1:] = (unit[1:] != unit[:-1]) | (cell[1:] != cell[:-1])
    unit, cell, weight = unit[first], cell[first], np.clip(weight[first], 0.0, 1.0)
    squares = np.bincount(unit, weight**2, minlength=unit.max(initial=-1) + 1)
    largest = np.zeros(len(squares))
    np.maximum.at(largest, unit, weight)
    scale = largest / np.sqrt(np.maximum(squares, 1e-300))
    return unit, cell, weight * scale[unit]


def noisy_sums(
    cell: NDArray[np.int64],
    weight: NDArray[np.float64],
    cells: int,
    noise: float,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the sum of the units' parts in each cell plus noise, float64 [cells].

    Args:
        cell: int64 [n], of the parts; see `unit_vectors`.
        weight: float64 [n], of the parts.
        cells: the number of cells, which does not follow from the data.
        noise: the standard deviation of the noise in each cell.
        generator: draws the noise.
    """
    return np.bincount(cell, weight, minlength=cells) + generator.normal(0.0, noise, cells)


@dataclass(frozen=True)
class Threshold:
    """Which noisy sum shows that a cell exists, where the cells themselves follow from the data.

    A cell that only one unit has passes with a probability of at most `delta`, over all cells of the unit.

    Attributes:
        value: the least sum that passes.
        delta: see above.
    """

    value: float
    delta: float


def threshold_for(noise: float, delta: float, most_cells: int) -> Threshold:
    """Return the threshold by which one unit's own cells stay hidden with the probability 1 - delta.

    A unit's weight in a cell is at most 1. So each of its cells passes with a probability of at most
    1 - Φ((value - 1) / noise), and `most_cells` of them with at most so many times that (union bound).

    Args:
        noise: the standard deviation of the noise in each cell.
        delta: above 0 and below 1.
        most_cells: the largest number of cells of a unit.

    Raises:
        MechanismError: a delta outside its bounds.
    """
    if not 0.0 < delta < 1.0:
        raise MechanismError(f"delta cannot be {delta!r}: it is above 0 and below 1")
    share = max(delta / max(most_cells, 1), 1e-300)
    return Threshold(1.0 + noise * NormalDist().inv_cdf(1.0 - share), delta)
