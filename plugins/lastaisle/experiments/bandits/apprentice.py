"""The gate of a bandit: its policy only observes, until lists of others show what the policy would earn.

At first the share of lists that follow the policy is 0. The service draws by `base`, and notes the policy's
choice beside the arm that it shows. Each update of the bandit estimates by doubly robust off-policy
evaluation what the policy would have earned, and what the control would have earned, from the lists since the
last change of the share. The share then rises to 0.1, 0.5 and 1, one step at a time and each by fresh lists.
It falls to 0 as soon as the policy is surely worse than the control. The interval holds at all updates
together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa

from lastaisle.experiments.bandits.drawing import bandit_of
from lastaisle.experiments.bandits.judging import JudgedLists, judged_lists
from lastaisle.experiments.bandits.options import option
from models.evaluation.off_policy.estimators import OffPolicyEstimate, difference, estimate
from models.evaluation.off_policy.overlap import (
    LARGEST_SHARE,
    LEAST_EFFECTIVE_SIZE,
    Overlap,
    overlap_of,
    problems,
)

if TYPE_CHECKING:
    from lastaisle.experiments.traffic import Trial

STEPS: Final = (0.0, 0.1, 0.5, 1.0)
LEAST_REWARDS: Final = 20
REWARDS: Final = "rewards"
EFFECTIVE_SIZE: Final = "effective sample size"
OVERLAP: Final = "overlap"
NOT_WORSE: Final = "not surely worse than the control"
NO_LESS: Final = "at least the control's rewards"
LOSS: Final = "loss at the next share"
_ALPHA: Final = 0.05


@dataclass(frozen=True)
class GateRule:
    """One row of the decision table.

    Attributes:
        rule: the name of the rule.
        value: the number that the rule looks at; None if it cannot be known.
        threshold: the limit of this number, such as ">= 500".
        passed: whether the number keeps the rule.
        reason: a sentence with the numbers.
    """

    rule: str
    value: float | None
    threshold: str
    passed: bool
    reason: str


@dataclass(frozen=True)
class ShareDecision:
    """How many lists follow the policy from now on.

    Attributes:
        share: the share of lists.
        reason: why, in sentences.
        table: the rules, in their order.
    """

    share: float
    reason: str
    table: tuple[GateRule, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON takes it."""
        return dict(msgspec.to_builtins(self))


def next_share(trial: Trial, rows: pa.Table, *, since: datetime, now: datetime) -> ShareDecision:
    """Decide how many lists follow a bandit's policy.

    Args:
        trial: the bandit. Its first arm is the control.
        rows: all lists of the bandit, see `judging.judged_lists`.
        since: when the share last changed; the start of the bandit, if it never did.
        now: the newest moment of the data.
    """
    bandit = bandit_of(trial)
    lists = judged_lists(bandit, rows, since=since, now=now)
    control, aim = trial.arms[0].name, _next_step(bandit.share)
    rewards = int((lists.log.rewards > 0).sum())
    overlaps = {
        "the policy": overlap_of(lists.log, lists.policy),
        control: overlap_of(lists.log, lists.always(control)),
    }
    table = [_rewards_rule(lists, rewards)]
    for name, overlap in overlaps.items():
        table += _overlap_rules(name, overlap, option(bandit, "gate_effective_size"))
    if rewards >= LEAST_REWARDS and not any(map(_thin, overlaps.values())):
        alpha = _ALPHA if trial.analysis is None else trial.analysis.alpha
        gain = difference(lists.log, lists.policy, lists.always(control), alpha=alpha)
        earned = estimate(lists.log, lists.always(control), "dr", alpha=alpha)
        table += _value_rules(gain, earned, control, aim, option(bandit, "gate_loss"))
    return _decided(bandit.share, aim, tuple(table))


def _next_step(share: float) -> float:
    return next((step for step in STEPS if step > share), STEPS[-1])


def _thin(overlap: Overlap) -> list[str]:
    return problems(overlap, LEAST_EFFECTIVE_SIZE, LARGEST_SHARE)


def _rewards_rule(lists: JudgedLists, rewards: int) -> GateRule:
    told = f"{rewards:,} of {len(lists.log):,} lists since the last change of the share got a reward"
    if lists.left_out:
        told += f" ({lists.left_out:,} lists without a known arm or propensity are left out)"
    enough = rewards >= LEAST_REWARDS
    return GateRule(REWARDS, rewards, f">= {LEAST_REWARDS}", enough, f"{told}; {LEAST_REWARDS} are needed")


def _overlap_rules(name: str, overlap: Overlap, least: float) -> list[GateRule]:
    size = overlap.effective_sample_size
    told = f"the lists tell as much about {name} as {size:,.0f} shoppers; {least:,.0f} are needed"
    rules = [GateRule(f"{EFFECTIVE_SIZE}: {name}", size, f">= {least:g}", size >= least, told)]
    wrong = problems(overlap, 0, LARGEST_SHARE) if overlap.rows else []
    if wrong:
        told = f"the lists say too little about {name}: {'; '.join(wrong)}"
        rules.append(GateRule(f"{OVERLAP}: {name}", overlap.mean_weight, "= 1", False, told))
    return rules


def _value_rules(
    gain: OffPolicyEstimate, earned: OffPolicyEstimate, control: str, aim: float, most: float
) -> list[GateRule]:
    """Return the rules about the rewards a list that the policy would have earned more than the control."""
    told = (
        f"the policy would have earned {gain.value:+.4f} a list (from {gain.low:+.4f} to {gain.high:+.4f}) "
        f"beside the {earned.value:.4f} of {control}"
    )
    loss = aim * max(-gain.low, 0.0) / earned.value if earned.value > 0 else None
    risk = "cannot be told" if loss is None else f"is up to {loss:.1%} of the rewards of {control}"
    return [
        GateRule(NOT_WORSE, gain.high, ">= 0", gain.high >= 0, told),
        GateRule(NO_LESS, gain.value, ">= 0", gain.value >= 0, told if gain.value >= 0 else f"{told}: less"),
        GateRule(
            LOSS,
            loss,
            f"<= {most:g}",
            loss is not None and loss <= most,
            f"the loss at a share of {aim:g} {risk}; {most:.1%} is allowed",
        ),
    ]


def _decided(share: float, aim: float, table: tuple[GateRule, ...]) -> ShareDecision:
    told = {rule.rule: rule for rule in table}
    failed = "; ".join(dict.fromkeys(rule.reason for rule in table if not rule.passed))
    if NOT_WORSE in told and not told[NOT_WORSE].passed:
        moved = f"falls from {share:g} to 0" if share else "stays 0"
        return ShareDecision(0.0, f"the share {moved}: {told[NOT_WORSE].reason}", table)
    if failed or share >= STEPS[-1]:
        return ShareDecision(share, f"the share stays {share:g}: {failed or told[NO_LESS].reason}", table)
    return ShareDecision(aim, f"the share rises from {share:g} to {aim:g}: {told[NO_LESS].reason}", table)
