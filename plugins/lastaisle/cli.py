"""The command line: a thin skin over the same functions that the DAGs call."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lastaisle.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastaisle.lake import Lake
    from lastaisle.release.registry import Registry

REFUSED = 10
BREAKING, UNMARKED = 11, 12

app = typer.Typer(
    name="lastaisle",
    help="Session logs in, registered checkout recommendation models out.",
    epilog="Exit codes: 0 done; 1 error, or a file left out; 2 wrong usage or settings; 3 source unreadable; "
    "4 row counts do not add up; 5 not enough data; 6 no such version; 10 done, but the gate refused the "
    "candidate; 11 a contract's change breaks; 12 a contract's version does not say what changed. Settings "
    "come from LASTAISLE_* environment variables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
benchmark_app = typer.Typer(help="Measure Lastaisle on data of your own.", no_args_is_help=True)
app.add_typer(benchmark_app, name="benchmark")
contracts_app = typer.Typer(help="Look after the data contracts.", no_args_is_help=True)
app.add_typer(contracts_app, name="contracts")
console = Console()
errors = Console(stderr=True)

Report = Annotated[Path | None, typer.Option("--report", help="Write the report to this file, as JSON.")]
LakeUrl = Annotated[str, typer.Option("--lake", help="Folder or URL of the lake; default LASTAISLE_LAKE.")]
LogFormat = Annotated[
    str,
    typer.Option("--format", help="canonical, segment, yoochoose, taobao, rees46, retailrocket or otto."),
]
Model = Annotated[str, typer.Option("--model", help="attention, popularity or cooccurrence.")]
Hyperparameters = Annotated[
    list[str] | None,
    typer.Option("--set", help="A hyperparameter, as NAME=VALUE; may be repeated.", metavar="NAME=VALUE"),
]
RunId = Annotated[str, typer.Option("--run-id", help="The MLflow run of the candidate.")]


@app.command()
def ingest(
    source: Annotated[str, typer.Option("--source", help="File, folder, pattern or URL of the logs.")],
    log_format: LogFormat = "canonical",
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Ingest session logs: validate, quarantine, deduplicate, anonymize."""
    from lastaisle.ingest.run import ingest as run
    from lastaisle.privacy.keys import PseudonymKeys

    settings = _settings(lake)
    keys = PseudonymKeys.load_or_create(settings.key_file, lake_url=settings.lake)
    with _bar("Ingesting") as progress:
        done = run(source, log_format, _lake(settings), keys, progress=progress).to_dict()
    _show(done, report)
    if done["files_failed"]:
        raise typer.Exit(1)


@app.command()
def collect(
    to: Annotated[
        str,
        typer.Option(help="Landing folder, or kafka://cluster/topic; default LASTAISLE_SOURCE."),
    ] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8090,
) -> None:
    """Collect events over HTTP, as Segment's clients and its webhook send them, until SIGTERM.

    LASTAISLE_SEGMENT_WRITE_KEYS names the keys that may send to /v1/batch, /v1/track and the like;
    LASTAISLE_SEGMENT_SECRET is what Segment signs /segment/webhook with. An event is answered with 200 when
    it is durable where ingestion, with the format segment, will read it.
    """
    from lastaisle.collect.serve import serve

    settings = _settings()
    serve(replace(settings, source=to) if to else settings, host, port)


