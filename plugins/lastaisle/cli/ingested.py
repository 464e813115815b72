"""What an ingestion prints: the rows in a few lines, what was left out, and the command to type next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from lastaisle.cli.terminal import announce, write
from lastaisle.telemetry.shown import one_line

if TYPE_CHECKING:
    from lastaisle.ingest.report import IngestReport

MOST_NAMED: Final = 5  # files of one kind that are named; --report names all
_MORE: Final = {
    "rows_shown": "{:,} of the clean rows are items that were shown",
    "items_removed": "{:,} items are no longer for sale: the file does not list them",
    "items_doubtful": "{:,} items stay, since a broken row may have meant them",
}


def show_ingested(ingested: IngestReport, file: Path | None, following: str) -> None:
    """Print an ingestion in short, write its report to the file, and exit by its code if files failed.

    Args:
        ingested: the report.
        file: for the whole report as JSON; None = no file.
        following: the command that people type next.
    """
    write(ingested.to_dict(), file)
    for line in lines_of(ingested):
        announce(line)
    if ingested.files_failed:
        raise typer.Exit(ingested.exit_code)
    if ingested.rows_quarantined:
        announce("next: lastaisle quarantine (which rules the rows broke)")
    if ingested.rows_clean:
        announce(f"next: {following}")


def lines_of(ingested: IngestReport) -> Iterator[str]:
    """Describe an ingestion: the files, the rows with their rules and reasons, the hours, the pace."""
    from lastaisle.ingest.summary import describe_rows, name_most, row_counts

    yield _files(ingested)
    yield from describe_rows(row_counts(ingested))
    for name, text in _MORE.items():
        if number := getattr(ingested, name, 0):
            yield text.format(number)
    if ingested.hours:
        first, last, count = ingested.hours[0], ingested.hours[-1], len(ingested.hours)
        yield f"{count:,} hours of event time have rows: {first} to {last} (UTC)"
    if ingested.unknown_fields:
        yield f"fields that the contract does not know: {name_most(ingested.unknown_fields)}"
    if ingested.personal_data:
        yield f"personal data that was left out or quarantined: {name_most(ingested.personal_data)}"
    if ingested.left_out:
        yield f"left out of events, since few shoppers of the hour share it: {name_most(ingested.left_out)}"
    yield from _named("passed over", ingested.files_passed_over)
    yield from _named("waits, since it changed just now", dict.fromkeys(ingested.files_waiting, ""))
    yield from _named("Great Expectations could not judge", ingested.gx_problems)
    yield from _named("left out", ingested.files_failed)
    if ingested.rows_in:
        pace = f"{ingested.seconds:,.1f} seconds, {ingested.events_per_second:,.0f} rows a second"
        yield f"{pace}, {ingested.peak_rss_mib:,.0f} MiB of memory at most"


def _files(ingested: IngestReport) -> str:
    count = ingested.files
    again = f", {ingested.files_skipped:,} of them ingested before" if ingested.files_skipped else ""
    batches = f", {len(ingested.batches):,} batch{'es' if len(ingested.batches) != 1 else ''}"
    return f"{count:,} file{'s' if count != 1 else ''} read{again}{batches if ingested.batches else ''}"


def _named(what: str, files: Mapping[str, str]) -> Iterator[str]:
    """Name the first files of a kind with their reasons, and count the others."""
    for place, (name, reason) in enumerate(files.items()):
        if place == MOST_NAMED:
            yield f"{what}: {len(files) - MOST_NAMED:,} more files; --report names all"
            return
        yield f"{what}: {one_line(name)}" + (f": {one_line(reason)}" if reason else "")
