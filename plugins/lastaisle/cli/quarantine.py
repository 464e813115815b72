"""The command that shows the quarantined rows: `lastaisle quarantine`.

Imports stand inside the command, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import announce, console, read_settings, write
from lastaisle.telemetry.shown import one_line

if TYPE_CHECKING:
    from lastaisle.ingest.quarantined import Group

SHOWN_CHARACTERS = 2_000  # of a payload on the terminal; --report writes whole payloads


def quarantine(
    days: Annotated[
        int, typer.Option(help="Rows that were quarantined in the last DAYS days.", min=1, max=36_500)
    ] = 30,
    rule: Annotated[str, typer.Option(help="Only rows that broke this rule.")] = "",
    source: Annotated[str, typer.Option(help="Only rows of this source, as the table names it.")] = "",
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="Also show rows as the shop sent them, with personal data; only for the accounts of "
            "LASTAISLE_RAW_READERS. Each request is logged.",
        ),
    ] = False,
    rows: Annotated[int, typer.Option(help="The number of rows that --raw shows.", min=1, max=1_000)] = 5,
    reason: Annotated[str, typer.Option(help="Why --raw is needed, for the log.")] = "",
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Show how many rows broke which rule, of which source, and the shape of these rows: fields and kinds."""
    from lastaisle.ingest.quarantined import Choice, count_rows, group_rows, show_payloads, since_days_ago
    from lastaisle.lake.opening import open_lake

    settings = read_settings(lake)
    tables, choice = open_lake(settings), Choice(since_days_ago(days), rule.strip(), source.strip())
    samples = show_payloads(tables, settings, choice, most=rows, reason=reason) if raw else None
    groups, count = group_rows(tables, choice), count_rows(tables, choice)
    told: dict[str, Any] = {"since": choice.since, "rows": count}
    told["groups"] = [group.to_dict() for group in groups]
    write(told if samples is None else {**told, "samples": samples}, report)
    announce(
        f"{count:,} rows were quarantined since {choice.since}; a row counts for each rule that it broke"
    )
    if groups:
        console.print(_table_of(groups))
    for group in groups:
        _print_shapes(group, most=None if choice.rule else 1)
    for sample in samples or ():
        _print_sample(sample)
    if raw and not samples:
        announce("there is no such row to show")


def _table_of(groups: Sequence[Group]) -> Table:
    table = Table()
    for heading in ("rule", "source"):
        table.add_column(heading, overflow="fold")
    for heading in ("rows", "files", "first day", "last day"):
        table.add_column(heading, justify="right")
    for group in groups:
        counts = (f"{group.rows:,}", f"{group.files:,}", str(group.first_day), str(group.last_day))
        table.add_row(Text(one_line(group.rule)), Text(one_line(group.source)), *counts)
    return table


def _print_shapes(group: Group, most: int | None) -> None:
    """Print the most frequent shapes of a group; --rule shows more of them."""
    from lastaisle.ingest.quarantined import SAMPLED

    of = f"the newest {SAMPLED}" if group.rows > SAMPLED else f"{group.rows:,}"
    announce(f"{one_line(group.rule)} of {one_line(group.source)}: of {of} rows, so many have the shape")
    for shape in group.shapes[:most]:
        announce(f"  {shape.rows:,}  {one_line(shape.text)}")


def _print_sample(sample: Mapping[str, Any]) -> None:
    """Print one row; characters that move the cursor are escaped."""
    payload = str(sample["payload"] or "")
    cut = "…" if len(payload) > SHOWN_CHARACTERS else ""
    place = f"{one_line(str(sample['source_file']))} row {sample['source_row']}"
    rules = ", ".join(one_line(rule) for rule in sample["rules"] or ())
    announce(f"{place} ({rules}): {one_line(payload[:SHOWN_CHARACTERS])}{cut}")
