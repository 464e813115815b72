"""Refuse a file that is read by the wrong format, before its rows fill quarantine."""

from __future__ import annotations

import logging

from data_contracts.privacy import literal
from lastaisle.errors import SourceError
from lastaisle.ingest.guess import Guess, guess_log_format
from lastaisle.ingest.job import Batch
from lastaisle.ingest.staging.staging import Staging
from lastaisle.ingest.staging.staging_sql import row_tests

alerts = logging.getLogger("lastaisle.alerts")
UNREADABLE_SHARE = 0.95
FEWEST_ROWS = 5
"""Fewer rows than this prove nothing about a format."""
_MOST_REASONS = 5


class WrongFormatError(SourceError):
    """Hardly any row of a file can be read in its format; nothing of it was committed."""


def refuse_wrong_format(
    staging: Staging,
    batch: Batch,
    guess: Guess = guess_log_format,
) -> None:
    """Refuse a file of which hardly anything can be read in its format.

    At least 95 % of its rows, and at least 5, go to quarantine. Either they cannot be read: the line is
    malformed, or a field that the contract requires is missing or of another type. Or the first lines are
    sound rows in another format. A bad day of the right format, with broken values of other fields, goes to
    quarantine. The first batch of a file decides for the file. The messages of a topic only raise an alert,
    since a topic that is refused would never be read further.

    Args:
        staging: holds the judged rows of the batch.
        batch: the batch.
        guess: returns the format that the first lines look like (None if they look like none), and a sentence
            about it; its arguments are the lines and the format that does not read them.

    Raises:
        WrongFormatError: the format is wrong; the message names the reasons, and the format that the first
            lines look like.
    """
    if batch.part:
        return
    unreadable, broken, rows = _count_unreadable(staging)
    if rows < FEWEST_ROWS or broken < UNREADABLE_SHARE * rows:
        return
    guessed, sentence = guess(staging.first_lines.to_pylist(), batch.format)
    if unreadable < UNREADABLE_SHARE * rows and guessed in (None, batch.format):
        return
    reasons = list(staging.count_by_rule().items())[:_MOST_REASONS]
    told = (
        f"{batch.shown}: {broken} of {rows} rows cannot be read in the format {batch.format}: "
        + ", ".join(f"{reason} {count}" for reason, count in reasons)
        + f". {sentence}"
    )
    if batch.offsets:
        alerts.error("A topic holds messages of another format: %s. They go to quarantine", told)
        return
    raise WrongFormatError(
        f"{told}. Nothing was committed. --accept-schema-change sends all rows to quarantine instead"
    )


def _count_unreadable(staging: Staging) -> tuple[int, int, int]:
    """Count the rows that cannot be read, the broken rows, and all rows but those of no interest."""
    contract = staging.contract
    known = ", ".join(literal(name) for name, _ in row_tests(contract))
    required = [field for field in contract.fields if field.required]
    needed = [name for field in required for name in (f"{field.name}_is_required", field.type_rule)]
    unreadable = (
        f"NOT list_has_any(_rules, [{known}]) OR list_has_any(_rules, [{', '.join(map(literal, needed))}])"
    )
    return (
        staging.count(f"staged WHERE _rules IS NOT NULL AND ({unreadable})"),
        staging.count("staged WHERE _rules IS NOT NULL"),
        staging.count("staged WHERE _ignored IS NULL"),
    )
