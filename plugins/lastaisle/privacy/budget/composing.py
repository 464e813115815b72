"""What trainings spend together of the shopper who spends most; shoppers were in different windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from models.private.accounting import Spent, epsilon_of, without_notes
from models.private.mechanism import Mechanism

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_DISTINCT: Final = 16
"""PLD takes a quarter of a second for each distinct noise; more of them are rounded to a few first."""
MOST_LOOKS: Final = 6
"""So many sets of trainings are composed by PLD. The bound by RDP stands for the others."""
MOST_MORE: Final = 4096
"""A forecast counts no further."""
_NO_ORDER: Final = 1e12  # no divergence of an order that counts is so large


@dataclass(frozen=True)
class Worst:
    """The shoppers who spend most.

    Attributes:
        spent: what they spend, by both accountants.
        present: in the windows of which trainings they were, bool [n_trainings].
    """

    spent: Spent
    present: NDArray[np.bool_]


def most_spent(
    patterns: NDArray[np.bool_], mechanisms: Sequence[Mechanism], delta: float, *, with_pld: bool = True
) -> Worst:
    """Return what the shopper spends who spends most.

    RDP of all sets of trainings takes one product of matrices. It bounds epsilon from above, so PLD is asked
    only for sets whose bound is above the largest epsilon so far.

    Args:
        patterns: the sets of trainings in whose windows a shopper was, bool [n_sets, n_trainings].
        mechanisms: the trainings.
        delta: the delta of all of them together.
        with_pld: False = RDP alone, which is quick and larger.
    """
    if not mechanisms or not len(patterns):
        return Worst(Spent(delta, 0.0, 0.0), np.zeros(len(mechanisms), dtype=bool))
    few = rounded(mechanisms)
    bounds = _renyi_epsilons(patterns, few, delta)
    worst: Worst | None = None
    seen: set[tuple[Mechanism, ...]] = set()
    for index in np.argsort(-bounds, kind="stable"):
        bound, present = float(bounds[index]), patterns[index]
        if worst is not None and bound <= worst.spent.epsilon:
            break
        if not with_pld or math.isinf(bound) or len(seen) >= MOST_LOOKS:
            return Worst(Spent(delta, math.inf, bound), present)
        chosen = tuple(one for one, is_in in zip(few, present, strict=True) if is_in)
        if chosen in seen:
            continue
        seen.add(chosen)
        spent = epsilon_of(chosen, delta)
        if worst is None or spent.epsilon > worst.spent.epsilon:
            worst = Worst(spent, present)
    assert worst is not None, "there is a set, which was composed"
    return worst


def how_many_more(
    present: NDArray[np.bool_],
    mechanisms: Sequence[Mechanism],
    further: Mechanism,
    *,
    epsilon: float,
    delta: float,
) -> int:
    """Return how many more trainings like `further` fit for a shopper who was in these, and will be in all.

    Args:
        present: the trainings so far in whose windows the shopper was, bool [n_trainings].
        mechanisms: the trainings so far.
        further: the training that is repeated.
        epsilon: the budget.
        delta: the delta of all of them together.
    """
    so_far = [one for one, is_in in zip(rounded(mechanisms), present, strict=True) if is_in]

    def fits(more: int) -> bool:
        total = [*so_far, *[further] * more]
        own = sum(one.delta for one in total)
        return own < delta and epsilon_of(total, delta).epsilon <= epsilon

    low, high = 0, 1
    if not fits(0):
        return 0
    while high < MOST_MORE and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def rounded(mechanisms: Sequence[Mechanism]) -> list[Mechanism]:
    """Round the noises of many trainings to a few, each towards a larger epsilon.

    Daily trainings have slightly different noises, because they have slightly different numbers of shoppers.
    """
    few = list(mechanisms)
    for digits in (4, 3, 2, 1):
        if len({(one.sampling_rate, one.noise_multiplier, one.releases) for one in few}) <= MOST_DISTINCT:
            break
        few = [_rounded(one, digits) for one in mechanisms]
    return few


def _rounded(mechanism: Mechanism, digits: int) -> Mechanism:
    return replace(
        mechanism,
        sampling_rate=min(1.0, _up(mechanism.sampling_rate, digits)),
        noise_multiplier=_down(mechanism.noise_multiplier, digits),
        releases=tuple(
            replace(one, noise_multiplier=_down(one.noise_multiplier, digits)) for one in mechanism.releases
        ),
    )


def _up(number: float, digits: int) -> float:
    unit = 10.0 ** (math.floor(math.log10(number)) - digits + 1)
    return max(number, math.ceil(number / unit) * unit)


def _down(number: float, digits: int) -> float:
    unit = 10.0 ** (math.floor(math.log10(number)) - digits + 1)
    return min(number, math.floor(number / unit) * unit)


def _renyi_epsilons(
    patterns: NDArray[np.bool_], mechanisms: Sequence[Mechanism], delta: float
) -> NDArray[np.float64]:
    """Return epsilon by RDP of each set of trainings, float64 [n_sets]; infinite where delta is spent.

    The conversion is Proposition 12 of Canonne, Kamath and Steinke, The Discrete Gaussian for Differential
    Privacy (NeurIPS 2020), as in dp-accounting.
    """
    with without_notes():
        curves = [
            _renyi(one.sampling_rate, one.noise_multiplier, one.steps, _noises(one)) for one in mechanisms
        ]
    orders = np.array(_orders())
    own = np.array([one.delta for one in mechanisms])
    left = delta - patterns @ own
    # An order that cannot be computed is infinite, and times 0 it should stay 0.
    total = patterns.astype(np.float64) @ np.minimum(np.array(curves), _NO_ORDER)
    with np.errstate(divide="ignore", invalid="ignore"):
        epsilons = (
            total + np.log1p(-1 / orders) - np.log(np.maximum(left, 0)[:, None] * orders) / (orders - 1)
        )
    smallest = np.maximum(0.0, np.nanmin(np.where(orders > 1.01, epsilons, np.inf), axis=1))
    return np.where(left > 0, smallest, np.inf)


def _noises(mechanism: Mechanism) -> tuple[float, ...]:
    return tuple(release.noise_multiplier for release in mechanism.releases)


@lru_cache(maxsize=4096)
def _renyi(rate: float, noise: float, steps: int, releases: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the Rényi divergences of one training by order."""
    import dp_accounting as dp
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant()
    if steps:
        step = dp.GaussianDpEvent(noise)
        accountant.compose(dp.PoissonSampledDpEvent(rate, step) if rate < 1.0 else step, steps)
    for one in releases:
        accountant.compose(dp.GaussianDpEvent(one))
    return np.asarray(accountant.rdp, dtype=np.float64)


@lru_cache(maxsize=1)
def _orders() -> tuple[float, ...]:
    from dp_accounting.rdp import RdpAccountant

    return tuple(float(order) for order in RdpAccountant().orders)
