"""Plan and ingest the exposures of a run: all files and messages with exposures that wait.

A chain is a dictionary: the address and the format of a source, with either the addresses of files (`urls`)
or ranges of offsets of one partition of a topic (`ranges`). One task takes in a chain, in order.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk.exceptions import AirflowFailException

from lastaisle.errors import SourceError
from lastaisle.kafka.address import is_kafka, parse_source
from lastaisle.settings import Settings
from lastaisle.settings.settings import on_all_days
from lastaisle.telemetry.shown import one_line
from lastaisle_airflow.runtime.kafka import kafka_connection
from lastaisle_airflow.runtime.progress import log_progress
from lastaisle_airflow.runtime.stores import open_lake, source_options

if TYPE_CHECKING:
    from lastaisle.feedback.exposures.job import ExposureJob
    from lastaisle.feedback.exposures.report import ExposureReport
    from lastaisle.feedback.exposures.sources import ExposureSource
    from lastaisle.ingest.listing import Listing
    from lastaisle.ingest.reading.files import SourceFile

# Functions import the pipeline inside: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)
CHAIN_BYTES: Final = 256 << 20
"""The files of a chain have about this size: a task takes seconds to start, and these files half a minute."""
MOST_CHAINS: Final = 64
_ALL_MESSAGES: Final = 1 << 62


@dataclass
class ExposurePlan:
    """The exposures that one run takes in, and what it does not read.

    Attributes:
        chains: see the module.
        failed: the error of each source, folder or name that cannot be listed, by its address.
        gaps: descriptions of messages that were deleted in Kafka before they were read.
        passed_over: the number of files that were passed over, by reason.
        waiting: the number of files that may still be growing; the next run takes them in.
    """

    chains: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    passed_over: dict[str, int] = field(default_factory=dict)
    waiting: int = 0


def plan_all(settings: Settings) -> ExposurePlan:
    """Plan all exposures that wait, of whatever day. A source that cannot be reached holds back no other.

    Raises:
        SourceError: the only source cannot be reached.
    """
    from lastaisle.feedback.exposures.sources import exposure_sources

    plan = ExposurePlan()
    sources = exposure_sources(settings)
    for source in sources:
        plan_one = _plan_topics if is_kafka(source.address) else _plan_files
        try:
            plan_one(source, settings, plan)
        except SourceError as error:
            if len(sources) == 1:
                raise
            log.error("left out: %s: %s", source.address, error)
            plan.failed[source.address] = str(error)
    return plan


def _plan_topics(source: ExposureSource, settings: Settings, plan: ExposurePlan) -> None:
    """Plan all waiting messages, however many: with files of logs the next run may start a day later."""
    from lastaisle.ingest.kafka.drain import plan_topics
    from lastaisle.lake.tables import EXPOSURE_BATCHES

    address = parse_source(source.address)
    planned = plan_topics(
        kafka_connection(address.name),
        address.topics,
        open_lake(settings),
        max_rows=_ALL_MESSAGES,
        batch_rows=settings.ingest.batch_rows,
        batches=EXPOSURE_BATCHES,
    )
    plan.gaps += [str(gap) for gap in planned.gaps]
    plan.chains += [
        {"address": source.address, "format": source.format, "ranges": [asdict(span) for span in spans]}
        for spans in planned.by_partition()
    ]


def _plan_files(source: ExposureSource, settings: Settings, plan: ExposurePlan) -> None:
    listing = _new_files(source, settings)
    if listing is None:
        return
    plan.failed |= listing.failed
    plan.waiting += len(listing.waiting)
    plan.passed_over = dict(Counter(plan.passed_over) + Counter(listing.passed_over.values()))
    plan.chains += [
        {"address": source.address, "format": source.format, "urls": [file.url for file in files]}
        for files in chains_of(listing.new)
    ]


def _new_files(source: ExposureSource, settings: Settings) -> Listing | None:
    """List a source; None if nothing lies at a place that is made with the first exposure.

    Raises:
        NothingFoundError: LASTAISLE_EXPOSURES names a place that is missing or holds no file that is read.
        SourceError: the place cannot be reached.
    """
    from lastaisle.feedback.exposures.job import ExposureJob
    from lastaisle.ingest.listing import list_source
    from lastaisle.ingest.reading.files import NothingFoundError

    place, options = source_options(on_all_days(source.address))
    lake = open_lake(settings)
    try:
        return list_source(
            place,
            lake,
            format_name=ExposureJob.from_settings(settings, lake, None, form=source.format).identity,
            options=options,
            settle=timedelta(seconds=settings.sources.settle_seconds),
        )
    except NothingFoundError as nothing:
        if source.is_named:
            raise
        log.info("No exposures yet: %s", nothing)
        return None


def chains_of(files: Sequence[SourceFile]) -> list[list[SourceFile]]:
    """Share files out to chains of about CHAIN_BYTES, the oldest file first, to MOST_CHAINS at most."""
    size = max(CHAIN_BYTES, -(-sum(file.size for file in files) // (MOST_CHAINS // 2)))
    chains: list[list[SourceFile]] = []
    filled = size
    for file in sorted(files, key=lambda file: (file.modified or 0.0, file.url)):
        if filled + file.size > size:
            chains.append([])
            filled = 0
        chains[-1].append(file)
        filled += file.size
    return chains


def ingest_chain(chain: Mapping[str, Any]) -> dict[str, Any]:
    """Bring the exposures of a chain into the lake; return the counts, and the files that were left out.

    A file that cannot be read is named in the report, and the other files are taken in. A range of a topic
    stops the ranges after it, since offsets are taken in order.

    Raises:
        AirflowFailException: the source's fields have changed; a retry would not help.
    """
    from lastaisle.feedback.exposures.report import ExposureReport
    from lastaisle.ingest.checks.changes import SchemaChangeError
    from lastaisle.ingest.summary import describe_rows, row_counts

    settings, report = Settings.from_env(), ExposureReport()
    take_in = _take_in_files if "urls" in chain else _take_in_ranges
    try:
        take_in(chain, settings, report)
    except SchemaChangeError as changed:
        raise AirflowFailException(str(changed)) from changed
    counts = row_counts(report)
    log.info("%s:\n  %s", chain_name(chain), "\n  ".join(describe_rows(counts)))
    return {
        "counts": counts,
        "shown": report.rows_shown,
        "files": report.files,
        "failed": report.files_failed,
        "waiting": len(report.files_waiting),
    }


def _take_in_files(chain: Mapping[str, Any], settings: Settings, report: ExposureReport) -> None:
    from lastaisle.feedback.exposures.run import LEFT_OUT, ingest_exposure_file
    from lastaisle.ingest.reading.files import list_files
    from lastaisle.ingest.run import take_in_file

    job, progress = _job(chain, settings), log_progress(log)
    name = f"{job.form.name} {chain['address']}"
    options = source_options(chain["address"])[1]
    for position, url in enumerate(chain["urls"]):
        progress(position / len(chain["urls"]), url)
        try:
            found = list_files(url, options)
            found.refuse_nothing(url)
        except SourceError as error:  # it was there when the files were listed
            log.error("left out: %s", error)
            report.fail(url, error)
            continue
        (file,) = found.files
        take_in_file(file, partial(ingest_exposure_file, file, job, source=name), report, LEFT_OUT)


def _take_in_ranges(chain: Mapping[str, Any], settings: Settings, report: ExposureReport) -> None:
    from lastaisle.feedback.exposures.topic import exposure_drain
    from lastaisle.ingest.kafka.drain import ingest_range
    from lastaisle.ingest.kafka.ranges import OffsetRange

    drain = exposure_drain(_job(chain, settings), kafka_connection(parse_source(chain["address"]).name))
    progress = log_progress(log)
    for position, span in enumerate(OffsetRange(**offsets) for offsets in chain["ranges"]):
        progress(position / len(chain["ranges"]), span.url)
        for batch in ingest_range(span, drain):
            report.add(batch)


def _job(chain: Mapping[str, Any], settings: Settings) -> ExposureJob:
    from lastaisle.feedback.exposures.job import ExposureJob
    from lastaisle.privacy.keys import PseudonymKeys

    keys = PseudonymKeys.load_or_create(settings.privacy.key_file, lake_url=settings.lake.url)
    return ExposureJob.from_settings(settings, open_lake(settings), keys, form=chain["format"])


def chain_name(chain: Mapping[str, Any]) -> str:
    """Return the name of a chain's task on Airflow's page."""
    if "urls" in chain:
        first, more = chain["urls"][0].rsplit("/", 1)[-1], len(chain["urls"]) - 1
        return one_line(f"{first} and {more:,} more" if more else first)
    first, last = chain["ranges"][0], chain["ranges"][-1]
    return f"{first['topic']}/{first['partition']} {first['start']}-{last['end']}"
