"""The commands about privacy: `lastaisle privacy`.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import console, read_settings, write

if TYPE_CHECKING:
    from lastaisle.privacy.budget.budget import Budget, Forecast


def budget(
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Show what the private trainings of 365 days spent, what is left, and how long it lasts.

    The figures are those of the shopper who spends most. Settings: LASTAISLE_PRIVACY_EPSILON and
    LASTAISLE_PRIVACY_DELTA.
    """
    from lastaisle.lake.opening import open_lake
    from lastaisle.privacy.budget.budget import budget_of, forecast

    settings = read_settings(lake)
    found = budget_of(open_lake(settings), settings.privacy, datetime.now(UTC))
    ahead = forecast(found)
    answer = _answer(found, ahead)
    write(answer, report)
    if as_json:
        console.print_json(json.dumps(answer, default=str))
        return
    _print_trainings(found)
    _say(found.words)
    for one in found.units:
        _say(
            f"{one.unit}: epsilon {one.spent.pld:.4g} by PLD and {one.spent.rdp:.4g} by RDP, in the windows "
            f"of {one.in_windows:,} of {len(one.trainings):,} private trainings"
        )
    if found.left is not None:
        _say(f"left: epsilon {found.left:.4g} of {found.limit:g}")
    if ahead is not None:
        _say(_forecast_in_words(ahead))
    if found.not_private:
        _say(
            "nothing bounds what the trainings without noise reveal; LASTAISLE_PRIVACY_REQUIRED refuses them"
        )


def _answer(found: Budget, ahead: Forecast | None) -> dict[str, Any]:
    """Return everything as plain values."""
    trainings = [{**one.to_row(), "mechanism": one.mechanism.to_dict()} for one in found.trainings]
    return {
        **found.to_dict(),
        "trainings": trainings,
        "forecast": None if ahead is None else dataclasses.asdict(ahead),
    }


def _print_trainings(found: Budget) -> None:
    table = Table("training", "learned from", "to (UTC)", title="private trainings of 365 days")
    for heading in ("read", "epsilon", "counts until"):
        table.add_column(heading, justify="right")
    for one in found.trainings:
        until = one.finished_at + timedelta(days=365)
        table.add_row(
            Text(one.run_key),
            f"{one.window_start:%Y-%m-%d}",
            f"{one.window_end:%Y-%m-%d}",
            f"{one.shoppers:,} {one.unit}s",
            f"{one.epsilon:.4g}",
            f"{until:%Y-%m-%d}",
        )
    if found.trainings:
        console.print(table)


def _forecast_in_words(ahead: Forecast) -> str:
    fits = f"trainings like the newest that still fit: {ahead.more:,}"
    rate = f"{ahead.a_day:.2g} private trainings a day in the last 30 days"
    if ahead.days is None:
        return f"{fits}; at {rate}, the budget lasts more than a year"
    return f"{fits}; at {rate}, the budget is spent in {ahead.days:,.0f} days"


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False, highlight=False)
