"""Noisy counts: how often units have each item, and which items exist at all."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from models.private.mechanism import MechanismError


def unit_vectors(
    unit: NDArray[np.int64], cell: NDArray[np.int64], weight: NDArray[np.floating]
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


def noisy_cells(
    cell: NDArray[np.int64],
    weight: NDArray[np.float64],
    cells: int,
    *,
    noise: float,
    least: float,
    generator: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the cells whose noisy sum is at least `least`, with their sums, out of very many cells.

    The result has the distribution that noise in every cell would give, so that an empty cell is as good as
    any other. But only as many empty cells are drawn as would pass (Cormode et al., Differentially Private
    Summaries for Sparse Data, ICDT 2012).

    Args:
        cell: int64 [n], of the parts; see `unit_vectors`.
        weight: float64 [n], of the parts.
        cells: the number of cells, which does not follow from the data.
        noise: the standard deviation of the noise in each cell.
        least: above 0.
        generator: draws the noise.

    Returns:
        int64 [m], in order, and float64 [m].
    """
    known, place = np.unique(cell, return_inverse=True)
    sums = np.bincount(place, weight, minlength=len(known)) + generator.normal(0.0, noise, len(known))
    passing = 1.0 - NormalDist().cdf(least / noise)
    others = _distinct_others(known, cells, int(generator.binomial(cells - len(known), passing)), generator)
    found = np.concatenate([known[sums >= least], others])
    values = np.concatenate(
        [sums[sums >= least], noise * _normal_above(least / noise, len(others), generator)]
    )
    order = np.argsort(found)
    return found[order], values[order]


def _distinct_others(
    known: NDArray[np.int64], cells: int, wanted: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draw distinct cells, int64 [wanted], that are not among the known ones, which are sorted."""
    drawn = np.zeros(0, np.int64)
    while len(drawn) < wanted:
        more = generator.integers(0, cells, 2 * (wanted - len(drawn)) + 8)
        drawn = np.setdiff1d(np.concatenate([drawn, more]), known)
    return generator.permutation(drawn)[:wanted]


def _normal_above(least: float, n: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw standard normal numbers, given that they are at least `least` (Robert 1995), float64 [n]."""
    drawn = np.zeros(0)
    while len(drawn) < n:
        above = generator.exponential(1.0 / least, 2 * n + 8)
        drawn = np.concatenate([drawn, least + above[generator.random(len(above)) < np.exp(-(above**2) / 2)]])
    return drawn[:n]


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
