"""Commands that train, tune, evaluate, release, roll back, replay history and measure accuracy.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from lastaisle.cli.options import Chart, Hyperparameters, LakeUrl, Model, Report, RunId, in_reach
from lastaisle.cli.terminal import (
    announce,
    assignments,
    bar,
    console,
    open_replay_runs,
    open_stores,
    open_tuning_runs,
    print_trial,
    read_settings,
    read_values,
    show,
    write,
)
from lastaisle.errors import ExitCode, NotEnoughDataError

if TYPE_CHECKING:
    from lastaisle.evaluation.report import EvaluationReport
    from lastaisle.settings import Settings
    from models.data.sequences import SessionLog


def train(
    kind: Annotated[
        str,
        typer.Option(help="incremental (warm start), full, refresh (for abandoned checkouts), or federated."),
    ] = "incremental",
    data_end: Annotated[
        datetime | None,
        typer.Option(
            help="Train as if it were this moment (UTC); default: after the newest event.", callback=in_reach
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model", help="Name of a model; default: the champion's model, or LASTAISLE_ARCHITECTURE."
        ),
    ] = "",
    hyperparameters: Hyperparameters = None,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Train a candidate on the window before the newest hours, and print its MLflow run.

    A refresh learns from the abandoned checkouts that wait, and from sessions like them.
    """
    from lastaisle.registry.links import run_page
    from lastaisle.release.start import champion_to_refresh, training_start
    from lastaisle.sessions.windows import newest_data_end
    from lastaisle.training.kinds import KINDS
    from lastaisle.training.planning import plan_window
    from lastaisle.training.refresh import plan_refresh
    from lastaisle.training.train import train_candidate
    from models.by_name import check_members, checked_name
    from models.options import TrainingOptions

    if kind not in KINDS:
        raise typer.BadParameter(f"--kind is one of {', '.join(KINDS)}, received {kind!r}")
    values = read_values(hyperparameters)
    settings, tables, registry = open_stores(lake)
    options = TrainingOptions.from_dict({**settings.training_options(), **values})
    check_members(checked_name(model or settings.learning.architecture), options)  # before tables are read
    if kind == "refresh":
        if data_end or model or values:
            raise typer.BadParameter(
                "a refresh takes no --data-end, --model or --set: it uses the champion's model"
            )
        plan = plan_refresh(tables, settings, champion_to_refresh(tables, registry))
    else:
        end = newest_data_end(tables) if data_end is None else data_end.replace(tzinfo=UTC)
        start = training_start(tables, registry)
        plan = plan_window(tables, settings, end, kind, start, architecture=model or None, options=values)
    with bar("Training") as progress:
        run_id = train_candidate(plan, tables, registry, progress)
    show({"run_id": run_id, **json.loads(plan.to_json()), "metrics": registry.metrics(run_id)}, report)
    announce(f"MLflow: {run_page(settings.services.mlflow_ui, run_id, registry.experiment_id)}")
    announce(f"next: lastaisle evaluate --run-id {run_id}")


