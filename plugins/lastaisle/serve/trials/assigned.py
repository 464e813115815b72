"""A request that belongs to an arm of a trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastaisle.experiments.traffic import Arm
from lastaisle.feedback.origin import TrialLabel

if TYPE_CHECKING:
    from lastaisle.serve.following.served import ServedVersion


@dataclass(frozen=True, eq=False)
class Assigned:
    """The arm of a request, ready to make the list.

    Attributes:
        arm: how the list is made.
        label: what the id of the list says of the trial.
        digits: the random hexadecimal digits of the id; a bandit drew its arm by them.
        served: the version of the arm; None is the champion.
        other: the version of the other list of a mix; None is the champion.
    """

    arm: Arm
    label: TrialLabel
    digits: str
    served: ServedVersion | None = None
    other: ServedVersion | None = None
