"""The commands about the definitions of experiments and bandits.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import console, errors, open_stores, read_settings, write
from lastaisle.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lastaisle.experiments.definition.listing import Listed
    from lastaisle.experiments.definition.plan import Planned

Place = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE|FOLDER]", help="The definitions; default: LASTAISLE_EXPERIMENTS."),
]


def plan(place: Place = None, lake: LakeUrl = "", report: Report = None) -> None:
    """Say how many shoppers experiments need, how long they run, and what is refused.

    Nothing is written to the lake. Exits with 2 if a definition is refused; each error names its line.
    """
    from lastaisle.experiments.definition.plan import plan_definitions

    settings, tables, registry = open_stores(lake)
    planned = plan_definitions(tables, settings, registry, datetime.now(UTC), place)
    write(planned.to_dict(), report)
    for one in planned.planned:
        _show_plan(one)
    for path in planned.skipped:
        _say(f"skipped: {path} is no .yaml file", "yellow")
    for refused in planned.refused:
        for line in refused.lines():
            _say(f"refused: {line}", "red")
    _say(f"{planned.place}: {len(planned.planned)} planned, {len(planned.refused)} refused")
    if planned.refused:
        raise typer.Exit(ExitCode.WRONG_REQUEST)


def apply(place: Place = None, lake: LakeUrl = "", report: Report = None) -> None:
    """Start, change and stop experiments and bandits as their definitions say.

    Services follow within seconds. A second run without news changes nothing. Exits with 2 if a definition is
    refused; the other definitions are applied.
    """
    from lastaisle.experiments.definition.apply import apply_definitions

    settings, tables, registry = open_stores(lake)
    applied = apply_definitions(tables, settings, registry, datetime.now(UTC), getpass.getuser(), place=place)
    write(applied.to_dict(), report)
    for line in applied.lines():
        first = line.partition(":")[0]
        _say(line, {"refused": "red", "warning": "yellow", "skipped": "yellow"}.get(first, ""))
    _say(f"{applied.place}: {len(applied.applied)} experiments, {len(applied.refused)} files refused")
    if applied.refused:
        raise typer.Exit(ExitCode.WRONG_REQUEST)


def list_experiments(
    sql: Annotated[
        str,
        typer.Option(help="Print SQL (DuckDB) of a macro that gives the arm of each shopper of this one."),
    ] = "",
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """List the experiments, bandits, canaries and shadows: state, phase, shares, time and lists shown."""
    from lastaisle.experiments.definition.listing import list_trials
    from lastaisle.experiments.definition.moves import newest_of
    from lastaisle.experiments.notebook import arm_macro
    from lastaisle.lake.opening import open_lake

    listed, traffic = list_trials(open_lake(read_settings(lake)), datetime.now(UTC))
    if sql:
        typer.echo(arm_macro(newest_of(traffic, sql).trial))
        return
    write({"trials": [one.to_dict() for one in listed], "problems": traffic.problems}, report)
    if listed:
        console.print(_table_of(listed))
    else:
        _say("no experiment was ever applied: lastaisle experiments apply starts those that are defined")
    for problem in traffic.problems:
        errors.print(f"warning: {problem}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def stop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The experiment or bandit.")],
    reason: Annotated[str, typer.Option(help="Why, in a sentence. It stands in the table traffic.")],
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Stop an experiment or a bandit for good: all shoppers get the champion's lists within seconds."""
    from dataclasses import asdict

    from lastaisle.experiments.definition.moves import stop_trial
    from lastaisle.lake.opening import open_lake

    if not reason.strip():
        raise typer.BadParameter("--reason is empty: say why, in a sentence")
    tables = open_lake(read_settings(lake))
    stopped = stop_trial(tables, name, reason.strip(), datetime.now(UTC), getpass.getuser())
    write(asdict(stopped), report)
    _say(f"{stopped.name}: {stopped.outcome}: {stopped.reason}")


def _show_plan(planned: Planned) -> None:
    _say(f"{planned.name}: {planned.state}: {planned.summary}")
    rows = _rows_of(planned)
    if rows:
        table = Table(show_header=False)
        for name, value in rows:
            table.add_row(name, Text(value))
        console.print(table)
    for warning in planned.warnings:
        _say(f"warning: {planned.name}: {warning}", "yellow")


def _rows_of(planned: Planned) -> list[tuple[str, str]]:
    past, size = planned.past, planned.size
    if past is None:
        return []
    rows = [
        ("metric before", f"{past.baseline:.4g} of {past.judged:,} shoppers, from {past.since:%Y-%m-%d} on"),
        ("share of the shop's shoppers", f"{past.share:.4g}"),
    ]
    if size is not None:
        arms = ", ".join(f"{arm} {units:,}" for arm, units in size.by_arm.items())
        rows += [
            ("shoppers needed", f"{size.units:,} ({arms})"),
            ("with one look at the end", f"{size.units_of_one_look:,}"),
            ("new shoppers a day", f"{size.units_a_day:,.0f}"),
            ("run length", "for ever" if size.days is None else f"{size.days:,.1f} days"),
        ]
    if planned.ends_at is not None:
        rows.append(("ends about", f"{planned.ends_at:%Y-%m-%d}"))
    return rows


def _table_of(listed: Sequence[Listed]) -> Table:
    table = Table("name", "kind", "state", "phase", "shares", "since", "until", "lists", "shoppers")
    for one in listed:
        shares = ", ".join(f"{arm} {share:.4g}" for arm, share in one.shares.items())
        until = "" if one.until is None else f"{one.until:%Y-%m-%d %H:%M}"
        since = f"{one.since:%Y-%m-%d %H:%M}"
        cells = (one.name, one.kind, one.state, one.phase, shares, since, until)
        table.add_row(*map(Text, cells), Text(f"{one.lists:,}"), Text(f"{one.shoppers:,}"))
    return table


def _say(line: str, style: str = "") -> None:
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
