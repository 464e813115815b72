"""The commands that analyse experiments and show their results.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from lastaisle.cli.options import Chart, LakeUrl, Report
from lastaisle.cli.terminal import bar, console, errors, read_settings, write
from lastaisle.errors import ExitCode

if TYPE_CHECKING:
    from lastaisle.experiments.traffic import TrafficLog

Row = Mapping[str, Any]


def analyze(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="The experiments; default: all that run.")
    ] = None,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Compare the arms of running experiments hour by hour, and end the experiments that have a verdict.

    `lastaisle attribute` brings the outcomes up to date, from which the results follow. Without news the
    command changes nothing. Exits with 2 if an experiment cannot be analysed; the others are.
    """
    from lastaisle.experiments.analysis.analyze import analyze as run
    from lastaisle.lake.opening import open_lake

    settings = read_settings(lake)
    with bar("Analysing") as progress:
        found = run(open_lake(settings), settings, names or None, actor="lastaisle", progress=progress)
    write({"experiments": [one.to_dict() for one in found]}, report)
    if not found:
        _say("No experiment is running. `lastaisle experiments apply` starts those that are defined.")
    for one in found:
        _say(f"{one.name}: {one.state}. {one.problem or one.reason}")
    if any(one.problem for one in found):
        raise typer.Exit(ExitCode.WRONG_REQUEST)


def show(
    name: Annotated[str, typer.Argument(help="The name of the experiment.")],
    chart: Chart = None,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Show how an experiment stands: the arms, their intervals, the sample ratio and the verdict.

    `lastaisle experiments analyze`, or the DAG `analyze_experiments`, brings the results up to date. Exits
    with 5 if there are no results yet.
    """
    from lastaisle.experiments.analysis.results import read_results
    from lastaisle.experiments.traffic import read_traffic
    from lastaisle.lake.opening import open_lake

    tables = open_lake(read_settings(lake))
    results = read_results(tables, name)
    traffic = read_traffic(tables)
    rows = results.to_pylist()
    newest = [row for row in rows if row["hour"] == rows[-1]["hour"]]
    state, reason = _standing(traffic, name, newest[0])
    write({"experiment": name, "state": state, "reason": reason, "newest": newest, "looks": rows}, report)
    console.print(f"{name} until {newest[0]['hour']:%Y-%m-%d %H:%M} (UTC)", markup=False, highlight=False)
    for metric in dict.fromkeys(row["metric"] for row in newest):
        console.print(_table([row for row in newest if row["metric"] == metric]))
    _say(f"{name}: {state}. {reason}")
    for line in _checks(newest):
        _say(line)
    for problem in traffic.problems:
        errors.print(problem, markup=False, highlight=False, soft_wrap=True)
    if chart:
        from lastaisle.experiments.analysis.chart import draw

        move = traffic.newest().get(name)
        rules = None if move is None else move.trial.analysis
        draw(results, chart, minimum_effect=rules.minimum_effect if rules else None)
        _say(f"chart: {chart}")


def _standing(traffic: TrafficLog, name: str, newest: Row) -> tuple[str, str]:
    """Return the state of an experiment and the reason: of its newest move, unless it runs."""
    move = traffic.newest().get(name)
    if move is None or move.state == newest["state"] == "running":
        return newest["state"], newest["reason"]
    return move.state, move.reason if move.state != "running" else newest["reason"]


def _table(rows: Sequence[Row]) -> Table:
    """Return the arms of one metric: their values, and their differences from the control."""
    from lastaisle.experiments.analysis.words import level, number, relative, span

    first = rows[0]
    title = f"{first['metric']} ({first['role']}, {level(first['alpha'])} intervals)"
    table = Table(title=title, title_justify="left")
    table.add_column("arm", overflow="fold")
    for column in ("value", "difference", "any looks", "one look", "p"):
        table.add_column(column, justify="right")
    table.add_row(Text(first["control"]), number(first["control_value"]))
    for row in rows:
        control = row["control_value"]
        table.add_row(
            Text(row["arm"]),
            number(row["value"]),
            relative(row["difference"], control),
            span(row["low"], row["high"], control),
            span(row["fixed_low"], row["fixed_high"], control),
            "-" if row["p_value"] is None else f"{row['p_value']:.2g}",
        )
    return table


def _checks(rows: Sequence[Row]) -> list[str]:
    """Say how many shoppers each arm has, and what does not count."""
    primary = [row for row in rows if row["role"] == "primary"]
    first = primary[0]
    counts = [(first["control"], first["control_units"], first["control_seen"], first["control_expected"])]
    counts += [(row["arm"], row["arm_units"], row["arm_seen"], row["arm_expected"]) for row in primary]
    told = "; ".join(
        f"{arm} {seen:,} of {expected:,.0f} expected, {units:,} with their horizon over"
        for arm, units, seen, expected in counts
    )
    lines = [f"Shoppers: {told}.", f"Sample ratio: p = {first['ratio_p']:.2g} for any number of looks."]
    reduction = first["variance_reduction"]
    if reduction:
        lines.append(
            f"What shoppers did before takes {reduction:.0%} of the variance of {first['metric']} away."
        )
    odd = {
        "Shoppers who saw a second arm, and count in the first": first["switched"],
        "Shoppers in another arm than the arm of their hash": first["differs"],
        **json.loads(first["left_out"]),
    }
    lines += [f"{reason[0].upper()}{reason[1:]}: {count:,}." for reason, count in odd.items() if count]
    if any("revenue" in row["metric"] for row in rows):
        lines.append(f"Revenue is in {first['currency']}.")
    return lines


def _say(line: str) -> None:
    console.print(line, markup=False, highlight=False)