def tune(
    model: Model = "attention",
    train_file: Annotated[
        Path | None,
        typer.Option("--train", help="A file with one session a line; default: the lake's window."),
    ] = None,
    trials: Annotated[
        int, typer.Option(help="Number of finished trials at the end, with earlier trials of the study.")
    ] = 20,
    minutes: Annotated[
        float | None,
        typer.Option(help="Begin no trial after this many minutes; the first trial always begins."),
    ] = None,
    tail: Annotated[float, typer.Option(help="Share of the sessions, the newest, that judge a trial.")] = 0.1,
    metric: Annotated[
        str, typer.Option(help="The metric to maximize, or a sum such as mrr@20+recall@20.")
    ] = "mrr@20+recall@20",
    study: Annotated[
        str,
        typer.Option(help="Name of the study, to continue a study; default: made of the model and the data."),
    ] = "",
    data_end: Annotated[
        datetime | None,
        typer.Option(
            help="End of the lake's window (UTC); default: after the newest event.", callback=in_reach
        ),
    ] = None,
    hyperparameters: Hyperparameters = None,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Search hyperparameters on the newest training sessions; --set fixes a hyperparameter."""
    from lastaisle.training.tune import Search
    from lastaisle.training.tune import tune as run
    from models.options import TrainingOptions

    values = read_values(hyperparameters)
    settings = read_settings(lake)
    log, half_life_hours = _tuning_sessions(settings, train_file, data_end)
    search = Search(
        model=model,
        options=TrainingOptions.from_dict({"seed": settings.learning.seed, **values}),
        fixed=frozenset(values),
        metric=metric,
        trials=trials,
        minutes=minutes,
        tail=tail,
        study=study,
        half_life_hours=half_life_hours,
    )
    with bar("Tuning") as progress:
        store = open_tuning_runs(settings)
        tuned = run(log, search, store, settings.home / "tuning", progress=progress, on_trial=print_trial)
    write(tuned, report)
    console.print(_best_trials(tuned, metric))
    chosen = " ".join(
        f"--set {assignment}" for assignment in assignments({**values, **tuned["best"]["options"]})
    )
    console.print(f"--model {model} {chosen}", soft_wrap=True, markup=False, highlight=False)


def _best_trials(tuned: Mapping[str, Any], metric: str) -> Table:
    """Lay out the five best trials."""
    table = Table("trial", metric, "options", title=f"{tuned['study']}: {tuned['finished']} finished trials")
    for entry in sorted(tuned["trials"], key=lambda entry: -entry["value"])[:5]:
        table.add_row(str(entry["trial"]), f"{entry['value']:.4f}", " ".join(assignments(entry["options"])))
    return table


def _tuning_sessions(
    settings: Settings, train_file: Path | None, data_end: datetime | None
) -> tuple[SessionLog, float | None]:
    """Read the sessions of a file, or the window of a full training with its half-life."""
    from lastaisle.evaluation.benchmark import read_sessions
    from lastaisle.lake.opening import open_lake
    from lastaisle.sessions.windows import Window, newest_data_end, training_sessions
    from lastaisle.training.holdout import holdout_start

    if train_file is not None:
        return read_sessions(train_file), None
    tables = open_lake(settings)
    data_until = newest_data_end(tables) if data_end is None else data_end.replace(tzinfo=UTC)
    end = holdout_start(tables, settings, data_until)
    half_life_hours = settings.learning.full_half_life_hours
    window = Window(end - timedelta(hours=settings.learning.full_window_hours), end, half_life_hours)
    return training_sessions(tables, window, data_until, None).log, half_life_hours


def evaluate(run_id: RunId, lake: LakeUrl = "", report: Report = None) -> None:
    """Compare a candidate with champion and baselines on the hours after its window."""
    from lastaisle.evaluation.evaluate import evaluate_candidate

    _, tables, registry = open_stores(lake)
    with bar("Evaluating") as progress:
        measured = evaluate_candidate(run_id, tables, registry, progress)
    write(json.loads(measured.to_json()), report)
    metrics_shown = ("precision@20", "recall@20", "mrr@20", "coverage@20")
    table = Table("model", *metrics_shown, "churn@20", title=f"run {run_id}: {measured.served}, as served")
    churn = {} if measured.churn is None else {"candidate": f"{measured.churn.value:.4f}"}
    for name in measured.models:
        metrics = measured.served_scores(name).metrics
        values = (f"{metrics[metric].value:.4f}" for metric in metrics_shown)
        table.add_row(name, *values, churn.get(name, "-"))
    console.print(table)
    if len(measured.candidate.objectives) > 1:
        console.print(_by_objective(measured))
    announce(f"next: lastaisle release --run-id {run_id}")


def _by_objective(measured: EvaluationReport) -> Table:
    """Lay out every model's recall@20 and mrr@20 on each objective."""
    objectives = measured.candidate.objectives
    heads = (f"{name} ({scores.targets:,})" for name, scores in objectives.items())
    table = Table("model", *heads, title="recall@20 / mrr@20 by objective (targets)")
    for name, evaluation in measured.models.items():
        metrics_of_objectives = [scores.metrics for scores in evaluation.objectives.values()]
        cells = (
            f"{metrics['recall@20'].value:.4f} / {metrics['mrr@20'].value:.4f}"
            for metrics in metrics_of_objectives
        )
        table.add_row(name, *cells)
    return table


def release(
    run_id: RunId,
    actor: Annotated[
        str, typer.Option(help="Name for the ledger of the person who releases; default: this user.")
    ] = "",
    allow_older: Annotated[
        bool, typer.Option("--allow-older", help="Also release a candidate that is older than the champion.")
    ] = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Register an evaluated candidate, and make it champion if the gate accepts it."""
    from lastaisle.registry.links import version_page
    from lastaisle.release.gate import GateRules
    from lastaisle.release.release import release_candidate
    from lastaisle.release.steps.advance import make_room
    from lastaisle.release.steps.rules import release_rules
    from lastaisle.training.refresh import finish_refresh

    settings, tables, registry = open_stores(lake)
    rules, steps = GateRules.of(settings), release_rules(settings)
    actor = actor or getpass.getuser()
    make_room(tables, registry, steps, rules, actor=actor)
    decision = release_candidate(
        run_id,
        tables,
        registry,
        actor=actor,
        rules=rules,
        steps=steps,
        allow_older=allow_older,
    )
    finish_refresh(tables, registry.plan_of(run_id))
    show({**json.loads(decision.to_json()), "aliases": registry.aliases()}, report)
    version = registry.version_for_run(run_id)
    if version is not None:
        announce(f"MLflow: {version_page(settings.services.mlflow_ui, registry.model_name, version)}")
        announce(f"next: lastaisle releases why {version}")
    if not decision.promote:
        raise typer.Exit(ExitCode.CANDIDATE_REFUSED)


def rollback(
    reason: Annotated[str, typer.Option(help="Reason, for the ledger.")],
    to_version: Annotated[
        str, typer.Option(help="Version to return to; default: the previous champion.")
    ] = "",
    actor: Annotated[
        str, typer.Option(help="Name for the ledger of the person who rolls back; default: this user.")
    ] = "",
    dry_run: Annotated[bool, typer.Option(help="Only show the move; change nothing.")] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Also return to a version that the gate never promoted.")
    ] = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Make an earlier version champion again (with --no-dry-run)."""
    from lastaisle.release.rollback import rollback as run

    _, tables, registry = open_stores(lake)
    rollback_report = run(
        tables,
        registry,
        to_version=to_version or None,
        reason=reason,
        actor=actor or None,
        dry_run=dry_run,
        force=force,
    )
    show(rollback_report.to_dict(), report)


def online(
    until: Annotated[
        datetime | None,
        typer.Option(
            help="Learn as if it were this moment (UTC); default: after the newest event.", callback=in_reach
        ),
    ] = None,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Move the champion's embeddings by newer sessions; services pull the alias `online`."""
    from lastaisle.release.online import update_online
    from lastaisle.release.release import current_champion, sync_aliases
    from lastaisle.training.online import finished_until

    settings, tables, registry = open_stores(lake)
    champion = current_champion(tables, registry)
    if champion is None:
        raise NotEnoughDataError(
            f"{settings.registry.model_name} has no champion to update: train and release one"
        )
    moment = finished_until(tables, until and until.replace(tzinfo=UTC))
    with bar("Updating"):
        online_report = update_online(champion, tables, registry, moment)
        sync_aliases(tables, registry)  # another process may have moved the champion meanwhile
    show(online_report.to_dict(), report)


def replay(
    source: Annotated[
        str, typer.Option("--source", help="Log file; with --format sessions, a file of sessions.")
    ],
    log_format: Annotated[
        str,
        typer.Option("--format", help="A log format (replayed day by day), or sessions (tenth by tenth)."),
    ] = "canonical",
    model: Model = "attention",
    hyperparameters: Hyperparameters = None,
    chart: Chart = None,
    report: Report = None,
) -> None:
    """Replay history period by period, to compare the benefit and the cost of learning every day."""
    from lastaisle.registry.links import run_page
    from lastaisle.replay.chart import draw, tabulate
    from lastaisle.replay.log import log_replay
    from lastaisle.replay.replay import read_periods
    from lastaisle.replay.replay import replay as run
    from models.options import TrainingOptions

    options = TrainingOptions.from_dict(read_values(hyperparameters))
    with bar("Reading") as progress:
        periods = read_periods(log_format, source, progress=progress)
    with bar("Replaying") as progress:
        replayed = run(periods, architecture=model, options=options, progress=progress)
    write(replayed, report)
    console.print(tabulate(replayed))
    params = {"source": source, "format": log_format, "model": model, **options.to_dict()}
    settings = read_settings()
    runs = open_replay_runs(settings)
    run_id = log_replay(replayed, params, runs)
    announce(f"MLflow: {run_page(settings.services.mlflow_ui, run_id, runs.experiment_id)}")
    if chart:
        draw(replayed, chart)
        console.print(f"chart: {chart}")


def accuracy(
    train_file: Annotated[
        Path, typer.Option("--train", help="One session of item ids a line, in time order.")
    ],
    test_file: Annotated[Path, typer.Option("--test", help="One prefix<TAB>target a line.")],
    model: Model = "attention",
    hyperparameters: Hyperparameters = None,
    report: Report = None,
) -> None:
    """Train on a split, rank every test target among all items, print the metrics."""
    from lastaisle.evaluation.benchmark import benchmark_accuracy

    with bar("Training") as progress:
        measured = benchmark_accuracy(train_file, test_file, model, read_values(hyperparameters), progress)
    show(measured, report)
