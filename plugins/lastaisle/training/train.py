"""Train a candidate: from the champion's weights on newer sessions, or from scratch on a long window."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.tables import TRAINING_RUNS
from lastaisle.registry.plan import TrainingPlan
from lastaisle.registry.revision import git_revision
from lastaisle.sessions.windows import SessionsRead, training_sessions
from lastaisle.training.online import SHOPPERS, with_delta
from lastaisle.training.refresh import RefreshRead, refresh_sessions
from lastaisle.training.similar import draw
from lastaisle.training.warm_start import mini_batch

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from models.data.sequences import SessionLog
    from models.options import Progress, TrainingReport
    from models.recommender import Recommender

MIN_SESSIONS = 100  # with two items or more; fewer teach a model little but noise


@dataclass(frozen=True)
class Trained:
    """A trained model and what it was trained on.

    Attributes:
        recommender: the model.
        report: what its training did.
        log: the sessions it read.
        replayed: how many of them are older ones, against forgetting.
        left_out: reason to the number of sessions that were left out.
        shoppers: the run whose shoppers the model's online updates begin with; see `with_delta`.
    """

    recommender: Recommender
    report: TrainingReport
    log: SessionLog
    replayed: int
    left_out: Mapping[str, int]
    shoppers: str | None = None


def train_candidate(
    plan: TrainingPlan,
    lake: Lake,
    registry: Registry,
    progress: Progress | None = None,
) -> str:
    """Train what the plan says and return the MLflow run.

    Called again with the same plan it returns the same run; a run that died midway is deleted and redone.

    Raises:
        NotEnoughDataError: too few sessions in the window.
    """
    run_id = registry.finished_run(plan.run_key)
    if run_id is None:
        registry.discard_unfinished(plan.run_key)
        run_id = _run(plan, lake, registry, progress)
    lake.append(TRAINING_RUNS, _row(registry, run_id), key=f"training_run/{plan.run_key}")
    return run_id


def _run(plan: TrainingPlan, lake: Lake, registry: Registry, progress: Progress | None) -> str:
    """Train inside one MLflow run, which is finished only when everything is logged."""
    read = _sessions(plan, lake)
    sessions = int((read.log.lengths >= 2).sum())
    if sessions < MIN_SESSIONS:
        raise NotEnoughDataError(
            f"{plan.run_key}: {sessions} sessions of two items or more ended between "
            f"{plan.window.start.isoformat()} and {plan.window.end.isoformat()} in {lake.url}, but training "
            f"needs {MIN_SESSIONS} (left out: {dict(read.left_out)}): ingest more, or widen the window"
        )
    with registry.run(plan.run_key, _tags(plan)) as run_id, tempfile.TemporaryDirectory() as folder:
        registry.log_params(run_id, plan.options)
        trained = _train(plan, read, lake, registry, progress)
        _log(registry, run_id, trained)
        if trained.shoppers:
            registry.set_tag(run_id, SHOPPERS, trained.shoppers)
        if isinstance(read, RefreshRead):
            _log_refresh(registry, run_id, read)
        registry.log_model(run_id, trained.recommender, Path(folder))
    return run_id


def _sessions(plan: TrainingPlan, lake: Lake) -> SessionsRead:
    """Read the sessions that a training learns from."""
    if plan.kind == "refresh":
        return refresh_sessions(plan, lake)
    return training_sessions(lake, plan.window, plan.holdout_end, plan.lake_versions.get("events"))


def _train(
    plan: TrainingPlan,
    read: SessionsRead,
    lake: Lake,
    registry: Registry,
    progress: Progress | None,
) -> Trained:
    import numpy as np

    from models.data.sequences import decay_weights
    from models.options import TrainingOptions
    from models.recommender import create

    options = TrainingOptions.from_dict(plan.options)
    if plan.warm_start_version is None:
        recommender = create(plan.architecture, options)
        now, half_life = plan.window.end.timestamp(), plan.window.half_life_hours * 3600
        weights = decay_weights(read.log.ended_at, now, half_life)
        report = recommender.fit(read.log, weights, options, progress)
        return Trained(recommender, report, read.log, 0, read.left_out)
    champion = registry.champion(plan.warm_start_version)
    recommender, shoppers = with_delta(champion, registry, plan.window.end)
    if isinstance(read, RefreshRead):
        alike = np.ones(len(read.log), np.float32)  # chosen one by one, so none weighs less for its age
        report = recommender.warm_start(read.log, alike, options, progress)
        return Trained(recommender, report, read.log, read.replayed, read.left_out, shoppers)
    batch = mini_batch(plan, lake, read.log, champion.window_end, options.seed)
    report = recommender.warm_start(batch.log, batch.weights, options, progress)
    return Trained(recommender, report, batch.log, batch.replayed, read.left_out, shoppers)


def _tags(plan: TrainingPlan) -> dict[str, str]:
    from data_contracts.contract import load_contract

    return {
        "run_key": plan.run_key,
        "lastaisle.kind": plan.kind,
        "lastaisle.model_name": plan.model_name,
        "lastaisle.architecture": plan.architecture,
        "lastaisle.window_start": plan.window.start.isoformat(),
        "lastaisle.window_end": plan.window.end.isoformat(),
        "lastaisle.holdout_end": plan.holdout_end.isoformat(),
        "lastaisle.half_life_hours": str(plan.window.half_life_hours),
        "lastaisle.warm_start_version": plan.warm_start_version or "",
        "lastaisle.contract_version": load_contract("events").version,
        "lastaisle.lake_versions": json.dumps(dict(plan.lake_versions)),
        "lastaisle.git_revision": git_revision(),
        "lastaisle.plan": plan.to_json(),
    }


def _log(registry: Registry, run_id: str, trained: Trained) -> None:
    """Log what the training measured, and its loss curve."""
    report = trained.report
    registry.log_metrics(
        run_id,
        {
            "train_sessions": len(trained.log),
            "replayed_sessions": trained.replayed,
            "train_targets": report.targets,
            "train_steps": report.steps,
            "train_epochs": report.epochs,
            "train_seconds": report.seconds,
            "train_targets_per_second": report.targets_per_second,
            "items": report.items,
            "new_items": report.new_items,
            **{f"left_out_{reason}": count for reason, count in trained.left_out.items()},
        },
    )
    for epoch, loss in enumerate(report.losses, start=1):
        registry.log_metrics(run_id, {"loss": loss}, epoch)
    if report.losses:
        registry.log_figure(run_id, loss_curve(report.losses), "plots/loss.png")


def _log_refresh(registry: Registry, run_id: str, read: RefreshRead) -> None:
    """Log for which clusters of sessions a refresh is."""
    clusters = list(read.clusters)
    registry.log_metrics(run_id, read.metrics())
    registry.log_json(run_id, {"clusters": clusters}, "refresh/clusters.json")
    registry.log_figure(run_id, draw(clusters), "plots/clusters.png")


def loss_curve(losses: tuple[float, ...]) -> Any:
    """Draw the mean loss of each epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), dpi=80, layout="tight")
    axes = figure.subplots()
    axes.plot(range(1, len(losses) + 1), losses, marker="o")
    axes.set(title="Training loss", xlabel="epoch", ylabel="mean loss of a target")
    axes.set_xticks(range(1, len(losses) + 1))
    axes.grid(alpha=0.3)
    return figure


