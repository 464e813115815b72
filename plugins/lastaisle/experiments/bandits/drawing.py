"""Draw the arm of a list, with the probability that the arm had."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lastaisle.experiments.bandits.policies import Policy, policy_of
from lastaisle.experiments.traffic import Bandit, Trial

_BITS: Final = 52


class Drawn(NamedTuple):
    """The arm of a list.

    Attributes:
        arm: the arm that is shown.
        propensity: the probability of this arm, over the whole randomised step.
        choice: the arm that the policy drew, whether it is shown or only observed.
        probabilities: the probability of each arm; together 1.
    """

    arm: str
    propensity: float
    choice: str
    probabilities: dict[str, float]


def draw(trial: Trial, context: str, digits: str) -> Drawn:
    """Draw the arm of a list by what the bandit learned from outcomes.

    The probability of an arm is `(1 - share) * base + share * policy`. The digits decide, so the same digits
    draw the same arm again.

    Args:
        trial: the bandit.
        context: the text of the context, see `context_text`.
        digits: the random hexadecimal digits of the list's id.
    """
    bandit = bandit_of(trial)
    return draw_from(trial.name, bandit, policy_of(bandit), context, digits)


def draw_from(name: str, bandit: Bandit, policy: Policy, context: str, digits: str) -> Drawn:
    """Draw the arm of a list by a policy that is ready.

    Three numbers follow from the digits: one draws the policy's choice, one tells whether the choice is
    shown, and one draws an arm of the base if not.
    """
    chances = policy.probabilities(context)
    base = np.array([bandit.base[arm] for arm in policy.arms])
    mixed = (1 - bandit.share) * base + bandit.share * chances
    numbers = _numbers(name, digits)
    choice = _at(chances, numbers[0])
    shown = choice if numbers[1] < bandit.share else _at(base, numbers[2])
    probabilities = dict(zip(policy.arms, mixed.tolist(), strict=True))
    arm = policy.arms[shown]
    return Drawn(arm, probabilities[arm], policy.arms[choice], probabilities)


def bandit_of(trial: Trial) -> Bandit:
    """Return the bandit of a trial.

    Raises:
        ValueError: the trial is no bandit.
    """
    if trial.bandit is None:
        raise ValueError(f"{trial.name} is of kind {trial.kind}: it has no bandit")
    return trial.bandit


def _numbers(name: str, digits: str) -> tuple[float, float, float]:
    """Return three independent numbers from 0 to below 1."""
    digest = hashlib.sha256(f"bandit:{name}:{digits}".encode()).hexdigest()
    first, second, third = (int(digest[at : at + 13], 16) / 2**_BITS for at in (0, 13, 26))
    return first, second, third


def _at(chances: NDArray[np.float64], number: float) -> int:
    """Return the place at which the sum of the chances passes a number; a place without a chance is none."""
    sums = np.cumsum(chances)
    return int(np.searchsorted(sums, number * sums[-1], side="right"))
