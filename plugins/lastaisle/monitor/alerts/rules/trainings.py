"""The rules failed_training and stuck_training: what MLflow says of the trainings of the last days."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from statistics import median

from pydantic import Field

from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import FAILED_TRAINING, STUCK_TRAINING, Evidence, Finding
from lastaisle.monitor.alerts.rules.words import span
from lastaisle.registry.lease import ALIVE_AT, is_alive
from lastaisle.registry.run import FAILED, FINISHED, RUNNING, Run, has_store
from lastaisle.registry.tags import KIND, RUN_KEY
from lastaisle.telemetry.shown import utc


class FailedTrainingOptions(RuleOptions):
    """The limits of failed_training."""

    days: int = Field(
        default=3,
        ge=1,
        le=365,
        description="A training that failed longer ago is given up.",
    )


class StuckTrainingOptions(RuleOptions):
    """The limits of stuck_training."""

    dead_minutes: float = Field(
        default=15,
        ge=2,
        le=10_080,
        description="A run whose process gave no sign of life for so long is dead.",
    )
    factor: float = Field(
        default=4.0,
        ge=1,
        le=100,
        description="A run may take the usual time of its kind, times this factor.",
    )
    minimum_minutes: float = Field(
        default=60,
        ge=0,
        le=40_320,
        description="No living run is stuck before this.",
    )
    days: int = Field(
        default=28,
        ge=1,
        le=365,
        description="The days whose trainings tell the usual time.",
    )


def check_failed(context: Context[FailedTrainingOptions]) -> list[Finding]:
    """Find the trainings that failed, and after which no training of their kind has finished."""
    trainings = _trainings(context, context.options.days)
    findings: dict[str, Finding] = {}
    for run in trainings:
        began = _moment(run.started)
        later = [other for other in trainings if _kind(other) == _kind(run) and other.started > run.started]
        if run.status != FAILED or any(other.status == FINISHED for other in later):
            continue
        name = run.tags[RUN_KEY]
        findings.setdefault(
            name,
            Finding(
                FAILED_TRAINING,
                "warning",
                {"training": name},
                f"The training {name} ({_kind(run)}), which began at {utc(began)}, failed, and no later "
                "one of its kind has finished.",
                _moment(run.ended or run.started),
                (Evidence("The run of the training in MLflow", run_id=run.run_id),),
            ),
        )
    return list(findings.values())


def check_stuck(context: Context[StuckTrainingOptions]) -> list[Finding]:
    """Find the runs whose process is dead, and the runs that take far longer than others of their kind."""
    options, now = context.options, context.now
    trainings = _trainings(context, options.days)
    usual = _usual_times(trainings)
    findings = []
    for run in trainings:
        if run.status != RUNNING:
            continue
        began, name = _moment(run.started), run.tags[RUN_KEY]
        seen = datetime.fromisoformat(run.tags[ALIVE_AT]) if ALIVE_AT in run.tags else began
        limit = max(
            options.factor * usual.get(_kind(run), timedelta(0)), timedelta(minutes=options.minimum_minutes)
        )
        if not is_alive(run.tags) and now - seen > timedelta(minutes=options.dead_minutes):
            told = f"its process gave its last sign of life at {utc(seen)}"
            since = seen
        elif now - began > limit and _kind(run) in usual:
            told = f"runs of its kind usually take {span(usual[_kind(run)])}, and the limit is {span(limit)}"
            since = began + limit
        else:
            continue
        findings.append(
            Finding(
                STUCK_TRAINING,
                "warning",
                {"training": name},
                f"The training {name} ({_kind(run)}) runs since {utc(began)}; {told}.",
                since,
                (Evidence("The run of the training in MLflow", run_id=run.run_id),),
            )
        )
    return findings


def _trainings(context: Context[RuleOptions], days: int) -> list[Run]:
    """Return the trainings of the last days; none where MLflow was never used, so that nothing is made."""
    if not has_store(context.settings):
        return []
    return context.registry.trainings(context.now - timedelta(days=days))


def _usual_times(trainings: Iterable[Run]) -> dict[str, timedelta]:
    """Return the median time of the finished trainings, by kind."""
    times = defaultdict[str, list[int]](list)
    for run in trainings:
        if run.status == FINISHED and run.ended is not None:
            times[_kind(run)].append(run.ended - run.started)
    return {kind: timedelta(milliseconds=median(spans)) for kind, spans in times.items()}


def _kind(run: Run) -> str:
    return run.tags.get(KIND, "unknown kind")


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
