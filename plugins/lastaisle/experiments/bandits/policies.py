"""The policies: from what a bandit has learned, the probability of each arm in a context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.special import betaincinv

from lastaisle.experiments.bandits import options as names
from lastaisle.experiments.bandits.best import best_by_index, best_of_betas
from lastaisle.experiments.bandits.context import Levels, cell_of
from lastaisle.experiments.bandits.linear import Counts, linear_thompson, linear_ucb, logistic_thompson
from lastaisle.experiments.bandits.options import option
from lastaisle.experiments.traffic import Bandit

Floats = NDArray[np.float64]


class Posterior(Struct, frozen=True, kw_only=True):
    """What a bandit has learned. It follows from the table `outcomes` alone.

    Attributes:
        outcomes_version: the version of `outcomes` that was read; -1 before the first.
        now: the newest moment of the data then (ISO 8601); empty before the first list.
        half_life_hours: the age at which a list counts half; 0 if all count alike.
        levels: the values of each column of context that the policy tells apart.
        counts: for each arm and cell of context the lists and rewards, older ones count less.
        totals: for each arm the lists and rewards as they are, and the mean of the propensities.
    """

    outcomes_version: int = -1
    now: str = ""
    half_life_hours: float = 0.0
    levels: tuple[tuple[str, ...], ...] = ()
    counts: dict[str, dict[str, tuple[float, float]]] = {}
    totals: dict[str, tuple[int, int, float]] = {}


class Policy:
    """One policy with what it has learned; it never changes, so it keeps the probabilities of each cell."""

    def __init__(self, bandit: Bandit, counts: Counts, levels: Levels) -> None:
        """Prepare the policy.

        Args:
            bandit: its algorithm, options and arms, which are the names of `base`.
            counts: lists and rewards of each arm and cell.
            levels: the values of each column that are told apart.
        """
        self.arms: tuple[str, ...] = tuple(bandit.base)
        self._levels = levels
        self._floor = bandit.floor
        known = {arm: counts.get(arm, {}) for arm in self.arms}
        self._probabilities = _PROBABILITIES[bandit.algorithm](bandit, known, levels)
        self._cells: dict[str, Floats] = {}

    def probabilities(self, context: str) -> Floats:
        """Return the probability of each arm in a context, at least the floor and 1 together; shape (arms,).

        Args:
            context: the text of the context, see `context_text`.
        """
        cell = cell_of(context, self._levels)
        if cell not in self._cells:
            floor = self._floor
            self._cells[cell] = floor + (1 - floor * len(self.arms)) * self._probabilities(cell)
        return self._cells[cell]


def posterior_of(bandit: Bandit) -> Posterior:
    """Return what a bandit has learned.

    Raises:
        ValueError: the posterior is not what `learn` makes.
    """
    if not bandit.posterior:
        return Posterior(levels=((),) * len(bandit.context))
    made = msgspec.convert(bandit.posterior, Posterior)
    if len(made.levels) != len(bandit.context):
        raise ValueError(f"the posterior knows {len(made.levels)} columns of context, not {bandit.context}")
    return made


def policy_of(bandit: Bandit) -> Policy:
    """Return the policy of a bandit, with what the bandit has learned from outcomes."""
    known = posterior_of(bandit)
    return Policy(bandit, known.counts, known.levels)


def policy_probabilities(bandit: Bandit, context: str) -> dict[str, float]:
    """Return the probability of each arm under the policy alone, without base and share."""
    policy = policy_of(bandit)
    return dict(zip(policy.arms, policy.probabilities(context).tolist(), strict=True))


def _thompson(bandit: Bandit, counts: Counts, levels: Levels) -> Callable[[str], Floats]:
    best = best_of_betas(*_beliefs(bandit, counts))
    return lambda cell: best


def _ucb(bandit: Bandit, counts: Counts, levels: Levels) -> Callable[[str], Floats]:
    """Return the policy Bayes-UCB: the arm whose rate is the highest at the quantile 1 - 1 / (lists + 2).

    Source: E. Kaufmann, O. Cappé, A. Garivier, On Bayesian upper confidence bounds for bandit problems, 2012.
    """
    rewards, misses = _beliefs(bandit, counts)
    lists = sum(cell[0] for cells in counts.values() for cell in cells.values())
    best = best_by_index(betaincinv(rewards, misses, 1 - 1 / (lists + 2)))
    return lambda cell: best


def _beliefs(bandit: Bandit, counts: Counts) -> tuple[Floats, Floats]:
    """Return the two parameters of each arm's Beta distribution, each of shape (arms,)."""
    sums = np.array([np.sum([(0.0, 0.0), *cells.values()], axis=0) for cells in counts.values()])
    doubt = option(bandit, "exploration") ** 2
    rewards = option(bandit, "prior_rewards") + sums[:, 1] / doubt
    # A worker of a service may hear of rewards of lists that other workers drew.
    misses = option(bandit, "prior_misses") + np.maximum(sums[:, 0] - sums[:, 1], 0) / doubt
    return rewards, misses


_PROBABILITIES: Final[Mapping[str, Callable[[Bandit, Counts, Levels], Callable[[str], Floats]]]] = {
    names.THOMPSON: _thompson,
    names.UCB: _ucb,
    names.LINEAR_THOMPSON: linear_thompson,
    names.LINEAR_UCB: linear_ucb,
    names.LOGISTIC_THOMPSON: logistic_thompson,
}
