"""Plan and ingest the batches of a run: files of a partition, or ranges of offsets of Kafka topics.

A chain is a list of files or of ranges that one task takes in, in order.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from lastaisle.kafka.address import parse_source
from lastaisle.settings import Settings
from lastaisle.telemetry.shown import one_line
from lastaisle_airflow.runtime.kafka import kafka_connection
from lastaisle_airflow.runtime.stores import open_lake, source_options

if TYPE_CHECKING:
    from lastaisle.ingest.job import Ingestion
    from lastaisle.ingest.report import BatchReport

# Functions import the pipeline inside: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TopicPlan:
    """The messages that one run takes from Kafka.

    Attributes:
        chains: chains of ranges of offsets as dictionaries; one chain for each partition of a topic.
        left: number of messages that the run leaves to the next run.
        gaps: descriptions of the gaps that the run met.
    """

    chains: list[list[dict[str, Any]]]
    left: int
    gaps: list[str]


def plan_topic_ranges(settings: Settings) -> TopicPlan:
    """Plan the messages of the source's topics that this run takes in."""
    from lastaisle.ingest.kafka.drain import plan_topics

    source = parse_source(settings.sources.address)
    plan = plan_topics(
        kafka_connection(source.name),
        source.topics,
        open_lake(settings),
        max_rows=settings.sources.run_rows,
        batch_rows=settings.ingest.batch_rows,
    )
    for app_id, lag in plan.lag.items():
        log.info("Lag of %s: %d messages", app_id, lag)
    chains = [[asdict(span) for span in spans] for spans in plan.by_partition()]
    return TopicPlan(chains, plan.left, [str(gap) for gap in plan.gaps])


def ingest_chain(chain: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write the batches of a chain to `raw_events` and `quarantine`; return ids, rows, counts and hours.

    A file on which Great Expectations and the compiled rules disagree does not stop the files after it; the
    task fails at the end. A range of a topic stops the ranges after it, since offsets are taken in order.

    Raises:
        AirflowFailException: the source's fields have changed, or the checks disagree on a file; a retry
            would not help.
    """
    from lastaisle.ingest.checks.changes import SchemaChangeError
    from lastaisle.ingest.checks.gx_check import DisagreementError
    from lastaisle.ingest.summary import add_up, describe_rows, row_counts

    settings = Settings.from_env()
    ingestion = _ingestion(settings)
    reports: list[BatchReport] = []
    disagreements: list[DisagreementError] = []
    try:
        for batch in chain:
            if "url" not in batch:
                reports += _ingest_range(batch, settings, ingestion)
                continue
            try:
                reports += _ingest_file(batch["url"], settings, ingestion)
            except DisagreementError as error:
                log.error("left out: %s", error)
                disagreements.append(error)
    except SchemaChangeError as changed:
        raise AirflowFailException(str(changed)) from changed
    counts = add_up(row_counts(report) for report in reports)
    log.info("%s:\n  %s", chain_name(chain), "\n  ".join(describe_rows(counts)))
    if disagreements:
        raise AirflowFailException("; ".join(map(str, disagreements))) from disagreements[0]
    return {
        "batches": [report.batch_id for report in reports],
        "rows": counts["rows_clean"],
        "counts": counts,
        "hours": sorted({hour for report in reports for hour in report.hours}),
    }


def _ingestion(settings: Settings) -> Ingestion:
    from data_contracts.contract import load_contract
    from lastaisle.ingest.job import Ingestion
    from lastaisle.ingest.mapping.choice import chosen_adapter
    from lastaisle.ingest.options import IngestOptions
    from lastaisle.lake.tables import RAW_EVENTS
    from lastaisle.privacy.keys import PseudonymKeys

    contract, options = load_contract(RAW_EVENTS), IngestOptions.from_settings(settings)
    keys = PseudonymKeys.load(settings.privacy.key_file, lake_url=settings.lake.url)
    form = chosen_adapter(settings, contract)
    return Ingestion(open_lake(settings), form, contract, options, tombstone_keys=keys)


def _ingest_file(url: str, settings: Settings, ingestion: Ingestion) -> list[BatchReport]:
    from lastaisle.ingest.reading.files import list_files
    from lastaisle.ingest.run import ingest_file

    found = list_files(url, source_options(settings.sources.address)[1])
    found.refuse_nothing(url)
    (file,) = found.files
    return ingest_file(file, ingestion, source=f"{ingestion.form.name} {settings.sources.address}")


def _ingest_range(batch: Mapping[str, Any], settings: Settings, ingestion: Ingestion) -> list[BatchReport]:
    from lastaisle.ingest.kafka.drain import Drain, ingest_range
    from lastaisle.ingest.kafka.payloads import Decoder
    from lastaisle.ingest.kafka.ranges import OffsetRange

    connection = kafka_connection(parse_source(settings.sources.address).name)
    drain = Drain(connection, ingestion, Decoder(ingestion.contract.version))
    return ingest_range(OffsetRange(**batch), drain)


def chain_name(chain: Sequence[Mapping[str, Any]]) -> str:
    """Return the name of a chain's task on Airflow's page."""
    first = chain[0]
    if "url" in first:
        return one_line(str(first["url"]).rsplit("/", 1)[-1])
    return f"{first['topic']}/{first['partition']} {first['start']}-{chain[-1]['end']}"
