"""Train a candidate inside one MLflow run: once a plan, however often it is called."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.ticker import MaxNLocator

from data_contracts.contract import load_contract
from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.tables import TRAINING_RUNS
from lastaisle.registry.plan import TrainingPlan
from lastaisle.registry.plots import TEXT, new_axes
from lastaisle.registry.registry import STATE
from lastaisle.registry.revision import git_revision, installed_packages
from lastaisle.registry.run_list import show_decisions
from lastaisle.registry.tags import GIT_REVISION, KIND, PLAN, RUN_KEY
from lastaisle.sessions.windows import oldest_event
from lastaisle.training.kinds import kind_for
from lastaisle.training.online import SHOPPERS
from lastaisle.training.spending import require_planned, spend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from lastaisle.sessions.windows import SessionsRead
    from lastaisle.training.kinds.kind import Trained
    from models.options import Progress, TrainingReport

PACKAGES = "packages.txt"  # artifact of a run: the packages with which it was made
FEW_EPOCHS = 12
MIN_SESSIONS = 100  # with two items or more; fewer teach a model little but noise

logger = logging.getLogger(__name__)


def train_candidate(
    plan: TrainingPlan, lake: Lake, registry: Registry, progress: Progress | None = None
) -> str:
    """Train by a plan and return the MLflow run.

    A second call with the same plan returns the same run. A run that died midway is deleted and repeated. A
    run whose model was deleted is repeated too.

    Raises:
        NotEnoughDataError: too few sessions in the window, or too few shoppers to know an item privately.
        BudgetSpentError: the privacy budget of the shoppers has no room for the training.
        BeingTrainedError: another process trains by this plan now.
    """
    run_id = _finished(plan.run_key, registry)
    if run_id is None:
        run_id = _train(plan, lake, registry, progress)
    _write_row(lake, registry, run_id, plan.run_key)
    return run_id


def _finished(run_key: str, registry: Registry) -> str | None:
    """Return the finished run of a training whose model is still there."""
    for run_id in registry.finished_runs(run_key):
        if registry.is_whole(run_id, STATE):
            return run_id
        logger.warning("run %s of %s lost its model, so the training is repeated", run_id, run_key)
    return None


def _write_row(lake: Lake, registry: Registry, run_id: str, run_key: str) -> None:
    """Write the row of a finished run into training_runs, once a run; a repeated training has several."""
    known = lake.scan(TRAINING_RUNS, ["run_id"], pc.field("run_key") == run_key)
    runs = set(known["run_id"].to_pylist()) if known.num_columns else set()
    if run_id not in runs:
        key = f"training_run/{run_key}/{run_id}" if runs else f"training_run/{run_key}"
        lake.append(TRAINING_RUNS, _row(registry, run_id), key=key)


def _train(plan: TrainingPlan, lake: Lake, registry: Registry, progress: Progress | None) -> str:
    """Train inside one MLflow run, which is finished only when everything is logged."""
    kind = kind_for(plan)
    require_planned(plan, lake, registry.privacy)
    read = kind.read(plan, lake)
    if kind.learns_own_sessions:
        _require_sessions(plan, read, lake)
    if (finished := _finished(plan.run_key, registry)) is not None:
        return finished  # of another process, which ended while this process read the sessions
    show_decisions(registry)
    with registry.training_run(plan.run_key, _tags(plan), plan.run_name) as run_id:
        _learn(plan, read, lake, registry, run_id=run_id, progress=progress)
    return run_id


def train_again(
    plan: TrainingPlan,
    lake: Lake,
    registry: Registry,
    *,
    tags: Mapping[str, str],
    progress: Progress | None = None,
) -> str:
    """Repeat a training in a new MLflow run that is no candidate, and return the run.

    Args:
        plan: the plan of the training.
        lake: where the tables are, at the versions of the plan.
        registry: an experiment that holds no candidates.
        tags: further tags of the run.
        progress: called from time to time with the share that is done.
    """
    read = kind_for(plan).read(plan, lake)
    with registry.run(f"again: {plan.run_name}", {**_tags(plan), **tags}) as run_id:
        _learn(plan, read, lake, registry, run_id=run_id, progress=progress)
    return run_id


def _learn(
    plan: TrainingPlan, read: Any, lake: Lake, registry: Registry, *, run_id: str, progress: Progress | None
) -> None:
    """Learn, and log the outcome to the active run."""
    kind = kind_for(plan)
    registry.log_params(run_id, plan.options)
    registry.log_text(run_id, installed_packages(), PACKAGES)
    trained = kind.learn(plan, read, lake, registry, progress)
    if trained.report.mechanism is not None:
        spend(plan, trained.report.mechanism, run_id, lake, registry)
        _require_items(plan, trained.report)
    _log(registry, run_id, trained)
    kind.log(registry, run_id, read)
    with tempfile.TemporaryDirectory() as folder:
        registry.log_model(run_id, trained.recommender, Path(folder))


def _require_sessions(plan: TrainingPlan, read: SessionsRead, lake: Lake) -> None:
    """Refuse a training on too few sessions."""
    sessions = int((read.log.lengths >= 2).sum())
    if sessions < MIN_SESSIONS:
        oldest, hours = oldest_event(lake), (plan.holdout_end - plan.window.end) / timedelta(hours=1)
        if oldest >= plan.window.end:
            raise NotEnoughDataError(
                f"{plan.run_key}: the oldest event of {lake.url} is of {oldest.isoformat()}, but training "
                f"reads the events before {plan.window.end.isoformat()}: the {hours:g} hours after that "
                "judge the candidate. Ingest older logs, or set a smaller LASTAISLE_HOLDOUT_HOURS"
            )
        raise NotEnoughDataError(
            f"{plan.run_key}: {sessions} sessions of two items or more ended between "
            f"{plan.window.start.isoformat()} and {plan.window.end.isoformat()} in {lake.url}, but training "
            f"needs {MIN_SESSIONS} (left out: {dict(read.left_out)}): ingest more, or widen the window"
        )


def _require_items(plan: TrainingPlan, report: TrainingReport) -> None:
    """Refuse a private model without an item. Its noisy counts have been seen by then, so they have spent."""
    mechanism = report.mechanism
    if mechanism is not None and not report.items:
        raise NotEnoughDataError(
            f"{plan.run_key}: the private model knows no item. Without a catalogue, an item is known only if "
            f"its noisy count passes a threshold that hides single {mechanism.unit}s, and "
            f"{mechanism.shoppers:,} {mechanism.unit}s are too few for that. Ingest the catalogue "
            "(`lastaisle catalogue ingest`), whose items are public; or widen the window, or allow a larger "
            "epsilon. The training has spent of the privacy budget"
        )


def _tags(plan: TrainingPlan) -> dict[str, str]:
    return {
        KIND: plan.kind,
        "lastaisle.model_name": plan.model_name,
        "lastaisle.architecture": plan.architecture,
        "lastaisle.window_start": plan.window.start.isoformat(),
        "lastaisle.window_end": plan.window.end.isoformat(),
        "lastaisle.holdout_end": plan.holdout_end.isoformat(),
        "lastaisle.half_life_hours": str(plan.window.half_life_hours),
        "lastaisle.warm_start_version": plan.warm_start_version or "",
        "lastaisle.contract_version": load_contract("events").version,
        "lastaisle.lake_versions": json.dumps(dict(plan.lake_versions)),
        GIT_REVISION: git_revision(),
        PLAN: plan.to_json(),
    }


def _log(registry: Registry, run_id: str, trained: Trained) -> None:
    """Log the measurements of the training, its loss curve, and the run that holds its shoppers."""
    report = trained.report
    registry.log_metrics(
        run_id,
        {
            "train_sessions": report.sessions,
            "replayed_sessions": trained.replayed,
            "train_targets": report.targets,
            "train_steps": report.steps,
            "train_epochs": report.epochs,
            "train_seconds": report.seconds,
            "train_targets_per_second": report.targets_per_second,
            "items": report.items,
            "new_items": report.new_items,
            "unseen_items": report.unseen_items,
            "unseen_items_left_out": trained.items_left_out,
            **{f"left_out_{reason}": count for reason, count in trained.left_out.items()},
        },
    )
    for epoch, loss in enumerate(report.losses, start=1):
        registry.log_metrics(run_id, {"loss": loss}, epoch)
    if report.losses:
        registry.log_figure(run_id, loss_curve(report.losses), "plots/loss.png")
    _log_rounds(registry, run_id, trained)
    if trained.shoppers_run:
        registry.set_tag(run_id, SHOPPERS, trained.shoppers_run)


def _log_rounds(registry: Registry, run_id: str, trained: Trained) -> None:
    """Log what each round of a federated training measured; no measure is of one silo alone."""
    for done in trained.rounds:
        names = ("silos", "sessions", "length", "recall", "loss", "seconds")
        known = {f"round_{name}": float(done[name]) for name in names if done[name] is not None}
        registry.log_metrics(
            run_id, {**known, "round_silos_refused": float(len(done["refused"]))}, int(done["number"])
        )
    if trained.rounds:
        registry.log_json(
            run_id, {"rounds": [dict(done) for done in trained.rounds]}, "federated/rounds.json"
        )


def loss_curve(losses: tuple[float, ...]) -> Figure:
    """Draw the mean loss of each epoch; where the epochs are few, as in a warm start, with its value."""
    counted = "1 epoch" if len(losses) == 1 else f"{len(losses)} epochs"
    title = f"Training loss: {losses[-1]:.4g} after {counted}"
    figure, axes = new_axes(4.0, title, x_label="epoch", y_label="mean loss of a target")
    epochs = range(1, len(losses) + 1)
    axes.plot(epochs, losses, marker="o", markersize=7)
    if len(losses) <= FEW_EPOCHS:
        axes.set_xticks(epochs)
        axes.set_xlim(0.5, len(losses) + 0.5)
        for epoch, loss in zip(epochs, losses, strict=True):
            axes.annotate(
                f"{loss:.4g}",
                (epoch, loss),
                xytext=(0, 10),
                textcoords="offset points",
                ha="center",
                fontsize=TEXT,
            )
        axes.margins(y=0.25)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    return figure


def _row(registry: Registry, run_id: str) -> pa.Table:
    """Return the row of training_runs, made of the finished run, so that each call returns the same row."""
    tags, metrics = registry.tags(run_id), registry.metrics(run_id)
    started, ended = registry.times(run_id)
    time_type = pa.timestamp("us", "UTC")
    columns: dict[str, tuple[Any, Any]] = {
        "run_key": (tags[RUN_KEY], pa.string()),
        "run_id": (run_id, pa.string()),
        "started_at": (datetime.fromtimestamp(started / 1000, UTC), time_type),
        "finished_at": (datetime.fromtimestamp(ended / 1000, UTC), time_type),
        "kind": (tags[KIND], pa.string()),
        "model_name": (tags["lastaisle.model_name"], pa.string()),
        "architecture": (tags["lastaisle.architecture"], pa.string()),
        "window_start": (datetime.fromisoformat(tags["lastaisle.window_start"]), time_type),
        "window_end": (datetime.fromisoformat(tags["lastaisle.window_end"]), time_type),
        "holdout_end": (datetime.fromisoformat(tags["lastaisle.holdout_end"]), time_type),
        "warm_start_version": (tags["lastaisle.warm_start_version"] or None, pa.string()),
        "contract_version": (tags["lastaisle.contract_version"], pa.string()),
        "lake_versions": (tags["lastaisle.lake_versions"], pa.string()),
        "git_revision": (tags[GIT_REVISION], pa.string()),
        "sessions": (int(metrics["train_sessions"]), pa.int64()),
        "targets": (int(metrics["train_targets"]), pa.int64()),
        "items": (int(metrics["items"]), pa.int64()),
        "new_items": (int(metrics["new_items"]), pa.int64()),
        "train_seconds": (metrics["train_seconds"], pa.float64()),
        "loss": (metrics.get("loss"), pa.float64()),
    }
    schema = pa.schema([(name, arrow_type) for name, (_, arrow_type) in columns.items()])
    return pa.Table.from_pylist([{name: value for name, (value, _) in columns.items()}], schema=schema)
