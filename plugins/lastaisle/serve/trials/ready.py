"""One trial beside the versions that its arms need: which requests it takes, and to which arm they belong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from lastaisle.experiments.bandits.drawing import draw
from lastaisle.experiments.bandits.live import LiveBandit
from lastaisle.experiments.bandits.options import problems_of
from lastaisle.experiments.traffic import Arm, Trial
from lastaisle.feedback.origin import MAX_ID, MAX_VALUE, TrialLabel, context_value, is_name
from lastaisle.serve.trials.assigned import Assigned

if TYPE_CHECKING:
    from lastaisle.serve.following.served import ServedVersion

_WITHOUT_LABEL: Final = 20 + len("-m-") + 24
"""The characters of the id of a list without its label: the version, the letter and the digits."""
_REWARDS: Final = {"clicked": "clicked", "added": "added", "bought": "ordered"}
"""The rewards of bandits by the kind of feedback that brings them."""
_REWARDED: Final = 50_000
"""Of how many lists the service remembers that they had their reward."""


@dataclass(eq=False)
class ReadyTrial:
    """A trial whose versions are loaded.

    Only the event loop may use it.

    Attributes:
        trial: the trial.
        versions: the loaded versions by their numbers; those of the champion are missing.
        live: the bandit; None for other trials.
    """

    trial: Trial
    versions: Mapping[str, ServedVersion]
    live: LiveBandit | None = None
    _labels: dict[tuple[datetime, str], TrialLabel] = field(default_factory=dict)
    _rewarded: dict[str, None] = field(default_factory=dict)

    def assign(self, unit: str, context: Mapping[str, Any], moment: datetime, digits: str) -> Assigned | None:
        """Return the arm of a request that the trial takes; None if the present phase leaves its shopper out.

        Args:
            unit: the pseudonym of the shopper, or of the visit.
            context: the values of context, with the shopper's consent.
            moment: when (UTC).
            digits: the random hexadecimal digits of the id of the list.
        """
        label = self._hashed(unit, moment) if self.live is None else self._drawn(self.live, context, digits)
        if label is None:
            return None
        arm = self.trial.arm(label.arm)
        other = arm.mix.version if arm.mix else None
        return Assigned(arm, label, digits, self._version(arm.version), self._version(other))

    def note(self, kind: str, recommendation_id: str, label: TrialLabel) -> None:
        """Let the bandit learn from feedback, once for each list.

        Args:
            kind: what happened to items of the list.
            recommendation_id: the id of the list.
            label: what the id says.
        """
        if self.live is None or self.trial.bandit is None or label.context is None:
            return
        if _REWARDS.get(kind) != self.trial.bandit.reward or recommendation_id in self._rewarded:
            return
        if len(self._rewarded) >= _REWARDED:
            del self._rewarded[next(iter(self._rewarded))]
        self._rewarded[recommendation_id] = None
        self.live.note(label.arm, ".".join(label.context))

    def _hashed(self, unit: str, moment: datetime) -> TrialLabel | None:
        """Return the label by the hash of the unit, the same in every service and in SQL."""
        arm, phase = self.trial.arm_of(unit, moment), self.trial.phase_at(moment)
        if arm is None or phase is None:
            return None
        label = self._labels.get((phase.starts_at, arm))
        if label is None:
            label = TrialLabel(self.trial.name, arm, phase.shares()[arm])
            self._labels[phase.starts_at, arm] = label
        return label

    def _drawn(self, live: LiveBandit, context: Mapping[str, Any], digits: str) -> TrialLabel:
        """Return the label of an arm that is drawn for this list alone."""
        columns = self.trial.bandit.context if self.trial.bandit else ()
        values = tuple(context_value(context.get(name)) for name in columns)
        drawn = live.draw(".".join(values), digits)
        return TrialLabel(self.trial.name, drawn.arm, drawn.propensity, values or ("",), drawn.choice)

    def _version(self, number: str | None) -> ServedVersion | None:
        return None if number is None else self.versions[number]


def versions_of(trial: Trial) -> Iterator[str]:
    """Yield the numbers of the versions that the arms of a trial need beside the champion."""
    for arm in trial.arms:
        for number in (arm.version, arm.mix.version if arm.mix else None):
            if number is not None:
                yield number


def problem_of(trial: Trial) -> str:
    """Return why a service cannot run a trial; empty if it can. Nothing fails later, with a request.

    Args:
        trial: the trial as the table `traffic` holds it.
    """
    arms = [arm.name for arm in trial.arms]
    return next(chain(_shapes(trial, arms), _bandit(trial, arms), _phases(trial, arms)), "")


def _shapes(trial: Trial, arms: Sequence[str]) -> Iterator[str]:
    for name in (trial.name, *arms):
        if not is_name(name):
            yield f"{name!r} is no name for the id of a list: 1 to 24 of a-z, 0-9, _ and -"
    if not arms or len(set(arms)) < len(arms):
        yield f"its arms should have different names, and are {arms}"
    if trial.kind == "shadow" and (len(arms) != 1 or trial.arms[0].version is None):
        yield "a shadow has one arm with a version"
    moments = [trial.starts_at, *(phase.starts_at for phase in trial.phases)]
    if any(moment.tzinfo is None for moment in (*moments, trial.stops_at or trial.starts_at)):
        yield "a time without a zone"
    if any(position < 1 for arm in trial.arms for position in _positions(arm)):
        yield "a position of a mix below 1"
    columns = len(trial.bandit.context) if trial.bandit else 0
    longest = max((len(name) for name in arms), default=0) * "n"
    values = ("v" * MAX_VALUE,) * columns if trial.bandit else None
    label = TrialLabel(trial.name, longest, 0.12345678, values, longest)
    if _WITHOUT_LABEL + len(str(label)) > MAX_ID:
        yield f"the {columns} columns of its context do not fit the id of a list"


def _bandit(trial: Trial, arms: Sequence[str]) -> Iterator[str]:
    if trial.kind != "bandit":
        return
    if trial.bandit is None:
        yield "it is a bandit, and nothing says how it draws"
    else:
        yield from problems_of(trial.bandit, tuple(arms))
        try:
            draw(trial, "." * (len(trial.bandit.context) - 1), "")
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            yield f"it cannot draw by what it has learned: {error}"


def _phases(trial: Trial, arms: Sequence[str]) -> Iterator[str]:
    if trial.kind in {"bandit", "shadow"}:
        return
    if not trial.phases:
        yield "it has no phase"
    starts = [phase.starts_at for phase in trial.phases]
    if starts != sorted(starts):
        yield "its phases are not in the order of their starts"
    unknown = {part.arm for phase in trial.phases for part in phase.ranges} - set(arms)
    if unknown:
        yield f"its phases name arms that it does not have: {', '.join(sorted(unknown))}"


def _positions(arm: Arm) -> tuple[int, ...]:
    return arm.mix.positions if arm.mix else ()
