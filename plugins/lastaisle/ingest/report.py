"""The reports of ingestion: how many rows became clean, quarantined, duplicate, ignored or late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

from lastaisle.errors import ExitCode, LastaisleError, ReconciliationError
from lastaisle.telemetry.shown import one_line

#: The counts of rows that the reports and the table batches hold.
ROW_COUNTS = ("rows_in", "rows_clean", "rows_quarantined", "rows_duplicate", "rows_ignored", "rows_late")
_SUMS = ("quarantined_by_rule", "warnings_by_rule", "unknown_fields", "personal_data", "left_out")
MOST_REASONS = 20
OTHER = "other"


@dataclass(frozen=True)
class BatchReport:
    """The row counts of one batch: a file, a part of a long file, or a range of a topic's offsets.

    Attributes:
        batch_id: made from format and content, so the same rows always give the same batch.
        source_file: the path or URL of the file, or the partition of the topic.
        format: the name of the adapter.
        rows_in: rows that the adapter made of the file; more than the lines if a line holds several events.
        rows_clean: rows added to raw_events.
        rows_quarantined: rows that broke at least one rule; among them rows with other contents under an
            event_id that was read before.
        rows_duplicate: rows that were read before, in this file or in another: same event_id, same contents.
        rows_ignored: sound rows of no interest, such as Segment's identify calls; no table holds them.
        rows_late: clean rows that were received later than allowed; they are stored on the day of the event.
        quarantined_by_rule: rows that broke each rule; a row that broke several rules counts for each rule.
        ignored_by_reason: ignored rows by their reason; see `fold_reasons`.
        warnings_by_rule: clean rows that broke each rule that only warns.
        gx_success: True if Great Expectations agreed with the compiled rules; False if it could not judge
            some rule; None if it checked nothing.
        gx_problem: why Great Expectations could not judge; else an empty text.
        skipped: whether the batch was ingested before; then all its rows count as duplicates.
        part: the position of the batch in its file, from 0.
        hours: UTC hours of event time that received rows, as 2025-10-09T12, the oldest first.
        newest: the latest occurred_at among the clean rows.
        fields: for each field, the rows that have it, including rows whose text has the wrong type; and as
            `<field>_broken` the rows whose text has the wrong type.
        unknown_fields: names that the contract does not have, counted in some of the first lines.
        personal_data: rows by what was found in them, such as `brand_holds_email`. The value was left out, or
            the row is among the quarantined rows.
        left_out: rows of events that lost a quasi-identifier, by its name, since too few shoppers of the hour
            share it; empty if the batch is anonymized later.
    """

    batch_id: str
    source_file: str
    format: str
    rows_in: int = 0
    rows_clean: int = 0
    rows_quarantined: int = 0
    rows_duplicate: int = 0
    rows_ignored: int = 0
    rows_late: int = 0
    quarantined_by_rule: dict[str, int] = field(default_factory=dict)
    ignored_by_reason: dict[str, int] = field(default_factory=dict)
    warnings_by_rule: dict[str, int] = field(default_factory=dict)
    gx_success: bool | None = None
    gx_problem: str = ""
    skipped: bool = False
    part: int = 0
    hours: tuple[str, ...] = ()
    newest: datetime | None = None
    fields: dict[str, int] = field(default_factory=dict)
    unknown_fields: dict[str, int] = field(default_factory=dict)
    personal_data: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def reconcile(self) -> BatchReport:
        """Return the report itself if every row is accounted for.

        Raises:
            ReconciliationError: rows_in is not the sum of clean, quarantined, duplicate and ignored rows.
        """
        accounted = self.rows_clean + self.rows_quarantined + self.rows_duplicate + self.rows_ignored
        if self.rows_in != accounted:
            raise ReconciliationError(
                f"{one_line(self.source_file)}: {self.rows_in} rows came in, but {self.rows_clean} clean + "
                f"{self.rows_quarantined} quarantined + {self.rows_duplicate} duplicate + "
                f"{self.rows_ignored} ignored = {accounted}; nothing was committed"
            )
        return self


def fold_reasons(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the most frequent reasons; the rows of all others count as `other`.

    A shop may use ids as names of events, so the number of reasons has a bound.
    """
    named = Counter({reason: count for reason, count in counts.items() if reason != OTHER})
    kept = dict(named.most_common(MOST_REASONS))
    rest = sum(counts.values()) - sum(kept.values())
    return kept | ({OTHER: rest} if rest else {})


