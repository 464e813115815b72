"""The log of a policy that drew its actions by chance: what off-policy estimators read."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS: Final = 5
SHRINKAGE: Final = 10.0  # lists of the arm, or of all arms, that count in each cell
RECENT: Final = 200  # rows that tell how often each arm is drawn at present


@dataclass(frozen=True)
class Log:
    """Actions that were drawn by chance, the earliest first.

    Attributes:
        actions: int64 [n], the arm of each row, from 0.
        propensities: float64 [n], the probability with which that arm was drawn.
        rewards: float64 [n].
        names: the name of each arm.
        units: int64 [n], the shopper of each row, from 0 without gaps; rows of one shopper depend on each
            other.
        cells: int64 [n], the context of each row, as a number from 0.
        batches: int64 [n], never falling: predictions and weights of a row follow from rows of lower numbers.
    """

    actions: Ints
    propensities: Floats
    rewards: Floats
    names: tuple[str, ...]
    units: Ints
    cells: Ints
    batches: Ints

    @classmethod
    def of(
        cls,
        actions: Sequence[int] | Ints,
        propensities: Sequence[float] | Floats,
        rewards: Sequence[float] | Floats,
        *,
        arms: int | Sequence[str],
        units: Sequence[Hashable] | NDArray[Any] | None = None,
        cells: Sequence[Hashable] | NDArray[Any] | None = None,
        batches: Sequence[int] | Ints | None = None,
    ) -> Log:
        """Make a log.

        Args:
            actions: the arms, from 0.
            propensities: their probabilities.
            rewards: what followed.
            arms: the names of the arms, or how many arms there are.
            units: the shoppers, by any names; absent: each row is of another shopper.
            cells: the contexts, by any names; absent: there is one context.
            batches: the batches; absent: there is one batch.

        Raises:
            ValueError: the lengths differ, or a value cannot be.
        """
        n = len(actions)
        log = cls(
            np.asarray(actions, dtype=np.int64),
            np.asarray(propensities, dtype=np.float64),
            np.asarray(rewards, dtype=np.float64),
            tuple(map(str, range(arms))) if isinstance(arms, int) else tuple(arms),
            np.arange(n, dtype=np.int64) if units is None else _codes(units),
            np.zeros(n, dtype=np.int64) if cells is None else _codes(cells),
            np.zeros(n, dtype=np.int64) if batches is None else np.asarray(batches, dtype=np.int64),
        )
        log._check()
        return log

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.actions)

    @property
    def arms(self) -> int:
        """The number of arms."""
        return len(self.names)

    def sum_by_unit(self, values: Floats) -> Floats:
        """Return the sum of values of each shopper; float64 [shoppers]."""
        return np.bincount(self.units, weights=values).astype(np.float64)

    def taken(self, of_arms: Floats) -> Floats:
        """Return from float64 [n, arms] the value of the arm of each row; float64 [n]."""
        taken: Floats = of_arms[np.arange(len(self)), self.actions]
        return taken

    def predict_rewards(self, *, from_earlier: bool) -> Floats:
        """Predict the reward of each arm at each row from rows that the row cannot have influenced.

        A prediction is the mean reward of the arm in the row's cell. The mean of the arm in all cells counts
        like ten further rows of the cell, and the mean of all arms like ten further rows of the arm.

        Args:
            from_earlier: predict from the rows of lower batches; otherwise from the shoppers of other folds.

        Returns:
            float64 [n, arms]; 0 where no row tells anything.
        """
        groups = self.batches if from_earlier else self.units % FOLDS
        predicted = np.zeros((len(self), self.arms))
        counts, sums = self._counted(slice(None))
        seen, earned = np.zeros_like(counts), np.zeros_like(sums)
        order = np.argsort(groups, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
            own_counts, own_sums = self._counted(rows)
            if from_earlier:
                predicted[rows] = _means(seen, earned)[self.cells[rows]]
                seen, earned = seen + own_counts, earned + own_sums
            else:
                predicted[rows] = _means(counts - own_counts, sums - own_sums)[self.cells[rows]]
        return predicted

    def fit_rewards(self) -> Floats:
        """Return what `predict_rewards` predicts if rows are predicted from all rows; float64 [n, arms]."""
        fitted: Floats = _means(*self._counted(slice(None)))[self.cells]
        return fitted

    def steadying_weights(self, coefficients: Floats) -> Floats:
        """Return a weight for each batch under which the scores of all batches vary about alike.

        A weight is one by the square root of the expected second moment of the importance weights, as Hadad
        et al. (2021) and Zhan et al. (2021) propose. The moment follows from the arms that the rows of lower
        batches drew, so a row's own arm and reward have no influence on its weight.

        Args:
            coefficients: float64 [n, arms], see `estimators`.

        Returns:
            float64 [n].
        """
        starts = np.searchsorted(self.batches, self.batches)  # the first row of each row's batch
        firsts = np.maximum(starts - RECENT, 0)
        known = np.maximum(starts - firsts, 1)[:, None]
        drawn = _sums_between(np.eye(self.arms)[self.actions], firsts, starts)
        shares = (drawn + 1) / ((starts - firsts)[:, None] + self.arms)
        squares = np.square(coefficients)
        mean_squares = _sums_between(squares, firsts, starts) / known
        mean_squares[starts == 0] = squares[starts == 0].mean(axis=0)
        moments = (mean_squares / shares).sum(axis=1)
        typical = moments[moments > 0].mean() if (moments > 0).any() else 1.0
        weights: Floats = np.sqrt(typical / np.where(moments > 0, moments, typical))
        return weights

    def _counted(self, rows: Any) -> tuple[Floats, Floats]:
        """Return the counts and the sums of rewards of some rows; both float64 [cells, arms]."""
        shape = (int(self.cells.max(initial=0)) + 1, self.arms)
        places = self.cells[rows] * self.arms + self.actions[rows]
        size = shape[0] * shape[1]
        counts = np.bincount(places, minlength=size).astype(np.float64)
        sums = np.bincount(places, weights=self.rewards[rows], minlength=size).astype(np.float64)
        return counts.reshape(shape), sums.reshape(shape)

    def _check(self) -> None:
        for name in ("propensities", "rewards", "units", "cells", "batches"):
            if len(getattr(self, name)) != len(self):
                raise ValueError(f"{len(self)} actions, but {len(getattr(self, name))} {name}")
        if len(self) and not 0 <= int(self.actions.min()) <= int(self.actions.max()) < self.arms:
            raise ValueError(f"an action should be from 0 to {self.arms - 1}, received {self.actions}")
        right = (self.propensities > 0) & (self.propensities <= 1)
        if not right.all():
            raise ValueError(
                f"{int((~right).sum())} of {len(self)} propensities are not above 0 and at most 1, "
                f"the first: {float(self.propensities[~right][0])}"
            )
        missing = int((~np.isfinite(self.rewards)).sum())
        if missing:
            raise ValueError(f"{missing} of {len(self)} rewards are no numbers")
        if (np.diff(self.batches) < 0).any():
            raise ValueError("the batches should never fall: sort the log by time")


def _codes(names: Sequence[Hashable] | NDArray[Any]) -> Ints:
    """Return a number from 0 for each name, without gaps."""
    if isinstance(names, np.ndarray):
        return np.unique(names, return_inverse=True)[1].astype(np.int64)
    codes: dict[Hashable, int] = {}
    return np.fromiter((codes.setdefault(name, len(codes)) for name in names), np.int64, len(names))


def _means(counts: Floats, sums: Floats) -> Floats:
    """Return mean rewards [cells, arms], drawn towards the arm's mean, and this towards the mean of all."""
    of_all = sums.sum() / max(counts.sum(), 1.0)
    of_arms = (sums.sum(axis=0) + SHRINKAGE * of_all) / (counts.sum(axis=0) + SHRINKAGE)
    means: Floats = (sums + SHRINKAGE * of_arms) / (counts + SHRINKAGE)
    return means


def _sums_between(values: Floats, firsts: Ints, ends: Ints) -> Floats:
    """Return for each pair of a first and an end the sum of the rows of values between them."""
    until = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    sums: Floats = until[ends] - until[firsts]
    return sums
