"""The policies of bandits by name, their options, and what is wrong with a bandit's definition."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from lastaisle.experiments.traffic import Bandit

THOMPSON: Final = "thompson"
UCB: Final = "ucb"
LINEAR_THOMPSON: Final = "linear_thompson"
LINEAR_UCB: Final = "linear_ucb"
LOGISTIC_THOMPSON: Final = "logistic_thompson"
#: The policies, and whether they read the context of a list.
ALGORITHMS: Final[Mapping[str, bool]] = {
    THOMPSON: False,
    UCB: False,
    LINEAR_THOMPSON: True,
    LINEAR_UCB: True,
    LOGISTIC_THOMPSON: True,
}
MOST_ARMS: Final = 20
MOST_COLUMNS: Final = 3
#: The hours after a list was shown in which its reward counts; the option horizon_hours may say otherwise.
HORIZON_HOURS: Final[Mapping[str, float]] = {"clicked": 1.0, "added": 4.0, "ordered": 24.0}

#: By how much each policy widens its doubt, unless the option exploration says otherwise.
EXPLORATION: Final[Mapping[str, float]] = {
    THOMPSON: 1.0,
    UCB: 1.0,
    LINEAR_THOMPSON: 0.5,
    LINEAR_UCB: 1.0,
    LOGISTIC_THOMPSON: 0.5,
}


class Option(NamedTuple):
    """A number that a bandit's definition may give.

    Attributes:
        default: the number if the definition gives none; NaN if it follows from the algorithm, the reward or
            the outcomes.
        least: the least number.
        most: the greatest number.
        help: what the number means.
    """

    default: float
    least: float
    most: float
    help: str


OPTIONS: Final[Mapping[str, Option]] = {
    "half_life_hours": Option(
        math.nan, 0, 100_000, "the age at which a list counts half; 0 counts all lists alike"
    ),
    "horizon_hours": Option(math.nan, 0.01, 720, "the hours after a list in which its reward counts"),
    "window_hours": Option(672, 1, 100_000, "the age after which a list does not count any more"),
    "prior_rewards": Option(1, 1, 10_000, "rewards that thompson and ucb assume before the first list"),
    "prior_misses": Option(1, 1, 100_000, "the lists without a reward that thompson and ucb assume"),
    "ridge": Option(10, 0.001, 10_000, "how strongly a policy doubts the effect of a value of context"),
    "exploration": Option(math.nan, 0.01, 10, "by how much a policy widens its doubt about each arm"),
    "gate_effective_size": Option(
        500, 100, 10_000_000, "the shoppers that lists must tell as much as, before the share rises"
    ),
    "gate_loss": Option(0.05, 0, 1, "the part of the control's rewards that the next share may lose at most"),
    "live_seconds": Option(10, 0, 3_600, "the pause after which a service draws by its own news; 0 is never"),
}


def option(bandit: Bandit, name: str) -> float:
    """Return an option of a bandit, or its default; NaN if the outcomes decide."""
    if name == "horizon_hours" and name not in bandit.options:
        return HORIZON_HOURS[bandit.reward]
    if name == "exploration" and name not in bandit.options:
        return EXPLORATION[bandit.algorithm]
    return bandit.options.get(name, OPTIONS[name].default)


def problems_of(bandit: Bandit, arms: tuple[str, ...]) -> list[str]:
    """Return what is wrong with a bandit, one sentence each; empty if it can run.

    Args:
        bandit: the bandit.
        arms: the names of the arms of its trial.
    """
    found = []
    if bandit.algorithm not in ALGORITHMS:
        meant = _meant(bandit.algorithm, ALGORITHMS)
        found.append(f"algorithm {bandit.algorithm!r} is none of {', '.join(ALGORITHMS)}{meant}")
    elif bandit.context and not ALGORITHMS[bandit.algorithm]:
        readers = ", ".join(name for name, reads in ALGORITHMS.items() if reads)
        found.append(
            f"the algorithm {bandit.algorithm} reads no context: leave context out, or use {readers}"
        )
    if len(bandit.context) > MOST_COLUMNS or len(set(bandit.context)) < len(bandit.context):
        found.append(f"context has {list(bandit.context)}: name at most {MOST_COLUMNS} columns, each once")
    if not 2 <= len(arms) <= MOST_ARMS:
        found.append(f"a bandit has 2 to {MOST_ARMS} arms, not {len(arms)}")
    if set(bandit.base) != set(arms):
        found.append(f"base names the arms {sorted(bandit.base)}, and the bandit has {sorted(arms)}")
    elif min(bandit.base.values()) < 0 or not math.isclose(sum(bandit.base.values()), 1, abs_tol=1e-9):
        found.append(f"the probabilities of base should be 0 or more and 1 together: {dict(bandit.base)}")
    if not 0 <= bandit.floor * len(arms) <= 1:
        found.append(f"floor {bandit.floor} is not from 0 to 1 / {len(arms)} arms = {1 / len(arms):.4g}")
    if not 0 <= bandit.share <= 1:
        found.append(f"share {bandit.share} is not from 0 to 1")
    return found + _problems_of_options(bandit.options)


def _problems_of_options(options: Mapping[str, float]) -> list[str]:
    found = []
    for name, value in options.items():
        known = OPTIONS.get(name)
        if known is None:
            found.append(f"there is no option {name!r}{_meant(name, OPTIONS)}")
        elif not known.least <= value <= known.most:
            found.append(f"option {name} is {value:g}: it should be from {known.least:g} to {known.most:g}")
    return found


def _meant(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; do you mean {near[0]}?" if near else ""
