"""Refresh the champion for shoppers like those who just abandoned a checkout: a small, bounded warm start.

What is learned and what judges must not be the same sessions, yet both have to be of the last hours. So the
sessions since the champion's window are cut into halves by a hash of their names: one may be learned from,
the other judges. The refreshed version counts as having learned up to where its champion had: the next
incremental training learns the last hours whole.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lastaisle.errors import ExitCode, LastaisleError, NotEnoughDataError
from lastaisle.lake.tables import EVENTS, TRAINING_RUNS
from lastaisle.registry.plan import Champion, TrainingPlan, choose_learner
from lastaisle.sessions.abandonment import Burst, mark, sessions_of, waiting
from lastaisle.sessions.windows import (
    SessionsRead,
    Window,
    evaluation_sessions,
    newest_data_end,
    training_sessions,
)
from lastaisle.training.similar import cluster, described

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings
    from models.data.sequences import SessionLog

REFRESHED = "refreshed"  # the step that is done for each burst once; see lastaisle.sessions.abandonment
REACH = 0.3  # how far an item may move on the unit sphere; see models.options.TrainingOptions.trust_region
# Sessions of other kinds, for each that is targeted, and the rate as a share of a warm start's. In
# benchmarks/refresh.py (seeds 7 and 8) these gained 3 and 5 points of recall@20, and 0 and 3 on abandoned
# sessions; on seed 7 a quarter of a session at the full rate lost 2.5 and 5.
REPLAYED, PACE = 3.0, 0.25
LEAST_REPLAYED = 100  # lest a few of one kind be all that is learned


class NothingToRefreshError(LastaisleError):
    """No version to refresh, too few abandoned checkouts, or a refresh too soon after the last."""

    exit_code = ExitCode.NOTHING_TO_TRAIN


@dataclass(frozen=True)
class RefreshRead(SessionsRead):
    """What a refresh learns from.

    Attributes:
        clusters: of each cluster its sessions, abandoned and similar, and the items that they saw most.
        replayed: how many sessions are of other kinds, against forgetting.
    """

    clusters: tuple[dict[str, Any], ...] = ()
    replayed: int = 0

    def metrics(self) -> dict[str, float]:
        """Return what the MLflow run shows of it."""
        found = {name: sum(each[name] for each in self.clusters) for name in ("abandoned", "similar")}
        numbers = {**found, "clusters": len(self.clusters), "replayed": self.replayed}
        return {f"refresh_{name}": float(value) for name, value in numbers.items()}


def plan_refresh(lake: Lake, settings: Settings, champion: Champion | None) -> TrainingPlan:
    """Plan a refresh for all abandoned checkouts that none has been made for.

    Planned again for the same ones on the same champion, it is the same training.

    Raises:
        NothingToRefreshError: there is no champion, fewer than settings.refresh.min_sessions wait, or the
            last refresh is not settings.refresh.cooldown_minutes old. They go on waiting.
    """
    burst = _waiting(lake, settings, champion)
    assert champion is not None, "refused above"
    architecture, options, _ = choose_learner(None, {}, settings, champion)
    options["trust_region"] = min(REACH, options["trust_region"] or REACH)
    options["warm_learning_rate"] *= PACE
    digest = hashlib.sha256("\n".join(sorted(burst.names)).encode()).hexdigest()[:12]
    run_key = f"refresh-v{champion.version}-{digest}"
    _require_rest(lake, settings, run_key)
    start = champion.window_end - timedelta(hours=settings.learning.window_hours)
    return TrainingPlan(
        run_key=run_key,
        kind="refresh",
        model_name=settings.registry.model_name,
        architecture=architecture,
        window=Window(start, champion.window_end, settings.learning.half_life_hours),
        holdout_end=newest_data_end(lake),
        lake_versions=lake.versions([EVENTS]),
        options=options,
        warm_start_version=champion.version,
        bursts=burst.names,
    )


def _waiting(lake: Lake, settings: Settings, champion: Champion | None) -> Burst:
    """Return what waits for a refresh, if that is enough."""
    if champion is None:
        raise NothingToRefreshError(f"{settings.registry.model_name} has no champion to refresh yet")
    try:
        burst = waiting(lake, REFRESHED)
    except NotEnoughDataError as nothing:
        raise NothingToRefreshError(str(nothing)) from nothing
    sessions = 0 if burst is None else burst.sessions
    if burst is None or sessions < settings.refresh.min_sessions:
        raise NothingToRefreshError(
            f"{sessions} abandoned checkouts wait for a refresh, which needs {settings.refresh.min_sessions} "
            "(LASTAISLE_REFRESH_MIN_SESSIONS): they go on waiting"
        )
    return burst


def _require_rest(lake: Lake, settings: Settings, run_key: str) -> None:
    """Make sure that no other refresh was made a short while ago."""
    if lake.version(TRAINING_RUNS) is None:
        return
    runs = lake.scan(TRAINING_RUNS, ["kind", "run_key", "finished_at"]).to_pylist()
    others = [run for run in runs if run["kind"] == "refresh" and run["run_key"] != run_key]
    last = max((run["finished_at"] for run in others), default=None)
    rest = timedelta(minutes=settings.refresh.cooldown_minutes)
    if last is not None and datetime.now(UTC) - last < rest:
        raise NothingToRefreshError(
            f"the last refresh ended at {last:%H:%M} UTC, less than {settings.refresh.cooldown_minutes:g} "
            "minutes ago (LASTAISLE_REFRESH_COOLDOWN_MINUTES): abandoned checkouts go on waiting"
        )


def finish_refresh(lake: Lake, plan: TrainingPlan) -> None:
    """Remember that the plan's bursts had their refresh, whatever the gate said; nothing for other plans."""
    mark(lake, plan.bursts, REFRESHED)


