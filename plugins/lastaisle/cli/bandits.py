"""The commands that show bandits, let them learn, and compute their states again: `lastaisle bandits`.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import bar, console, errors, read_settings, show, write
from lastaisle.errors import ExitCode

_Names = Annotated[
    list[str] | None, typer.Argument(help="The bandits; default: all of them.", show_default=False)
]
_Name = Annotated[str, typer.Argument(help="The bandit.", show_default=False)]


def show_bandits(names: _Names = None, lake: LakeUrl = "", report: Report = None) -> None:
    """Show bandits: what each arm earned, and how often it is drawn from now on.

    Exits with 2 if there is no bandit of a name.
    """
    from lastaisle.experiments.bandits.overview import overview
    from lastaisle.experiments.traffic import read_traffic
    from lastaisle.lake.opening import open_lake

    tables = open_lake(read_settings(lake))
    log = read_traffic(tables)
    found = overview(log, names)
    write({"bandits": found, "problems": list(log.problems)}, report)
    _say(*log.problems)
    if not found:
        _say(f"the lake {tables.url} has no bandits: write a definition, and apply it by experiments apply")
    for one in found:
        state = f"{one['name']}: {one['state']}, {one['algorithm']}, share {one['share']:g}, {one['reason']}"
        console.print(state, soft_wrap=True, markup=False, highlight=False)
        console.print(_table(one["arms"]))


def update(names: _Names = None, lake: LakeUrl = "", report: Report = None) -> None:
    """Let the running bandits learn from the newest outcomes. Without news nothing is written.

    Exits with 2 if no running bandit has a name, or if a bandit cannot run; the other bandits learn.
    """
    from lastaisle.experiments.bandits.update import update_bandits
    from lastaisle.experiments.traffic import read_traffic
    from lastaisle.lake.opening import open_lake

    tables = open_lake(read_settings(lake))
    with bar("Learning") as progress:
        reports = update_bandits(tables, names, actor="lastaisle bandits update", progress=progress)
    problems = read_traffic(tables).problems
    write({"bandits": [one.to_dict() for one in reports], "problems": list(problems)}, report)
    _say(*problems)
    if not reports:
        _say(f"no bandit runs in the lake {tables.url}: nothing to learn")
    for one in reports:
        done = one.problem or f"{'learned' if one.changed else 'no news'}; {one.reason}"
        console.print(f"{one.name}: {done}", soft_wrap=True, markup=False, highlight=False)
        if one.left_out:
            console.print(f"left out: {dict(one.left_out)}", soft_wrap=True, markup=False, highlight=False)
        if one.decision:
            console.print(_rules(one.decision))
    if any(one.problem for one in reports):
        raise typer.Exit(ExitCode.WRONG_REQUEST)


def replay(name: _Name, lake: LakeUrl = "", report: Report = None) -> None:
    """Compute the state of a bandit again from outcomes, and compare it with the state in use.

    Exits with 4 if the states differ.
    """
    from lastaisle.experiments.bandits.replay import replay as run
    from lastaisle.lake.opening import open_lake

    found = run(open_lake(read_settings(lake)), name)
    show(found.to_dict(), report)
    if not found.is_same_version:
        _say(
            "the version of outcomes from which the state was made is gone: the state was computed from the "
            "newest version. Outcomes that came later may explain differences"
        )
    if not found.is_equal:
        raise typer.Exit(ExitCode.COUNTS_DIFFER)


def _table(arms: Sequence[Mapping[str, Any]]) -> Table:
    table = Table()
    for name in ("arm", "lists", "rewards", "mean", "95 % interval", "drawn from now on", "regret"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for row in arms:
        known = row["mean"] is not None
        table.add_row(
            Text(row["arm"]),
            f"{row['lists']:,}",
            f"{row['rewards']:,}",
            f"{row['mean']:.4f}" if known else "",
            f"{row['low']:.4f} to {row['high']:.4f}" if known else "",
            f"{row['probability']:.1%}",
            f"{row['estimated_regret']:,.1f}",
        )
    return table


def _rules(decision: Sequence[Mapping[str, Any]]) -> Table:
    table = Table()
    for name in ("rule", "value", "threshold", "verdict"):
        table.add_column(name)
    for rule in decision:
        value = "" if rule["value"] is None else f"{rule['value']:.4g}"
        verdict = "passed" if rule["passed"] else "not passed"
        table.add_row(Text(rule["rule"]), value, Text(rule["threshold"]), verdict)
    return table


def _say(*lines: str) -> None:
    for line in lines:
        errors.print(line, markup=False, highlight=False, soft_wrap=True)