@app.command()
def train(
    kind: Annotated[str, typer.Option(help="incremental (warm start from the champion) or full.")] = (
        "incremental"
    ),
    data_end: Annotated[
        datetime | None, typer.Option(help="Train as if it were this moment (UTC); default the newest event.")
    ] = None,
    model: Model = "attention",
    hyperparameters: Hyperparameters = None,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Train a candidate on the window before the newest hours; print its MLflow run."""
    from lastaisle.release.release import current_champion
    from lastaisle.training.plan import plan_window
    from lastaisle.training.train import train_candidate
    from lastaisle.training.windows import newest_data_end
    from models.training import TrainingOptions

    values = _values(hyperparameters)
    settings, tables, registry = _stores(lake)
    options = TrainingOptions.from_dict({"seed": settings.seed, **values})
    end = newest_data_end(tables) if data_end is None else data_end.replace(tzinfo=UTC)
    champion = current_champion(tables, registry)
    plan = plan_window(tables, settings, end, kind, champion, architecture=model, options=options)
    with _bar("Training") as progress:
        run_id = train_candidate(plan, tables, registry, progress)
    _show({"run_id": run_id, **json.loads(plan.to_json()), "metrics": registry.metrics(run_id)}, report)


@app.command()
def evaluate(run_id: RunId, lake: LakeUrl = "", report: Report = None) -> None:
    """Measure a candidate beside champion and baselines on the hours after its window."""
    from lastaisle.release.evaluate import evaluate_candidate

    _, tables, registry = _stores(lake)
    with _bar("Evaluating") as progress:
        measured = evaluate_candidate(run_id, tables, registry, progress)
    _write(json.loads(measured.to_json()), report)
    table = Table("model", "precision@20", "recall@20", "mrr@20", "coverage@20", title=f"run {run_id}")
    for name, evaluation in measured.models.items():
        metrics = evaluation.overall.metrics
        values = (metrics[metric].value for metric in ("precision@20", "recall@20", "mrr@20", "coverage@20"))
        table.add_row(name, *(f"{value:.4f}" for value in values))
    console.print(table)


@app.command()
def release(
    run_id: RunId,
    actor: Annotated[str, typer.Option(help="Who releases, for the ledger; default this user.")] = "",
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Register an evaluated candidate, and make it champion if the gate agrees."""
    from lastaisle.release.release import release_candidate

    _, tables, registry = _stores(lake)
    decision = release_candidate(run_id, tables, registry, actor=actor or None)
    _show({**json.loads(decision.to_json()), "aliases": registry.aliases()}, report)
    if not decision.promote:
        raise typer.Exit(REFUSED)


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Why, for the ledger.")],
    to_version: Annotated[str, typer.Option(help="Version to return to; default the one before.")] = "",
    actor: Annotated[str, typer.Option(help="Who rolls back, for the ledger; default this user.")] = "",
    dry_run: Annotated[bool, typer.Option(help="Only say what would move.")] = True,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Make an earlier version champion again (with --no-dry-run)."""
    from lastaisle.release.rollback import rollback as run

    _, tables, registry = _stores(lake)
    done = run(
        tables,
        registry,
        to_version=to_version or None,
        reason=reason,
        actor=actor or None,
        dry_run=dry_run,
    )
    _show(done.to_dict(), report)


@app.command()
def maintain(
    table: Annotated[
        list[str] | None, typer.Option("--table", help="A table; may be repeated; default all.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would change.")] = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Delete expired raw rows, compact small files, write checkpoints, delete files that no version needs."""
    from lastaisle.lake.maintenance import MaintenancePolicy, tables_of
    from lastaisle.lake.maintenance import maintain as run

    settings = _settings(lake)
    tables, policy = _lake(settings), MaintenancePolicy.from_settings(settings)
    with _bar("Maintaining") as progress:
        done = []
        for position, name in enumerate(names := table or tables_of(tables)):
            progress(position / len(names), name)
            done.append(run(tables, name, policy, dry_run=dry_run))
    _write({"tables": [each.to_dict() for each in done]}, report)
    shown = Table(
        *("table", "version", "files", "MB", "rows deleted", "files deleted", "seconds"),
        title="dry run: nothing was changed" if dry_run else None,
    )
    for each in done:
        shown.add_row(
            each.table,
            f"{each.version_before} → {each.version_after}",
            f"{each.files_before} → {each.files_after}",
            f"{each.bytes_before / 1e6:,.1f} → {each.bytes_after / 1e6:,.1f}",
            *(f"{number:,}" for number in (each.rows_deleted, each.files_deleted)),
            f"{each.seconds:.1f}",
        )
    console.print(shown)


@app.command()
def replay(
    source: Annotated[
        str, typer.Option("--source", help="Log file, or with --format sessions a file of them.")
    ],
    log_format: Annotated[
        str, typer.Option("--format", help="A log format (replayed by days), or sessions (by tenths).")
    ] = "canonical",
    model: Model = "attention",
    hyperparameters: Hyperparameters = None,
    chart: Annotated[Path | None, typer.Option(help="Write a chart of the periods to this PNG file.")] = None,
    report: Report = None,
) -> None:
    """Replay history period by period: is learning every day worth it, and what does it cost?"""
    from lastaisle.replay import read_periods
    from lastaisle.replay import replay as run
    from lastaisle.replay_chart import draw, tabulate
    from models.training import TrainingOptions

    options = TrainingOptions.from_dict(_values(hyperparameters))
    with _bar("Reading") as progress:
        periods = read_periods(log_format, source, progress=progress)
    with _bar("Replaying") as progress:
        done = run(periods, architecture=model, options=options, progress=progress)
    _write(done, report)
    console.print(tabulate(done))
    if chart:
        draw(done, chart)
        console.print(f"chart: {chart}")


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Folder for the logs; one folder a day is made in it.")],
    days: Annotated[int, typer.Option(help="How many days.")] = 7,
    start: Annotated[datetime, typer.Option(help="First day.", formats=["%Y-%m-%d"])] = datetime(2025, 10, 1),
    sessions_per_day: Annotated[int, typer.Option(help="Shoppers' sessions on an average day.")] = 3000,
    items: Annotated[int, typer.Option(help="Items in the catalogue at the start.")] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 7,
    report: Report = None,
) -> None:
    """Write the logs of a simulated shop, with the truth about them in the report."""
    from lastaisle.simulate import ShopOptions, write_logs

    options = ShopOptions(
        seed=seed, start=start.date(), days=days, sessions_per_day=sessions_per_day, items=items
    )
    with _bar("Simulating") as progress:

        def told(day: date, _: object) -> None:
            progress(((day - options.start).days + 1) / days, f"Simulating {day}")

        written = write_logs(out, options, told).as_dict()
    _write(written, report)
    _show({name: value for name, value in written.items() if name not in ("days", "files")}, None)


