"""What each arm of a bandit, and its policy, would have earned: off-policy estimates beside each other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from lastaisle.errors import NotEnoughDataError
from lastaisle.experiments.bandits.drawing import bandit_of
from lastaisle.experiments.bandits.judging import JudgedLists, judged_lists
from lastaisle.experiments.bandits.lists import read_lists
from lastaisle.experiments.bandits.options import option
from lastaisle.experiments.bandits.replay import newest_move
from lastaisle.experiments.bandits.update import checked
from models.evaluation.off_policy.estimators import ESTIMATORS, Estimator, estimate
from models.evaluation.off_policy.overlap import OverlapError

if TYPE_CHECKING:
    import pyarrow as pa

    from lastaisle.experiments.traffic import Trial
    from lastaisle.lake.lake import Lake

POLICY: Final = "(the bandit's policy)"


@dataclass(frozen=True)
class WouldHaveEarned:
    """One estimate of the rewards a list.

    Attributes:
        policy: the arm that every list would have had, or POLICY.
        estimator: ips, snips, dm or dr.
        value: the estimate; None if the lists say too little.
        low: the lower end of its interval of 95 %, which holds at all looks together.
        high: the upper end.
        effective_sample_size: as many shoppers with equal weights would tell as much.
        problem: why there is no estimate; empty if there is one.
    """

    policy: str
    estimator: Estimator
    value: float | None = None
    low: float | None = None
    high: float | None = None
    effective_sample_size: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class BanditEvaluation:
    """What each arm of a bandit, and its policy, would have earned.

    Attributes:
        name: the bandit.
        reward: what a list should bring.
        lists: the lists whose reward is known.
        rewards: the lists that got the reward.
        left_out: for each reason the number of lists that were left out.
        estimates: for each arm and the policy the estimates.
    """

    name: str
    reward: str
    lists: int
    rewards: int
    left_out: dict[str, int]
    estimates: tuple[WouldHaveEarned, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as JSON takes it."""
        return asdict(self)


def evaluate_bandit(lake: Lake, name: str) -> BanditEvaluation:
    """Estimate from the table `outcomes` what each arm and the policy would have earned.

    Args:
        lake: where the tables are.
        name: the bandit; it may be stopped.

    Raises:
        BanditError: no bandit has this name, or the bandit cannot run.
        NotEnoughDataError: no list of the bandit has a known reward.
    """
    move = newest_move(lake, name)
    checked(move)
    trial = move.trial
    found = read_lists(lake, trial)
    if found.now is None:
        raise NotEnoughDataError(f"the table outcomes has no rows: run lastaisle attribute in {lake.url}")
    return evaluate_lists(trial, found.rows, now=found.now, left_out=found.left_out)


def evaluate_lists(
    trial: Trial, rows: pa.Table, *, now: datetime, left_out: dict[str, int] | None = None
) -> BanditEvaluation:
    """Estimate from lists what each arm and the policy would have earned.

    Args:
        trial: the bandit.
        rows: its lists, with the columns of LISTS_SCHEMA, the earliest first.
        now: the newest moment of the data.
        left_out: for each reason the number of lists that were left out before.

    Raises:
        NotEnoughDataError: no list has a known reward.
    """
    bandit = bandit_of(trial)
    lists = judged_lists(bandit, rows, since=trial.starts_at, now=now)
    if not len(lists.log):
        raise NotEnoughDataError(
            f"of {rows.num_rows:,} lists of the bandit {trial.name} none has a known reward and propensity. "
            f"A list waits {option(bandit, 'horizon_hours'):g} hours for its reward, and the data end "
            f"{now:%Y-%m-%d %H:%M} (UTC)"
        )
    targets = {arm: lists.always(arm) for arm in lists.log.names} | {POLICY: lists.policy}
    estimates = [
        _estimated(lists, policy, target, estimator)
        for policy, target in targets.items()
        for estimator in ESTIMATORS
    ]
    more = {"no_propensity": lists.left_out} if lists.left_out else {}
    return BanditEvaluation(
        trial.name,
        bandit.reward,
        len(lists.log),
        int((lists.log.rewards > 0).sum()),
        {**(left_out or {}), **more},
        tuple(estimates),
    )


def _estimated(lists: JudgedLists, policy: str, target: Any, estimator: Estimator) -> WouldHaveEarned:
    try:
        found = estimate(lists.log, target, estimator)
    except OverlapError as error:
        return WouldHaveEarned(policy, estimator, problem=str(error))
    return WouldHaveEarned(policy, estimator, found.value, found.low, found.high, found.effective_sample_size)
