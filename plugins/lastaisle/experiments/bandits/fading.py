"""How fast a bandit forgets: the half-life whose memory would have foretold the latest hours best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: The half-lives that are tried, in hours. 0 forgets nothing; it wins unless another one is clearly better.
HALF_LIVES: Final = (0.0, 96.0, 48.0, 24.0, 12.0)
#: An hour counts half after 34 hours in the comparison, so that the half-life may change.
_JUDGED: Final = 0.98
_MARGIN: Final = 2.0  # in units of the log-likelihood
# How many lists of the whole shop, and of the arm, a rate starts from.
_OF_SHOP, _OF_ARM = 8.0, 20.0
_RATE: Final = (1.0, 12.0)  # one reward in twelve lists, before the first list

Floats = NDArray[np.float64]


class Hour(NamedTuple):
    """The lists of one hour, arm and cell of context; the hour is counted from 1970."""

    hour: int
    arm: str
    cell: str
    lists: int
    rewards: int


def best_half_life(hours: Sequence[Hour]) -> float:
    """Return the half-life, in hours, whose memory foretells each hour best from the hours before.

    Each hour is foretold by the rate of each arm and cell, which starts from the rate of the arm. The measure
    is the log-likelihood of the rewards. Newer hours count more.

    Args:
        hours: the lists that count, in the order of their hours.
    """
    if not hours:
        return HALF_LIVES[0]
    moments = sorted({row.hour for row in hours})
    places = [
        {name: at for at, name in enumerate(sorted({getattr(row, column) for row in hours}))}
        for column in ("arm", "cell")
    ]
    seen = np.zeros((len(moments), 2, len(places[0]), len(places[1])))
    at_hour = {moment: at for at, moment in enumerate(moments)}
    for row in hours:
        seen[at_hour[row.hour], :, places[0][row.arm], places[1][row.cell]] += (row.lists, row.rewards)
    keeps = np.array([0.5 ** (1 / half_life) if half_life else 1.0 for half_life in HALF_LIVES])
    known = np.zeros((len(HALF_LIVES), *seen.shape[1:]))
    scores = np.zeros(len(HALF_LIVES))
    before = moments[0]
    for moment, (lists, rewards) in zip(moments, seen, strict=True):
        passed = moment - before
        known *= (keeps**passed)[:, None, None, None]
        rates = _rates(known)
        likely = rewards * np.log(rates) + (lists - rewards) * np.log1p(-rates)
        scores = scores * _JUDGED**passed + likely.sum(axis=(1, 2))
        known += np.stack([lists, rewards])
        before = moment
    scores[1:] -= _MARGIN
    return HALF_LIVES[int(scores.argmax())]


def _rates(known: Floats) -> Floats:
    """Return the rate of each half-life, arm and cell; `known` has lists and rewards on its second axis."""
    lists, rewards = known[:, 0], known[:, 1]
    of_shop = (rewards.sum(axis=(1, 2)) + _RATE[0]) / (lists.sum(axis=(1, 2)) + _RATE[1])
    of_arm = (rewards.sum(axis=2) + _OF_SHOP * of_shop[:, None]) / (lists.sum(axis=2) + _OF_SHOP)
    rates: Floats = (rewards + _OF_ARM * of_arm[:, :, None]) / (lists + _OF_ARM)
    return rates.clip(1e-6, 1 - 1e-6)
