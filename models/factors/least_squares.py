"""Weighted least squares for many rows at once: one half of a sweep of alternating least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMBERS_AT_ONCE = 1 << 22  # 32 MiB of float64


@dataclass(frozen=True)
class Observations:
    """A sparse matrix of weights: which rows have which columns, and the weight of each pair.

    Attributes:
        rows: int64 [n], the rows that have a column, ascending.
        offsets: int64 [n + 1]; rows[r] has columns[offsets[r]:offsets[r + 1]].
        columns: int64 [n_entries], distinct within a row, ascending.
        weights: float64 [n_entries], above 0.
    """

    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    columns: NDArray[np.int64]
    weights: NDArray[np.float64]

    @classmethod
    def of(
        cls, rows: NDArray[np.int64], columns: NDArray[np.integer[Any]], weights: NDArray[np.float64]
    ) -> Observations:
        """Group by row. Weights of the same row and column are added; pairs with weight 0 are left out."""
        rows, columns, weights = rows[weights > 0], columns[weights > 0], weights[weights > 0]
        width = int(columns.max(initial=0)) + 1
        pairs, place = np.unique(rows * width + columns, return_inverse=True)
        summed = np.bincount(place, weights, minlength=len(pairs)).astype(np.float64)
        distinct, counts = np.unique(pairs // width, return_counts=True)
        return cls(distinct, np.concatenate([[0], np.cumsum(counts)]), pairs % width, summed)

    def transposed(self) -> Observations:
        """Return the transposed matrix. Its columns are places in `rows`."""
        places = np.repeat(np.arange(len(self.rows)), np.diff(self.offsets))
        return Observations.of(self.columns, places, self.weights)


def solve(
    seen: Observations,
    factors: NDArray[np.float64],
    precision: NDArray[np.float64],
    prior: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return for each row the factor that explains its observations best.

    For a row with columns S of weights C, the factor x minimizes Σ_S c (1 - x·y)² + (x - x₀)ᵀP(x - x₀), where
    x₀ is the prior. If a row has at most d observations, the solution is
    x₀ + P⁻¹Y_Sᵀ(C⁻¹ + Y_S P⁻¹Y_Sᵀ)⁻¹(1 - Y_S x₀), else x₀ + (P + Y_SᵀCY_S)⁻¹Y_SᵀC(1 - Y_S x₀).

    Args:
        seen: the observations, of n rows.
        factors: float64 [n_columns, d], Y.
        precision: float64 [d, d], P, positive definite.
        prior: float64 [n, d].

    Returns:
        float64 [n, d].
    """
    solution = prior.copy()
    width = factors.shape[1]
    pulled = np.asarray(np.linalg.solve(precision, factors.T).T, np.float64)  # Y P⁻¹
    counts = np.diff(seen.offsets)
    order = np.argsort(counts, kind="stable")
    at = 0
    while at < len(order):
        # As many rows as fit when padded to the longest. The rows are sorted by length, so padding is short.
        longest = counts[order[at : at + NUMBERS_AT_ONCE]]
        sizes = np.arange(1, len(longest) + 1) * longest * (longest + 2 * width)
        fit = max(1, int(np.searchsorted(sizes, NUMBERS_AT_ONCE, side="right")))
        fit = min(fit, int(np.searchsorted(longest, 2 * longest[0], side="right")))
        chosen = order[at : at + fit]
        if counts[chosen[-1]] <= width:
            solution[chosen] += _short(seen, chosen, factors, pulled, prior[chosen])
        else:
            for row in chosen:
                solution[row] += _long(seen, row, factors, precision, prior[row])
        at += fit
    return solution


def _short(
    seen: Observations,
    chosen: NDArray[np.int64],
    factors: NDArray[np.float64],
    pulled: NDArray[np.float64],
    prior: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Solve rows with as many equations as the longest row has observations; padding adds s = 0."""
    counts = np.diff(seen.offsets)[chosen]
    place = np.arange(int(counts[-1]))[None, :]
    is_entry = place < counts[:, None]
    entries = np.where(is_entry, seen.offsets[chosen][:, None] + place, 0)
    columns = seen.columns[entries]
    y = factors[columns] * is_entry[:, :, None]
    yp = pulled[columns] * is_entry[:, :, None]
    system = y @ yp.transpose(0, 2, 1)
    diagonal = np.arange(system.shape[1])
    system[:, diagonal, diagonal] += np.where(is_entry, 1 / seen.weights[entries], 1.0)
    missing = is_entry - (y @ prior[:, :, None])[:, :, 0]
    solved = np.linalg.solve(system, missing[:, :, None])
    return (yp.transpose(0, 2, 1) @ solved)[:, :, 0]


def _long(
    seen: Observations,
    row: np.int64,
    factors: NDArray[np.float64],
    precision: NDArray[np.float64],
    prior: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Solve a row with many observations with as many equations as a factor has numbers."""
    entries = slice(seen.offsets[row], seen.offsets[row + 1])
    y = factors[seen.columns[entries]]
    weighted = y * seen.weights[entries][:, None]
    solved = np.linalg.solve(precision + y.T @ weighted, weighted.T @ (1 - y @ prior))
    return np.asarray(solved, np.float64)


def loss(seen: Observations, rows: NDArray[np.float64], factors: NDArray[np.float64]) -> float:
    """Return the weighted mean of (1 - x·y)² over the observations; 0 without observations."""
    total = 0.0
    owner = np.repeat(np.arange(len(rows)), np.diff(seen.offsets))
    step = max(1, NUMBERS_AT_ONCE // max(1, factors.shape[1]))
    for at in range(0, len(owner), step):
        part = slice(at, at + step)
        fitted = np.einsum("nd,nd->n", rows[owner[part]], factors[seen.columns[part]])
        total += float(seen.weights[part] @ (1 - fitted) ** 2)
    return total / max(float(seen.weights.sum()), 1e-12)
