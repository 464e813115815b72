"""Commands that look after the tables and the contracts.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lastaisle.cli.options import Chart, LakeUrl, Report, in_reach
from lastaisle.cli.terminal import bar, console, errors, open_stores, read_settings, where_searched, write
from lastaisle.errors import ExitCode
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.kafka.control import control_topic, send_control

if TYPE_CHECKING:
    from lastaisle.monitor.drift.report import DriftReport
    from lastaisle.sessions.abandonments import Burst


def maintain(
    table: Annotated[
        list[str] | None, typer.Option("--table", help="A table; may be repeated; default: all.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only show the changes; change nothing.")] = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Delete expired raw rows, compact small files, write checkpoints, delete files that no version needs.

    At the end the ledger is compared with its chain.
    """
    from lastaisle.lake.maintenance import MaintenancePolicy, tables_of
    from lastaisle.lake.maintenance import maintain as run
    from lastaisle.lake.opening import open_lake
    from lastaisle.lake.tables import RELEASES
    from lastaisle.registry.ledger import Ledger
    from lastaisle.release.verify import require_whole_ledger

    settings = read_settings(lake)
    tables, policy = open_lake(settings), MaintenancePolicy.from_settings(settings)
    with bar("Maintaining") as progress:
        maintained = []
        for position, name in enumerate(names := table or tables_of(tables)):
            progress(position / len(names), name)
            maintained.append(run(tables, name, policy, dry_run=dry_run))
    write({"tables": [outcome.to_dict() for outcome in maintained]}, report)
    shown = Table(
        *("table", "version", "files", "MB", "rows deleted", "files deleted", "seconds"),
        title="dry run: nothing was changed" if dry_run else None,
    )
    for outcome in maintained:
        shown.add_row(
            outcome.table,
            f"{outcome.version_before} → {outcome.version_after}",
            f"{outcome.files_before} → {outcome.files_after}",
            f"{outcome.bytes_before / 1e6:,.1f} → {outcome.bytes_after / 1e6:,.1f}",
            *(f"{number:,}" for number in (outcome.rows_deleted, outcome.files_deleted)),
            f"{outcome.seconds:.1f}",
        )
    console.print(shown)
    if RELEASES in names:
        require_whole_ledger(Ledger(tables, settings.registry.model_name).check(), tables.url)
    if not maintained:
        errors.print(f"the lake {tables.url} has no tables: ingest some logs first", soft_wrap=True)
        if hint := "" if lake else where_searched():
            errors.print(hint, markup=False, highlight=False, soft_wrap=True)


def drift(
    day: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="The day (UTC) to check.", callback=in_reach)
    ],
    model: Annotated[
        bool, typer.Option(help="Also compare the predictions of champion and previous version.")
    ] = True,
    chart: Chart = None,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Show what drifted on a day against the seven days before, by limits learned from the table `drift`.

    Exits with 0 if nothing drifted, with 13 if something drifted, and with 5 if the day cannot be judged yet.
    """
    from lastaisle.lake.tables import DRIFT
    from lastaisle.monitor.drift.chart import draw
    from lastaisle.monitor.drift.detect import detect
    from lastaisle.monitor.drift.serving import serving_versions

    settings, tables, registry = open_stores(lake)
    with bar("Measuring"):
        drifted = detect(tables, settings, day.date(), serving_versions(tables, registry) if model else None)
    write(drifted.to_dict(), report)
    console.print(_table_of(drifted))
    console.print(drifted.summary, markup=False, highlight=False)
    if chart:
        draw(tables.scan(DRIFT).to_pylist(), chart, day.date())
        console.print(f"chart: {chart}")
    if not drifted.is_judged:
        raise typer.Exit(ExitCode.NOT_ENOUGH_DATA)
    if drifted.alarms:
        raise typer.Exit(ExitCode.DRIFTED)


def abandonment(lake: LakeUrl = "", report: Report = None) -> None:
    """Store the abandoned checkouts, and announce the new ones; each session counts once.

    If LASTAISLE_CONTROL_TOPIC (with LASTAISLE_KAFKA) is set, one message goes to the topic, without ids of
    persons or sessions. Exits with 0, also if no checkout is new.
    """
    from lastaisle.lake.opening import open_lake
    from lastaisle.monitor.abandonment import detect

    settings = read_settings(lake)
    address = settings.abandonment.control_topic

    def send(burst: Burst) -> None:
        send_control(KafkaConnection.from_env(), control_topic(address)[1], burst.to_dict())

    burst = detect(open_lake(settings), settings, send=send if address else None)
    write({"sessions": 0} if burst is None else burst.to_dict(), report)
    if burst is None:
        console.print("no checkout was abandoned since the last run")
        return
    counted = ", ".join(f"{count:,} {reason}" for reason, count in burst.reasons.items())
    receiver = f"one message sent to {address}" if address else "no message sent"
    console.print(f"{burst.sessions:,} abandoned checkouts ({counted}), {receiver}")


def _table_of(measured: DriftReport) -> Table:
    """Lay out the alarms; without alarms, the five measures nearest to their limits."""
    shown = measured.alarms or sorted(measured.findings, key=lambda finding: -finding.excess)[:5]
    title = f"{measured.day}: {len(measured.alarms)} alarms in {len(measured.findings)} comparisons"
    table = Table("feature", "segment", "measure", "score", "limit", "what changed", title=title)
    for finding in shown:
        limit = "" if finding.limit is None else f"{finding.limit:.4f}"
        cells = (finding.feature, finding.segment, finding.measure, f"{finding.score:.4f}", limit)
        table.add_row(*cells, finding.change)
    return table
