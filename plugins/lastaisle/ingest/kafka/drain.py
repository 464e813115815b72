"""Ingest the waiting messages of topics, range by range; offsets in the commits make each exactly once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.ingest.batch import take_in
from lastaisle.ingest.job import Batch, Ingestion, Job, OvertakenError
from lastaisle.ingest.kafka.client import read_range
from lastaisle.ingest.kafka.dead_letters import send_dead_letters
from lastaisle.ingest.kafka.payloads import Decoder
from lastaisle.ingest.kafka.progress import plan_run
from lastaisle.ingest.kafka.ranges import Gap, OffsetRange, Plan, first_key, range_key
from lastaisle.ingest.report import BatchReport, IngestReport
from lastaisle.ingest.sources.layout import fitted
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.lake import Lake
from lastaisle.lake.tables import BATCHES, GAPS, GAPS_SCHEMA, QUARANTINE
from lastaisle.privacy.anonymize import anonymize_pending
from lastaisle.telemetry.memory import peak_rss_mib

alerts = logging.getLogger("lastaisle.alerts")
ATTEMPTS = 5


@dataclass(frozen=True)
class Drain:
    """The settings that all ranges of some topics share.

    Attributes:
        connection: how to reach the cluster.
        job: the settings of the ingestion.
        decoder: turns messages into lines.
        dead_letters: whether unreadable messages are also sent to the dead-letter topic. Quarantine always
            holds them.
        take_in: brings one batch into the tables; its arguments are those of
            `lastaisle.ingest.batch.take_in`.
        batches: the table of the batches. Its commits hold the ingested offsets.
    """

    connection: KafkaConnection
    job: Job
    decoder: Decoder = field(default_factory=Decoder)
    dead_letters: bool = True
    take_in: Callable[..., BatchReport] = take_in
    batches: str = BATCHES


def drain(
    topics: Sequence[str],
    settings: Drain,
    *,
    progress: Callable[[float, str], None] | None = None,
    report: IngestReport | None = None,
) -> IngestReport:
    """Ingest all messages that wait now, one range after another.

    Args:
        topics: the names of the topics.
        settings: see `Drain`.
        progress: called with the ingested share of the waiting messages.
        report: the report to add the counts to; a new one by default.

    Raises:
        KafkaSourceError: the cluster cannot be reached, or a topic does not exist.
        LastaisleError: see `take_in`.
    """
    started = datetime.now(UTC)
    report = IngestReport() if report is None else report
    lake = settings.job.lake
    waiting = None
    done = 0
    while True:
        plan = plan_topics(
            settings.connection,
            topics,
            lake,
            batch_rows=settings.job.options.batch_rows,
            batches=settings.batches,
        )
        waiting = sum(plan.lag.values()) if waiting is None else waiting
        for span in plan.ranges:
            for batch in ingest_range(span, settings):
                report.add(batch)
            done += len(span)
            if progress:
                progress(min(1.0, done / max(1, waiting)), span.url)
        if not plan.left:
            break
    job = settings.job
    if (
        isinstance(job, Ingestion) and job.keys is not None
    ):  # rows of a run that was killed between its last two commits
        anonymize_pending(
            *(lake, job.keys),
            contract=job.contract,
            events_contract=job.events_contract,
            k=job.options.k_anonymity,
        )
    report.seconds = (datetime.now(UTC) - started).total_seconds()
    report.events_per_second = report.rows_in / max(report.seconds, 1e-9)
    report.peak_rss_mib = peak_rss_mib()
    return report


def plan_topics(
    connection: KafkaConnection,
    topics: Sequence[str],
    lake: Lake,
    *,
    max_rows: int = 5_000_000,
    batch_rows: int = 1_000_000,
    batches: str = BATCHES,
) -> Plan:
    """Plan one run. Offsets that were deleted unread are alerted once and stored in the table `gaps`.

    Args:
        connection: how to reach the cluster.
        topics: the names of the topics.
        lake: holds the tables.
        max_rows: the most offsets of the run.
        batch_rows: the most offsets of a batch.
        batches: the table of the batches.
    """
    plan = plan_run(connection, topics, lake, max_rows=max_rows, batch_rows=batch_rows, batches=batches)
    report_gaps(lake, plan.gaps)
    return plan


def report_gaps(lake: Lake, gaps: Sequence[Gap]) -> None:
    """Write gaps to the table `gaps`, and log an alert for each new gap."""
    for gap in gaps:
        row = {name: value for name, value in asdict(gap).items() if name in GAPS_SCHEMA.names}
        row |= {"start_offset": gap.start, "end_offset": gap.end, "noticed_at": datetime.now(UTC)}
        if lake.append(GAPS, pa.Table.from_pylist([row], schema=GAPS_SCHEMA), key=gap.key):
            alerts.error("Data was lost upstream: %s %s", gap, json.dumps(asdict(gap)))


def ingest_range(span: OffsetRange, settings: Drain) -> list[BatchReport]:
    """Ingest a range exactly once, even if other runs ingest it at the same time or a run is killed.

    The tables say where the range starts now. Another run may have cut the partition into other ranges
    meanwhile. The ranges that it ingested or began stay as they are.

    Returns:
        The reports: one batch, or several batches if another run worked on the range, too.

    Raises:
        KafkaSourceError: the range cannot be read, or its dead letters cannot be sent; nothing was committed.
        LastaisleError: see `take_in`.
    """
    lake, job, reports = settings.job.lake, settings.job, []
    overtaken = 0
    while (left := _left_of(span, lake, settings.batches)) is not None:
        try:
            reports.append(_take_in(left, replace(settings, job=job)))
        except OvertakenError as other:
            overtaken += 1
            if overtaken == ATTEMPTS:
                raise
            job = replace(job, now=other.now)
    if not reports and lake.has(settings.batches, span.batch_id):
        reports.append(settings.take_in((), _batch_of(span, settings), job))
    return reports


def _left_of(span: OffsetRange, lake: Lake, batches: str) -> OffsetRange | None:
    """Return the part of a range that the tables lack; a run that began it has fixed its end."""
    reached = lake.stamp(batches, span.app_id)
    first = lake.stamp(QUARANTINE, first_key(span.app_id)) if reached is None else None
    start = next((offset for offset in (reached, first) if offset is not None), span.start)
    if start >= span.end:
        return None
    planned = lake.stamp(QUARANTINE, range_key(span.app_id, start))
    return replace(span, start=start, end=span.end if planned is None else planned)


def _take_in(span: OffsetRange, settings: Drain) -> BatchReport:
    reading = _Reading(span, settings)
    lines = iter(reading)
    first = next(lines, None)
    sound = [] if first is None else first.filter(pc.is_null(first["reason"]))["payload"].to_pylist()
    job = replace(settings.job, form=fitted(settings.job.form, sound, header=False))
    read = lines if first is None else chain([first], lines)
    return settings.take_in(read, _batch_of(span, settings), job, before_commit=reading.finish)


def _batch_of(span: OffsetRange, settings: Drain) -> Batch:
    """Describe a range as a batch.

    The commits of raw_events and batches carry the end offset under the name of the partition. The commit of
    quarantine carries the planned end, so that the range of a killed run is read again with the same end. The
    first batch of a partition carries its start, too: no committed offset says where it began.
    """
    name, lake = settings.job.form.name, settings.job.lake
    begins_partition = not (lake.has(settings.batches, span.app_id) or lake.has(QUARANTINE, span.batch_id))
    return Batch(
        span.batch_id,
        source_name(name, span.topic),
        span.url,
        name,
        offsets={span.app_id: span.end},
        plan={span.key: span.end} | ({first_key(span.app_id): span.start} if begins_partition else {}),
    )


def source_name(format_name: str, topic: str) -> str:
    """Return the name of a topic as a source in the table batches."""
    return f"{format_name} kafka topic {topic}"


class _Reading:
    """The lines of a range, and the unreadable messages that are reported before its commits."""

    def __init__(self, span: OffsetRange, settings: Drain) -> None:
        self.span = span
        self.settings = settings
        self.read = read_range(settings.connection, span, settings.decoder)
        self.poison: dict[int, str] = {}

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for lines in self.read:
            reasons = lines["reason"]
            if reasons.null_count < len(lines):
                broken = lines.filter(pc.is_valid(reasons))
                offsets = broken["source_row"].to_pylist()
                self.poison.update(zip(offsets, broken["reason"].to_pylist(), strict=True))
            yield lines

    def finish(self) -> None:
        """Send dead letters and report gaps before the commits: after them the range is not read again."""
        report_gaps(self.settings.job.lake, self.read.gaps)
        if self.settings.dead_letters:
            send_dead_letters(self.settings.connection, self.span, self.poison)
