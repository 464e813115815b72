"""What services do with shoppers now: the running experiments, bandits and canaries, and the shadow.

The table `traffic` keeps every move. The newest row of a subject counts. Services read the table, and so
need neither the files of the definitions nor Airflow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import pyarrow as pa
from msgspec import Struct

from lastaisle.experiments.assignment import BUCKETS, Range, arm_at, bucket_of
from lastaisle.lake.tables import TRAFFIC, TRAFFIC_SCHEMA

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.lake.reader import LakeReader

Kind = Literal["experiment", "bandit", "canary", "shadow"]
Reward = Literal["clicked", "added", "ordered"]
State = Literal["running", "stopped", "invalid", "decided"]
RUNNING: Final = "running"
CANARY: Final = "canary"
"""The subject and the layer of the canary: it gets the requests that no experiment takes."""
SHADOW: Final = "shadow"
"""The subject of the shadow."""


class Mix(Struct, frozen=True, kw_only=True):
    """Positions of a list that another list fills: one slot, or a blend of two lists.

    Attributes:
        positions: the positions, 1 at the top.
        policy: model or popular.
        version: the version that makes the other list; None is the champion.
    """

    positions: tuple[int, ...]
    policy: Literal["model", "popular"] = "model"
    version: str | None = None


class Arm(Struct, frozen=True, kw_only=True):
    """One arm: how its lists are made.

    Attributes:
        name: its name.
        version: the version that answers; None is the champion, whichever version that is.
        policy: model, or popular for the list of popular items.
        exclude_seen: whether lists leave out the session's own items; None as the version was judged.
        rules: whether the shop's rules pin and promote items.
        mix: positions that another list fills; None for none.
    """

    name: str
    version: str | None = None
    policy: Literal["model", "popular"] = "model"
    exclude_seen: bool | None = None
    rules: bool = True
    mix: Mix | None = None


class Phase(Struct, frozen=True, kw_only=True):
    """A time with one allocation.

    Attributes:
        starts_at: when it begins (UTC); it ends with the next phase.
        ranges: the buckets of each arm.
    """

    starts_at: datetime
    ranges: tuple[Range, ...]

    def shares(self) -> dict[str, float]:
        """Return the share of each arm, of all shoppers of the experiment."""
        shares: dict[str, float] = {}
        for arm, first, end in self.ranges:
            shares[arm] = shares.get(arm, 0.0) + (end - first) / BUCKETS
        return shares


class Bandit(Struct, frozen=True, kw_only=True):
    """How a bandit draws the arm of a list.

    The probability of an arm is `(1 - share) * base + share * policy`, where the policy's probabilities are
    at least `floor`.

    Attributes:
        algorithm: the name of the policy, see lastaisle.experiments.bandits.
        options: its parameters.
        base: the probability of each arm without the policy; together 1.
        floor: the least probability of each arm.
        share: the share of lists that follow the policy; 0 while it is an apprentice that only observes.
        context: the columns of context that the policy reads, in their order.
        reward: what an item of a list has to get, so that the list has a reward.
        posterior: what the policy has learned, as plain values.
    """

    algorithm: str
    options: dict[str, float] = {}
    base: dict[str, float]
    floor: float
    share: float = 0.0
    context: tuple[str, ...] = ()
    reward: Reward = "clicked"
    posterior: dict[str, Any] = {}


class AnalysisRules(Struct, frozen=True, kw_only=True):
    """What an analysis of an experiment looks at; fixed before its first result.

    Attributes:
        primary: the metric that decides, see lastaisle.experiments.metrics.
        guardrails: the metrics that stop the experiment when they get worse.
        minimum_effect: the least change of the primary metric worth finding, relative to the control.
        alpha: the share of experiments without a difference that may end with one.
        power: the share of experiments with the least change that should find it.
        horizon_hours: after the first exposure, how long events of a shopper count.
        cuped_days: how many days before the first exposure tell what a shopper did before.
        planned_units: the shoppers of all arms that the plan expects; tunes the confidence sequence.
    """

    primary: str
    guardrails: tuple[str, ...] = ()
    minimum_effect: float
    alpha: float = 0.05
    power: float = 0.8
    horizon_hours: float = 24.0
    cuped_days: int = 14
    planned_units: int


class Trial(Struct, frozen=True, kw_only=True):
    """What a service needs to know of an experiment, a bandit, a canary or a shadow.

    Attributes:
        name: its name, also in exposures.
        kind: experiment, bandit, canary or shadow.
        arms: the arms, the control first. A shadow has one arm.
        layer: experiments of one layer share its shoppers; a shopper is in one experiment of a layer at most.
        buckets: the first bucket of the layer that belongs to the trial, and the bucket after the last.
        placements: where its lists are shown; empty for all placements.
        targeting: for a column of context the values that take part; empty for all shoppers.
        starts_at: when it begins (UTC).
        stops_at: when it ends (UTC); None is open.
        phases: the phases, the earliest first; a bandit and a shadow have none.
        bandit: how a bandit draws; None for other kinds.
        share: of a shadow, the share of requests that it scores.
        analysis: what an analysis looks at; None for a trial that is not analysed.
    """

    name: str
    kind: Kind
    arms: tuple[Arm, ...]
    layer: str = "checkout"
    buckets: tuple[int, int] = (0, BUCKETS)
    placements: tuple[str, ...] = ()
    targeting: dict[str, tuple[str, ...]] = {}
    starts_at: datetime
    stops_at: datetime | None = None
    phases: tuple[Phase, ...] = ()
    bandit: Bandit | None = None
    share: float = 1.0
    analysis: AnalysisRules | None = None

    def phase_at(self, moment: datetime) -> Phase | None:
        """Return the phase of a moment; None before the first."""
        begun = [phase for phase in self.phases if phase.starts_at <= moment]
        return begun[-1] if begun else None

    def takes(self, unit: str, placement: str, context: Mapping[str, Any], moment: datetime) -> bool:
        """Tell whether a request takes part.

        Args:
            unit: the pseudonym of the shopper, or of the visit.
            placement: where the list is shown.
            context: the values of context, with the shopper's consent.
            moment: when (UTC).
        """
        if moment < self.starts_at or (self.stops_at is not None and moment >= self.stops_at):
            return False
        if self.placements and placement not in self.placements:
            return False
        if not all(str(context.get(name)) in values for name, values in self.targeting.items()):
            return False
        first, end = self.buckets
        return (first, end) == (0, BUCKETS) or first <= bucket_of(f"layer:{self.layer}", unit) < end

    def arm_of(self, unit: str, moment: datetime) -> str | None:
        """Return the arm of a shopper by the hash; None if the present phase leaves the shopper out."""
        phase = self.phase_at(moment)
        return None if phase is None else arm_at(phase.ranges, bucket_of(self.name, unit))

    def arm(self, name: str) -> Arm:
        """Return an arm by its name."""
        return next(arm for arm in self.arms if arm.name == name)


@dataclass(frozen=True)
class TrafficMove:
    """One row of the table `traffic`.

    Attributes:
        move_id: names the move; the same move written twice is one row.
        moved_at: when (UTC).
        state: running, stopped, invalid or decided.
        trial: the trial after the move.
        reason: why, in sentences.
        actor: the person or the DAG run.
        entry: the number of the row; -1 for a move that is not written.
    """

    move_id: str
    moved_at: datetime
    state: State
    trial: Trial
    reason: str
    actor: str
    entry: int = field(default=-1, compare=False)


@dataclass(frozen=True)
class TrafficLog:
    """The table `traffic` as one process read it.

    Attributes:
        version: the version of the table; -1 if there is none yet.
        moves: all readable moves, the oldest first.
        unread: how many rows cannot be read.
        problems: a sentence for each trial whose newest row cannot be read.
        damaged: the names of these trials.
    """

    version: int
    moves: tuple[TrafficMove, ...]
    unread: int = 0
    problems: tuple[str, ...] = ()
    damaged: frozenset[str] = frozenset()

    @property
    def next_entry(self) -> int:
        """The number of the next row."""
        return len(self.moves) + self.unread

    def newest(self) -> dict[str, TrafficMove]:
        """Return the newest move of each trial, by its name."""
        return {move.trial.name: move for move in self.moves}

    def running(self) -> tuple[Trial, ...]:
        """Return the trials that run, the canary after all others: it gets the requests that they leave."""
        trials = [move.trial for move in self.newest().values() if move.state == RUNNING]
        return tuple(sorted(trials, key=lambda trial: (trial.kind == CANARY, trial.name)))


def read_traffic(lake: LakeReader) -> TrafficLog:
    """Read the table `traffic`.

    A row that cannot be read stops no other trial. Its own trial stays as its last readable row says, but a
    trial that was ended never runs on.
    """
    version = lake.version(TRAFFIC)
    if version is None:
        return TrafficLog(-1, ())
    rows = sorted(lake.scan(TRAFFIC, version=version).to_pylist(), key=lambda row: row["entry"])
    trials: dict[str, Trial] = {}
    moves = []
    problems: dict[str, str] = {}
    for row in rows:
        subject = row["subject"]
        try:
            trials[subject] = _trial_of(row)
            problems.pop(subject, None)
        except (ValueError, TypeError) as error:
            problems[subject] = (
                f"row {row['entry']} of the table traffic, of {subject}, cannot be read, and the row before "
                f"it counts: {error}. Apply the definition of {subject} again, or stop it"
            )
            if row["state"] == RUNNING or subject not in trials:
                continue
        moves.append(_move_of(row, trials[subject]))
    return TrafficLog(
        version, tuple(moves), len(rows) - len(moves), tuple(problems.values()), frozenset(problems)
    )


def write_move(lake: Lake, move: TrafficMove, log: TrafficLog) -> bool:
    """Write a move, once by its id; False = it was written before.

    Args:
        lake: where the table is.
        move: the move.
        log: the table on which the move was decided.

    Raises:
        LakeConflictError: another move was written since the table was read: read it again, and decide again.
    """
    if any(other.move_id == move.move_id for other in log.moves):
        return False
    row = {
        "entry": log.next_entry,
        "move_id": move.move_id,
        "moved_at": move.moved_at.astimezone(UTC),
        "subject": move.trial.name,
        "kind": move.trial.kind,
        "state": move.state,
        "trial": msgspec.json.encode(move.trial).decode(),
        "reason": move.reason,
        "actor": move.actor,
    }
    table = pa.Table.from_pylist([row], schema=TRAFFIC_SCHEMA)
    return lake.append(TRAFFIC, table, key=move.move_id, if_version=log.version)


def _trial_of(row: Mapping[str, Any]) -> Trial:
    """Return the trial of a row.

    Raises:
        ValueError: the row cannot be read.
        TypeError: the row has no trial.
    """
    trial = msgspec.json.decode(row["trial"], type=Trial)
    if trial.name != row["subject"]:
        raise ValueError(f"the trial is named {trial.name}")
    return trial


def _move_of(row: Mapping[str, Any], trial: Trial) -> TrafficMove:
    known = {column.name for column in dataclasses.fields(TrafficMove)} - {"trial"}
    return TrafficMove(**{name: row[name] for name in known}, trial=trial)