def refresh_sessions(plan: TrainingPlan, lake: Lake) -> RefreshRead:
    """Read what a refresh learns from: abandoned sessions, those like them, and a sample of the others.

    Of the sessions since the champion's window only the half that does not judge is learned from.

    Raises:
        NotEnoughDataError: none of the abandoned sessions may be learned from, as where all refuse consent.
    """
    import numpy as np

    reach = Window(plan.window.start, plan.holdout_end, plan.window.half_life_hours)
    version = plan.lake_versions.get(EVENTS)
    read = training_sessions(lake, reach, plan.holdout_end, version, with_ids=True)
    fresh = read.log.ended_at >= plan.window.end.timestamp()
    log = read.log.select(~(fresh & judges(read.log))) if len(read.log) else read.log
    abandoned = abandoned_in(log, lake, plan)
    if not abandoned.any():
        raise NotEnoughDataError(
            f"{plan.run_key}: none of its abandoned sessions may be learned from "
            f"(left out: {dict(read.left_out)}; one half judges)"
        )
    seed = int(plan.options["seed"])
    found = cluster(log, abandoned, seed)
    learned = np.concatenate([np.flatnonzero(abandoned), found.similar])
    rest = np.setdiff1d(np.arange(len(log)), learned)
    wanted = min(len(rest), max(LEAST_REPLAYED, round(REPLAYED * len(learned))))
    replayed = np.random.default_rng(seed).choice(rest, wanted, replace=False)
    chosen = log.select(np.sort(np.concatenate([learned, replayed])))
    return RefreshRead(chosen, read.left_out, tuple(described(log, abandoned, found)), len(replayed))


def judging_sessions(plan: TrainingPlan, lake: Lake) -> SessionsRead:
    """Read the half of the sessions since the champion's window that a refresh does not learn from."""
    version = plan.lake_versions.get(EVENTS)
    read = evaluation_sessions(lake, plan.window.end, plan.holdout_end, version, with_ids=True)
    if not len(read.log):
        return read
    return SessionsRead(read.log.select(judges(read.log)), read.left_out)


def judges(log: SessionLog) -> NDArray[np.bool_]:
    """Tell which sessions of a log that has their ids judge, [n_sessions]: one half, always the same."""
    import numpy as np

    digests = (hashlib.md5(name.encode(), usedforsecurity=False).digest() for name in log.context["session"])
    return np.fromiter((digest[0] % 2 == 1 for digest in digests), bool, len(log))


def abandoned_in(log: SessionLog, lake: Lake, plan: TrainingPlan) -> NDArray[np.bool_]:
    """Tell which sessions of a log that has their ids are of the plan's bursts, [n_sessions]."""
    import numpy as np

    names = sessions_of(lake, plan.bursts)
    ids = log.context.get("session", ())
    return np.fromiter((name in names for name in ids), bool, len(log))
