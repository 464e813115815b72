"""Commands that look after the tables and the contracts.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import bar, console, errors, open_stores, read_settings, where_searched, write
from lastaisle.errors import ExitCode

if TYPE_CHECKING:
    from lastaisle.monitor.drift.report import DriftReport


def maintain(
    table: Annotated[
        list[str] | None, typer.Option("--table", help="A table; may be repeated; default all.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only show the changes; change nothing.")] = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Delete expired raw rows, compact small files, write checkpoints, delete files that no version needs."""
    from lastaisle.lake.maintenance import MaintenancePolicy, tables_of
    from lastaisle.lake.maintenance import maintain as run
    from lastaisle.lake.opening import open_lake

    settings = read_settings(lake)
    tables, policy = open_lake(settings), MaintenancePolicy.from_settings(settings)
    with bar("Maintaining") as progress:
        done = []
        for position, name in enumerate(names := table or tables_of(tables)):
            progress(position / len(names), name)
            done.append(run(tables, name, policy, dry_run=dry_run))
    write({"tables": [each.to_dict() for each in done]}, report)
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
    if not done:
        errors.print(f"the lake {tables.url} has no tables: ingest some logs first", soft_wrap=True)
        if hint := "" if lake else where_searched():
            errors.print(hint, markup=False, highlight=False, soft_wrap=True)


def drift(
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day (UTC) to look at.")],
    model: Annotated[
        bool, typer.Option(help="Also compare the predictions of champion and previous version.")
    ] = True,
    chart: Annotated[Path | None, typer.Option(help="Draw scores and limits to this PNG file.")] = None,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Show what drifted on a day against the seven days before, by limits learned from the table `drift`.

    Exits with 0 if nothing drifted, and with 13 if something drifted.
    """
    from lastaisle.lake.tables import DRIFT
    from lastaisle.monitor.drift.chart import draw
    from lastaisle.monitor.drift.detect import detect
    from lastaisle.monitor.drift.serving import serving_versions

    settings, tables, registry = open_stores(lake)
    with bar("Measuring"):
        done = detect(tables, settings, day.date(), serving_versions(tables, registry) if model else None)
    write(done.to_dict(), report)
    console.print(_table_of(done))
    console.print(done.summary, markup=False, highlight=False)
    if chart:
        draw(tables.scan(DRIFT).to_pylist(), chart, day.date())
        console.print(f"chart: {chart}")
    if done.alarms:
        raise typer.Exit(ExitCode.DRIFTED)


def abandonment(lake: LakeUrl = "", report: Report = None) -> None:
    """Keep the abandoned checkouts, and announce the new ones; each session counts once.

    Where LASTAISLE_CONTROL_TOPIC is set (with LASTAISLE_KAFKA), one message without persons or sessions is
    sent there. Exits with 0, also when nothing is new.
    """
    from lastaisle.kafka.connection import KafkaConnection
    from lastaisle.kafka.control import control_topic, send_control
    from lastaisle.lake.opening import open_lake
    from lastaisle.monitor.abandonment import detect
    from lastaisle.sessions.abandonments import Burst

    settings = read_settings(lake)
    address = settings.abandonment.control_topic

    def send(burst: Burst) -> None:
        send_control(KafkaConnection.from_env(), control_topic(address)[1], burst.to_dict())

    burst = detect(open_lake(settings), settings, send=send if address else None)
    write({"sessions": 0} if burst is None else burst.to_dict(), report)
    if burst is None:
        console.print("no checkout was abandoned since the last look")
        return
    counted = ", ".join(f"{count:,} {reason}" for reason, count in burst.reasons.items())
    console.print(f"{burst.sessions:,} abandoned checkouts ({counted}), told {address or 'nobody'}")


def _table_of(done: DriftReport) -> Table:
    """Lay out the alarms; without alarms, the measures that came nearest to their limits."""
    shown = done.alarms or sorted(done.findings, key=lambda each: -each.excess)[:5]
    title = f"{done.day}: {len(done.alarms)} alarms in {len(done.findings)} comparisons"
    table = Table("feature", "segment", "measure", "score", "limit", "what changed", title=title)
    for each in shown:
        limit = "" if each.limit is None else f"{each.limit:.4f}"
        table.add_row(each.feature, each.segment, each.measure, f"{each.score:.4f}", limit, each.change)
    return table


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
    write(found.to_dict(), report)
    for change in found.changes:
        console.print(f"{change.level}: {change.where}: {change.what}: {change.why}", markup=False)
        if change.old is not None or change.new is not None:
            console.print(f"    {change.old}  →  {change.new}", markup=False, highlight=False)
    problem, level = found.version_problem, found.level or "unchanged"
    console.print(f"{found.table} {found.old_version} → {found.new_version}: {level}", markup=False)
    if problem:
        errors.print(f"error: {problem}", style="red", markup=False, highlight=False)
    if problem or found.breaking:
        raise typer.Exit(ExitCode.UNMARKED_CHANGE if problem else ExitCode.BREAKING_CHANGE)