@dataclass
class IngestReport:
    """The row counts of all files of a source.

    Attributes:
        rows_in, rows_clean, rows_quarantined, rows_duplicate, rows_ignored, rows_late: sums over the files.
        quarantined_by_rule, ignored_by_reason, warnings_by_rule, unknown_fields, personal_data, left_out:
            sums over the files.
        files: files that were read or skipped.
        files_skipped: files that had been ingested before.
        files_waiting: files changed just now or while they were read; they are left for the next run.
        files_failed: the error message of each file that could not be read, or on which Great Expectations
            and the compiled rules disagree.
        gx_problems: for each file, why Great Expectations could not judge its sample; the compiled rules
            judged all of its rows.
        exit_code: FAILED if a file failed; CHECKS_DISAGREE if the checks disagree on a file.
        files_passed_over: why each file or folder was passed over, by its address; that of a folder ends with
            a slash. A file of which no line is a row counts as read, and is named here too.
        batches: the ids of the batches, in the order of the files.
        days: UTC days of event time that received rows.
        hours: UTC hours of event time that received rows.
        seconds: the wall time.
        events_per_second: rows_in over seconds.
        peak_rss_mib: the peak memory of this process.
    """

    rows_in: int = 0
    rows_clean: int = 0
    rows_quarantined: int = 0
    rows_duplicate: int = 0
    rows_ignored: int = 0
    rows_late: int = 0
    quarantined_by_rule: dict[str, int] = field(default_factory=dict)
    ignored_by_reason: dict[str, int] = field(default_factory=dict)
    warnings_by_rule: dict[str, int] = field(default_factory=dict)
    unknown_fields: dict[str, int] = field(default_factory=dict)
    personal_data: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    files: int = 0
    files_skipped: int = 0
    files_waiting: list[str] = field(default_factory=list)
    files_failed: dict[str, str] = field(default_factory=dict)
    gx_problems: dict[str, str] = field(default_factory=dict)
    exit_code: ExitCode = ExitCode.DONE
    files_passed_over: dict[str, str] = field(default_factory=dict)
    batches: list[str] = field(default_factory=list)
    days: list[date] = field(default_factory=list)
    hours: list[str] = field(default_factory=list)
    seconds: float = 0.0
    events_per_second: float = 0.0
    peak_rss_mib: float = 0.0

    def add(self, batch: BatchReport) -> None:
        """Add the counts of one batch."""
        for name in ROW_COUNTS:
            setattr(self, name, getattr(self, name) + getattr(batch, name))
        for name in _SUMS:
            setattr(self, name, dict(Counter(getattr(self, name)) + Counter(getattr(batch, name))))
        together = Counter(self.ignored_by_reason) + Counter(batch.ignored_by_reason)
        self.ignored_by_reason = fold_reasons(together)
        if batch.gx_problem:
            self.gx_problems[batch.source_file] = batch.gx_problem
        self.batches.append(batch.batch_id)
        self.hours = sorted({*self.hours, *batch.hours})
        self.days = sorted({date.fromisoformat(hour[:10]) for hour in self.hours})

    def fail(self, file: str, error: LastaisleError) -> None:
        """Name a file that was left out."""
        self.files_failed[file] = str(error)
        if self.exit_code in (ExitCode.DONE, ExitCode.FAILED):
            disagrees = error.exit_code == ExitCode.CHECKS_DISAGREE
            self.exit_code = ExitCode.CHECKS_DISAGREE if disagrees else ExitCode.FAILED

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary for JSON."""
        return asdict(self) | {"days": [day.isoformat() for day in self.days]}
