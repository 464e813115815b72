"""List experiments and bandits: what runs, since when, and how often it was shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lastaisle.experiments.traffic import RUNNING, TrafficLog, TrafficMove, read_traffic
from lastaisle.lake.tables import EXPOSURES
from lastaisle.lake.workspace import make_view, open_workspace

if TYPE_CHECKING:
    from lastaisle.experiments.traffic import Trial
    from lastaisle.lake.lake import Lake

_COLUMNS = dict.fromkeys(("experiment", "kind", "recommendation_id", "user_id", "session_id"), "VARCHAR")


@dataclass(frozen=True)
class Listed:
    """An experiment, a bandit, a canary or a shadow as it stands.

    Attributes:
        name: its name.
        kind: experiment, bandit, canary or shadow.
        state: runs, begins later, ended (its stop has come), stopped, invalid or decided.
        phase: the number of the present phase and of all phases; empty without phases.
        shares: the share of each arm now; of a bandit, the probabilities without what it learned.
        since: when it begins (UTC).
        until: when it ends or ended (UTC); None is open.
        lists: the lists that were shown in it so far.
        shoppers: the shoppers who saw them, or visits whose shopper is unknown.
        reason: the sentence of its newest move.
    """

    name: str
    kind: str
    state: str
    phase: str
    shares: dict[str, float]
    since: datetime
    until: datetime | None
    lists: int
    shoppers: int
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return as a JSON-serialisable dict."""
        return asdict(self)


def list_trials(lake: Lake, now: datetime) -> tuple[list[Listed], TrafficLog]:
    """Return all trials, the running ones first, and the table that says so.

    Args:
        lake: holds the table `traffic` and the exposures.
        now: the present moment (UTC).
    """
    traffic = read_traffic(lake)
    return listed(traffic, count_shown(lake) if traffic.moves else {}, now), traffic


def listed(traffic: TrafficLog, shown: Mapping[str, tuple[int, int]], now: datetime) -> list[Listed]:
    """Return all trials, the running ones first.

    Args:
        traffic: the table `traffic`.
        shown: what `count_shown` returned.
        now: the present moment (UTC).
    """
    found = [_listed(move, now, *shown.get(name, (0, 0))) for name, move in traffic.newest().items()]
    order = {"runs": 0, "begins later": 1}
    return sorted(found, key=lambda one: (order.get(one.state, 2), one.name))


def _listed(move: TrafficMove, now: datetime, lists: int, shoppers: int) -> Listed:
    trial = move.trial
    begun = sum(phase.starts_at <= now for phase in trial.phases)
    return Listed(
        name=trial.name,
        kind=trial.kind,
        state=_state(move, now),
        phase=f"{begun} of {len(trial.phases)}" if trial.phases else "",
        shares=_shares(trial, now),
        since=trial.starts_at,
        until=trial.stops_at if move.state == RUNNING else move.moved_at,
        lists=lists,
        shoppers=shoppers,
        reason=move.reason,
    )


def _state(move: TrafficMove, now: datetime) -> str:
    if move.state != RUNNING:
        return move.state
    if move.trial.stops_at is not None and move.trial.stops_at <= now:
        return "ended"
    return "runs" if move.trial.starts_at <= now else "begins later"


def _shares(trial: Trial, now: datetime) -> dict[str, float]:
    if trial.bandit is not None:
        return dict(trial.bandit.base)
    phase = trial.phase_at(now) or (trial.phases[0] if trial.phases else None)
    return phase.shares() if phase else {arm.name: trial.share for arm in trial.arms}


def count_shown(lake: Lake) -> dict[str, tuple[int, int]]:
    """Return the lists and the shoppers of each trial."""
    with open_workspace() as connection:
        make_view(connection, EXPOSURES, lake.dataset(EXPOSURES), _COLUMNS)
        rows = connection.execute(
            "SELECT experiment, count(DISTINCT recommendation_id), "
            "count(DISTINCT coalesce(user_id, session_id)) FROM exposures "
            "WHERE kind = 'shown' AND experiment IS NOT NULL GROUP BY experiment"
        ).fetchall()
    return {name: (lists, shoppers) for name, lists, shoppers in rows}
