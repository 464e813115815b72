"""The command that estimates what each arm of a bandit would have earned.

Imports stand inside the command, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import console, errors, read_settings, write

if TYPE_CHECKING:
    from lastaisle.experiments.bandits.evaluation import BanditEvaluation


def evaluate(
    name: Annotated[str, typer.Argument(help="The name of the bandit; it may be stopped.")],
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Estimate what each arm, and the bandit's policy, would have earned: by IPS, SNIPS, DM and DR.

    The policy of each hour has learned earlier lists only. The intervals of 95 % hold at all looks together.
    An arm that the lists say too little about gets no number, and the reason. Exits with 5 without lists.
    """
    from lastaisle.experiments.bandits.evaluation import evaluate_bandit
    from lastaisle.lake.opening import open_lake

    found = evaluate_bandit(open_lake(read_settings(lake)), name)
    write(found.to_dict(), report)
    _print(found)


def _print(found: BanditEvaluation) -> None:
    table = Table("arm", "estimator", "rewards a list", "95 % interval", "effective shoppers")
    for row in found.estimates:
        if row.value is not None:
            interval = f"{row.low:.4f} to {row.high:.4f}"
            table.add_row(
                Text(row.policy),
                row.estimator,
                f"{row.value:.4f}",
                interval,
                f"{row.effective_sample_size:,.0f}",
            )
    console.print(
        f"{found.name}: {found.rewards:,} of {found.lists:,} lists were {found.reward}", highlight=False
    )
    if table.row_count:
        console.print(table)
    refused = {row.policy: row.problem for row in found.estimates if row.problem}
    lines = [f"{policy}: {problem}" for policy, problem in refused.items()]
    lines += [f"left out: {reason} {count:,}" for reason, count in found.left_out.items()]
    for line in lines:
        errors.print(line, markup=False, highlight=False, soft_wrap=True)