@benchmark_app.command()
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
    from lastaisle.benchmark import benchmark_accuracy

    with _bar("Training") as progress:
        done = benchmark_accuracy(train_file, test_file, model, _values(hyperparameters), progress)
    _show(done, report)


@contracts_app.command()
def diff(
    old: Annotated[str, typer.Argument(help="Name of a packaged contract, or the path of one.")],
    new: Annotated[str, typer.Argument(help="The same, for the contract that follows it.")],
    report: Report = None,
) -> None:
    """Say what changes from one version of a contract to the next, and whether that breaks anyone.

    Breaking: a field removed, retyped (wider too: tables keep their types), newly required without default or
    newly unique; another jsonPath, default or partitioning; a rule added, tightened or not provably looser;
    less privacy. Additions: an optional field, a looser or removed rule, a warning, more privacy.

    Exits with 0 if nothing breaks, 11 if something does and the major version says so, 12 if the version does
    not say what changed (breaking: next major; addition: next minor).
    """
    from data_contracts.compatibility import compare
    from data_contracts.contract import load_contract

    found = compare(load_contract(old), load_contract(new))
    _write(found.to_dict(), report)
    for change in found.changes:
        console.print(f"{change.level}: {change.where}: {change.what}: {change.why}", markup=False)
        if change.old is not None or change.new is not None:
            console.print(f"    {change.old}  →  {change.new}", markup=False, highlight=False)
    problem, level = found.version_problem, found.level or "unchanged"
    console.print(f"{found.table} {found.old_version} → {found.new_version}: {level}", markup=False)
    if problem:
        errors.print(f"error: {problem}", style="red", markup=False, highlight=False)
    if problem or found.breaking:
        raise typer.Exit(UNMARKED if problem else BREAKING)


def _settings(lake: str = "") -> Settings:
    settings = Settings.from_env()
    return replace(settings, lake=lake) if lake else settings


def _lake(settings: Settings) -> Lake:
    from lastaisle.lake import Lake

    return Lake(settings.lake)


def _stores(lake: str) -> tuple[Settings, Lake, Registry]:
    from lastaisle.release.registry import Registry

    settings = _settings(lake)
    return settings, _lake(settings), Registry(settings)


def _values(assignments: list[str] | None) -> dict[str, Any]:
    """Read NAME=VALUE pairs; a value is JSON where it can be, else text."""
    values: dict[str, Any] = {}
    for assignment in assignments or []:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise typer.BadParameter(f"expected NAME=VALUE, received {assignment!r}")
        try:
            values[name.strip()] = json.loads(text)
        except json.JSONDecodeError:
            values[name.strip()] = text
    return values


@contextmanager
def _bar(what: str) -> Iterator[Callable[[float, str], None]]:
    """Show a progress bar on stderr while the work goes on; nothing where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share, now: bar.update(task, completed=share, description=now)


def _write(report: Mapping[str, Any], file: Path | None) -> None:
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(report, indent=2, default=str) + "\n", encoding="utf-8")


def _show(report: Mapping[str, Any], file: Path | None) -> None:
    """Print a report as a table, and write it to the file if one is given."""
    _write(report, file)
    table = Table(show_header=False)
    for name, value in report.items():
        if isinstance(value, float):
            shown = f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
        elif isinstance(value, dict | list | tuple):
            shown = json.dumps(value, default=str)
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
        table.add_row(name, shown)
    console.print(table)


def main() -> None:
    """Run the command line; an error that the user can mend is printed without its traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=errors)])
    try:
        app()
    except Exception as error:
        code = getattr(error, "exit_code", None)  # the mark of an error raised on purpose, on any floor
        if code is None:
            raise
        errors.print(f"error: {error}", style="red", markup=False, highlight=False)
        sys.exit(code)


if __name__ == "__main__":
    main()