def _row(registry: Registry, run_id: str) -> Any:
    """Build the row of training_runs from the finished run, so that it is the same whenever it is written."""
    import pyarrow as pa

    tags, metrics = registry.tags(run_id), registry.metrics(run_id)
    started, ended = registry.times(run_id)
    time_type = pa.timestamp("us", "UTC")
    columns: dict[str, tuple[Any, Any]] = {
        "run_key": (tags["run_key"], pa.string()),
        "run_id": (run_id, pa.string()),
        "started_at": (datetime.fromtimestamp(started / 1000, UTC), time_type),
        "finished_at": (datetime.fromtimestamp(ended / 1000, UTC), time_type),
        "kind": (tags["lastaisle.kind"], pa.string()),
        "model_name": (tags["lastaisle.model_name"], pa.string()),
        "architecture": (tags["lastaisle.architecture"], pa.string()),
        "window_start": (datetime.fromisoformat(tags["lastaisle.window_start"]), time_type),
        "window_end": (datetime.fromisoformat(tags["lastaisle.window_end"]), time_type),
        "holdout_end": (datetime.fromisoformat(tags["lastaisle.holdout_end"]), time_type),
        "warm_start_version": (tags["lastaisle.warm_start_version"] or None, pa.string()),
        "contract_version": (tags["lastaisle.contract_version"], pa.string()),
        "lake_versions": (tags["lastaisle.lake_versions"], pa.string()),
        "git_revision": (tags["lastaisle.git_revision"], pa.string()),
        "sessions": (int(metrics["train_sessions"]), pa.int64()),
        "targets": (int(metrics["train_targets"]), pa.int64()),
        "items": (int(metrics["items"]), pa.int64()),
        "new_items": (int(metrics["new_items"]), pa.int64()),
        "train_seconds": (metrics["train_seconds"], pa.float64()),
        "loss": (metrics.get("loss"), pa.float64()),
    }
    schema = pa.schema([(name, arrow_type) for name, (_, arrow_type) in columns.items()])
    return pa.Table.from_pylist([{name: value for name, (value, _) in columns.items()}], schema=schema)
