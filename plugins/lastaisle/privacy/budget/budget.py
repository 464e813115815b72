"""The privacy budget: how much of it is spent, and whether a training still fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast, get_args

import pyarrow.compute as pc

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.lake.tables import TRAINING_RUNS
from lastaisle.privacy.budget.composing import how_many_more, most_spent
from lastaisle.privacy.budget.presence import presence
from lastaisle.privacy.budget.spent import Spending, read_spendings
from models.private.accounting import Spent, noise_for
from models.private.mechanism import UNITS, Mechanism, Unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lastaisle.lake.reader import LakeReader
    from lastaisle.settings.sections import PrivacySettings

YEAR: Final = timedelta(days=365)
RATE_DAYS: Final = 30
"""The trainings of so many days say how fast the budget is spent."""
PLANNED: Final = "planned"


class BudgetSpentError(LastaisleError):
    """A private training for which the privacy budget of the shoppers has no room."""

    exit_code = ExitCode.BUDGET_SPENT


@dataclass(frozen=True)
class UnitSpent:
    """What the shoppers (or the sessions) who spend most have spent.

    Attributes:
        unit: "shopper" or "session".
        spent: their epsilon, by both accountants, at the delta of a year.
        trainings: all private trainings of the year that protect this unit.
        in_windows: how many of them read a session of the shoppers who spend most.
        present: which of them, bool [n_trainings].
    """

    unit: Unit
    spent: Spent
    trainings: tuple[Spending, ...]
    in_windows: int
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class Budget:
    """The state of the budget.

    Attributes:
        limit: the epsilon that a shopper may spend in a year; 0 = no budget is set.
        delta: the delta of a year.
        since: trainings that finished before this moment count no more.
        now: the moment of the state.
        units: what was spent, by unit, for the units of the year's trainings.
        not_private: the runs of the trainings of the year without noise. Nothing bounds what they reveal.
        with_pld: whether PLD composed them too. RDP alone is quick, and gives a larger epsilon.
    """

    limit: float
    delta: float
    since: datetime
    now: datetime
    units: tuple[UnitSpent, ...]
    not_private: tuple[str, ...]
    with_pld: bool = True

    @property
    def worst(self) -> UnitSpent | None:
        """The unit that spent most; None without a private training."""
        return max(self.units, key=lambda one: one.spent.epsilon, default=None)

    @property
    def epsilon(self) -> float:
        """What was spent, by the tighter accountant; 0 without a private training."""
        return 0.0 if self.worst is None else self.worst.spent.epsilon

    @property
    def left(self) -> float | None:
        """What is left of the budget; None if no budget is set."""
        return max(0.0, self.limit - self.epsilon) if self.limit else None

    @property
    def share(self) -> float | None:
        """The share of the budget that is spent; None if no budget is set."""
        return self.epsilon / self.limit if self.limit else None

    @property
    def trainings(self) -> list[Spending]:
        """All private trainings of the year, the oldest first."""
        return sorted((one for unit in self.units for one in unit.trainings), key=lambda one: one.finished_at)

    @property
    def words(self) -> str:
        """The state in one sentence."""
        plain = f"trainings without noise: {len(self.not_private):,}"
        worst = self.worst
        if worst is None:
            allowed = f"; the budget is epsilon {self.limit:g}" if self.limit else ""
            return f"no private training in {YEAR.days} days ({plain}){allowed}"
        counted = f"private trainings in {YEAR.days} days: {len(self.trainings):,}, {plain}"
        of = f" of {self.limit:g}" if self.limit else ", no budget is set"
        spent = _said(self.epsilon) if self.with_pld else f"at most {_said(self.epsilon)}"
        return f"{spent}{of}, at delta {self.delta:g}, of a {worst.unit} ({counted})"

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain values, for a report; an infinite epsilon is None."""
        return {
            "limit": self.limit or None,
            "delta": self.delta,
            "since": self.since,
            "now": self.now,
            "epsilon": _finite(self.epsilon) if self.units else None,
            "left": self.left,
            "not_private": list(self.not_private),
            "units": [
                {
                    "unit": one.unit,
                    "epsilon": _finite(one.spent.epsilon),
                    "pld": _finite(one.spent.pld),
                    "rdp": _finite(one.spent.rdp),
                    "trainings": len(one.trainings),
                    "in_windows": one.in_windows,
                }
                for one in self.units
            ],
        }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def budget_of(
    lake: LakeReader,
    privacy: PrivacySettings,
    now: datetime,
    *,
    planned: Sequence[Spending] = (),
    with_pld: bool = True,
) -> Budget:
    """Compose all private trainings of the last 365 days, for the shoppers who spend most.

    Args:
        lake: where `privacy_spent` and `events` are.
        privacy: the budget and the delta of a year.
        now: the present.
        planned: trainings that are not in the table; a run that is in the table counts once.
        with_pld: False = by RDP alone, which is quick and gives a larger epsilon.
    """
    since, delta = now - YEAR, privacy.delta
    spendings = read_spendings(lake, since)
    known = {one.run_id for one in spendings}
    spendings += [one for one in planned if one.run_id not in known]
    units = []
    for unit in UNITS:
        if trainings := tuple(one for one in spendings if one.unit == unit):
            patterns = presence(lake, trainings, unit)
            mechanisms = [one.mechanism for one in trainings]
            worst = most_spent(patterns, mechanisms, delta, with_pld=with_pld)
            units.append(UnitSpent(unit, worst.spent, trainings, int(worst.present.sum()), worst.present))
    plain = _not_private(lake, since, {one.run_id for one in read_spendings(lake)})
    return Budget(privacy.epsilon, delta, since, now, tuple(units), plain, with_pld)


