"""The commands that say how the installation stands: `lastaisle status` and `lastaisle tables`.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import announce, console, errors, read_settings, where_searched, write
from lastaisle.errors import ExitCode


def status(lake: LakeUrl = "", report: Report = None) -> None:
    """Show the state: tables, newest data, champion, last decision, trials, open alerts, and what to do next.

    Exits with 0, also if a part cannot be read; the part then says why.
    """
    from lastaisle.dashboard.figures.status import StatusReader
    from lastaisle.dashboard.source import Source

    found = StatusReader(Source(read_settings(lake)), datetime.now(UTC)).read()
    write(found.to_dict(), report)
    shown = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for part in found.parts:
        lines = [f"cannot be read: {part.problem}"] if part.problem else part.lines
        shown.add_row(Text(part.name, style="bold"), Text("\n".join(lines)))
    steps = "\n".join(found.next_steps) or "nothing: all is done"
    shown.add_row(Text("next", style="bold"), Text(steps))
    console.print(shown)


def tables(lake: LakeUrl = "", report: Report = None) -> None:
    """List the tables with rows, files, size, newest row and version."""
    from lastaisle.lake.inventory import take_inventory
    from lastaisle.lake.opening import open_lake

    opened = open_lake(read_settings(lake))
    found = take_inventory(opened)
    problems = dict(found.problems)
    write({"tables": [one.to_dict() for one in found.tables], "problems": problems}, report)
    shown = Table("table")
    for heading in ("rows", "files", "MB", "newest row (UTC)", "version"):
        shown.add_column(heading, justify="right")
    for one in found.tables:
        newest = "" if one.newest is None else f"{one.newest:%Y-%m-%d %H:%M:%S}"
        rows = "not counted" if one.rows is None else f"{one.rows:,}"
        shown.add_row(one.table, rows, f"{one.files:,}", f"{one.bytes / 1e6:,.1f}", newest, f"{one.version}")
    if found.tables:
        console.print(shown)
    for name, why in problems.items():
        errors.print(f"the table {name} cannot be read: {why}", style="red", markup=False, soft_wrap=True)
    if not found.tables and not problems:
        announce(f"the lake {opened.url} has no tables: ingest some logs first")
        if hint := "" if lake else where_searched():
            announce(hint)
    if problems:
        raise typer.Exit(ExitCode.LAKE_UNUSABLE)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"lastaisle {version('lastaisle')}")
        raise typer.Exit


def main_options(
    _: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Session logs in, registered checkout recommendation models out."""
