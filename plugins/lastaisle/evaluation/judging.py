"""Which sessions judge: those that none of the compared models has learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lastaisle.errors import NotEnoughDataError
from lastaisle.sessions.windows import SessionsRead, evaluation_sessions
from lastaisle.training.kinds.refresh import in_judging_half
from models.data.sequences import next_item_examples

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.registry.registry import Registry
    from models.data.sequences import Examples

LEAST_SHARE = 0.25  # of the planned hours: fewer hours, of one time of the day, do not judge


class LearnedHoursError(NotEnoughDataError):
    """Another compared version has learned the hours that were to judge a candidate."""


@dataclass(frozen=True)
class Judging:
    """The sessions that judge.

    Attributes:
        start: the moment from which on none of the models has learned.
        read: the sessions that started from then on, up to the end of the plan's hold-out.
    """

    start: datetime
    read: SessionsRead

    @property
    def examples(self) -> Examples:
        """The judging targets: every next item of the sessions."""
        return next_item_examples(self.read.log)


def judging_of(plan: TrainingPlan, versions: Mapping[str, str], lake: Lake, registry: Registry) -> Judging:
    """Read the sessions that judge a candidate beside some versions.

    Args:
        plan: of the candidate.
        versions: role (champion, anchor) to the version that the candidate is compared with.
        lake: where `events` is.
        registry: where the versions are.

    Raises:
        LearnedHoursError: a version has learned these hours.
    """
    others = {
        f"{role} version {version}": registry.plan_of(registry.run_of(version))
        for role, version in versions.items()
    }
    return judging_sessions(plan, others, lake)


def judging_sessions(plan: TrainingPlan, others: Mapping[str, TrainingPlan], lake: Lake) -> Judging:
    """Read the sessions after the newest window of the candidate and of the versions it is compared with.

    A champion may have learned hours after the candidate's window, if it moved while the candidate was
    trained. A refresh has learned one half of the sessions after its window, and so has each version that
    started from it: of these sessions the other half judges.

    Args:
        plan: of the candidate.
        others: of the versions that the candidate is compared with, by a name for messages.
        lake: where `events` is.

    Raises:
        LearnedHoursError: less than a quarter of the planned hours is left, or no sessions are left.
    """
    plans = {"the candidate": plan, **others}
    start = max(each.window.end for each in plans.values())
    if start > plan.window.end and start > plan.holdout_end - LEAST_SHARE * (
        plan.holdout_end - plan.window.end
    ):
        raise _learned(plan, plans, start)
    halves = [each.half_learned_until for each in plans.values() if each.half_learned_until is not None]
    read = _read(plan, start, max(halves, default=start), lake)
    if start > plan.window.end and not (read.log.lengths >= 2).any():
        raise _learned(plan, plans, start)
    return Judging(start, read)


def _read(plan: TrainingPlan, start: datetime, half_learned_until: datetime, lake: Lake) -> SessionsRead:
    """Read the sessions from `start` to the hold-out's end; of those learned by half, the other half."""
    halved = half_learned_until > start
    read = evaluation_sessions(lake, start, plan.holdout_end, plan.lake_versions, with_ids=halved)
    if not halved or not len(read.log):
        return read
    unseen = read.log.ended_at >= half_learned_until.timestamp()
    return SessionsRead(read.log.select(unseen | in_judging_half(read.log)), read.left_out)


def _learned(plan: TrainingPlan, plans: Mapping[str, TrainingPlan], start: datetime) -> LearnedHoursError:
    newest = max(plans, key=lambda name: plans[name].window.end)
    return LearnedHoursError(
        f"{plan.run_key} was to be judged by the hours from {plan.window.end.isoformat()} to "
        f"{plan.holdout_end.isoformat()}, but {newest} has learned up to {start.isoformat()} (by "
        f"{plans[newest].run_key}), and too few hours are left: train again up to a newer moment"
    )