def _not_private(lake: LakeReader, since: datetime, private: set[str]) -> tuple[str, ...]:
    """Return the runs of the trainings since a moment that spent nothing because they had no noise."""
    if lake.version(TRAINING_RUNS) is None:
        return ()
    rows = lake.scan(TRAINING_RUNS, ["run_id"], pc.field("finished_at") >= since)
    return tuple(run for run in rows["run_id"].to_pylist() if run not in private)


@dataclass(frozen=True)
class Forecast:
    """How long the budget lasts.

    Attributes:
        more: how many more trainings like the newest fit, for a shopper who is in all of them.
        a_day: private trainings a day, in the last 30 days.
        days: after how many days the budget is spent at this rate; None = not within a year, since what a
            training spent counts for 365 days.
    """

    more: int
    a_day: float
    days: float | None


def forecast(budget: Budget) -> Forecast | None:
    """Say how many more trainings fit; None without a budget or without a private training."""
    worst = budget.worst
    if not budget.limit or worst is None:
        return None
    mechanisms = [one.mechanism for one in worst.trainings]
    newest = max(worst.trainings, key=lambda one: one.finished_at).mechanism
    limits = {"epsilon": budget.limit, "delta": budget.delta}
    more = how_many_more(worst.present, mechanisms, newest, **limits)
    recent = [one for one in worst.trainings if one.finished_at > budget.now - timedelta(days=RATE_DAYS)]
    a_day = len(recent) / RATE_DAYS
    days = more / a_day if a_day else math.inf
    return Forecast(more, a_day, days if days < YEAR.days else None)


def planned_spending(
    *,
    run_key: str,
    epsilon: float,
    delta: float,
    window: tuple[datetime, datetime],
    unit: str,
    now: datetime,
) -> Spending:
    """Describe a training before it starts, whose steps and shoppers nobody knows yet.

    One release of normal noise that spends the same epsilon and delta stands for it. Many noisy steps compose
    nearly like one such release. What the training really released is composed before its weights are logged.
    """
    noise = noise_for(epsilon, delta, 1.0, 1)
    mechanism = Mechanism(cast("Unit", unit), 1.0, noise, 1, 1.0, 0)
    return Spending(
        run_key=run_key,
        run_id=PLANNED,
        model_name=PLANNED,
        architecture=PLANNED,
        unit=unit,
        window_start=window[0],
        window_end=window[1],
        shoppers=0,
        mechanism=mechanism,
        epsilon=epsilon,
        delta=delta,
        finished_at=now,
    )


def usual_unit(lake: LakeReader) -> str:
    """Return the unit that the newest private training protected; "shopper" before the first."""
    spendings = read_spendings(lake)
    return spendings[-1].unit if spendings else get_args(Unit)[0]


def require_room(lake: LakeReader, privacy: PrivacySettings, spending: Spending) -> None:
    """Refuse a training for which the budget has no room; without a budget nothing is refused.

    Args:
        lake: where `privacy_spent` and `events` are.
        privacy: the budget.
        spending: what the training spends; `finished_at` is the present.

    Raises:
        BudgetSpentError: the shoppers who spend most would exceed the budget.
    """
    limit = privacy.epsilon
    if not limit:
        return
    for with_pld in (False, True):  # RDP alone is quick, and often says already that there is room
        budget = budget_of(lake, privacy, spending.finished_at, planned=[spending], with_pld=with_pld)
        if budget.epsilon <= limit:
            return
    worst = budget.worst
    assert worst is not None, "this training is composed"
    raise BudgetSpentError(
        f"{spending.run_key}: the privacy budget of a {worst.unit} has no room for this training, which "
        f"spends epsilon {spending.epsilon:.3g}. With it, a {worst.unit} who was in the windows of "
        f"{worst.in_windows} private trainings of the last {YEAR.days} days spends {_said(budget.epsilon)} "
        f"at delta {budget.delta:g}; LASTAISLE_PRIVACY_EPSILON allows {limit:g}. `lastaisle privacy budget` "
        "shows the trainings. Train with a smaller epsilon or less often, or raise the budget"
    )


def _said(epsilon: float) -> str:
    return f"epsilon {epsilon:.3g}" if math.isfinite(epsilon) else "all of the delta, so epsilon is unbounded"
