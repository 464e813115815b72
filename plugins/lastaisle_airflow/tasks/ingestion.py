"""What the tasks of `ingest_sessions` do: pass references between the pipeline's steps."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from lastaisle.errors import SourceError
from lastaisle.kafka.address import is_kafka, parse_source
from lastaisle.settings import Settings
from lastaisle_airflow.runtime.partitions import completed, keys_of_hours, partition_of
from lastaisle_airflow.runtime.stores import open_lake, source_options
from lastaisle_airflow.tasks.files import files_of

if TYPE_CHECKING:
    from lastaisle.ingest.batch import Ingestion
    from lastaisle.ingest.report import BatchReport

log = logging.getLogger(__name__)
ORPHANED = timedelta(hours=1)
"""After so long nobody else comes for a batch that waits to be anonymized."""


def plan_batches(context: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Return what this run takes in: chains of files or ranges of offsets, each for one task, in order.

    What a run leaves in Kafka, and the gaps it met, go with it as `left` and `gaps`.

    Raises:
        AirflowSkipException: there is nothing (yet), and nothing is wrong.
    """
    settings = Settings.from_env()
    if is_kafka(settings.sources.address):
        return _plan_ranges(settings, context["ti"])
    look_back = context["dag_run"].run_type != "backfill"
    return [[{"url": url}] for url in files_of(partition_of(context), settings, look_back=look_back)]


def _plan_ranges(settings: Settings, task_instance: Any) -> list[list[dict[str, Any]]]:
    from lastaisle.ingest.kafka.drain import plan_topics
    from lastaisle_airflow.runtime.kafka import kafka_connection

    source = parse_source(settings.sources.address)
    connection, lake = kafka_connection(source.name), open_lake(settings)
    limits = {"max_rows": settings.sources.run_rows, "batch_rows": settings.ingest.batch_rows}
    plan = plan_topics(connection, source.topics, lake, **limits)
    for app_id, lag in plan.lag.items():
        log.info("Lag of %s: %d messages", app_id, lag)
    task_instance.xcom_push(key="left", value=plan.left)
    task_instance.xcom_push(key="gaps", value=[str(gap) for gap in plan.gaps])
    if not plan.ranges:
        raise AirflowSkipException(f"nothing waits in {source}")
    return [[asdict(span) for span in spans] for spans in plan.by_partition()]


def ingest(chain: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Bring the batches of a chain into raw_events and quarantine; return what to announce of them."""
    from lastaisle.ingest.changes import SchemaChangeError

    settings = Settings.from_env()
    job = _job(settings)
    reports: list[BatchReport] = []
    try:
        for link in chain:
            if "url" in link:
                reports += _ingest_file(link["url"], settings, job)
            else:
                reports += _ingest_range(link, settings, job)
    except SchemaChangeError as changed:  # trying again changes nothing
        raise AirflowFailException(str(changed)) from changed
    for report in reports:
        log.info("%s", report)
    return {
        "batches": [report.batch_id for report in reports],
        "rows": sum(report.rows_clean for report in reports),
        "hours": sorted({hour for report in reports for hour in report.hours}),
    }


def _job(settings: Settings) -> Ingestion:
    from data_contracts.contract import load_contract
    from lastaisle.ingest.batch import Ingestion
    from lastaisle.ingest.options import IngestOptions
    from lastaisle.ingest.sources import adapter
    from lastaisle.lake.tables import RAW_EVENTS

    options = IngestOptions(
        allowed_lateness=timedelta(minutes=settings.sources.lateness_minutes),
        gx_sample_rows=settings.ingest.gx_sample_rows,
        batch_rows=settings.ingest.batch_rows,
        shards=settings.ingest.shards,
    )
    contract = load_contract(RAW_EVENTS)
    return Ingestion(open_lake(settings), adapter(settings.sources.format), contract, options)


def _ingest_file(url: str, settings: Settings, job: Ingestion) -> list[BatchReport]:
    from lastaisle.ingest.files import list_files
    from lastaisle.ingest.run import ingest_file

    (file,) = list_files(url, source_options(settings.sources.address)[1])
    return ingest_file(file, job, source=f"{settings.sources.format} {settings.sources.address}")


def _ingest_range(link: Mapping[str, Any], settings: Settings, job: Ingestion) -> list[BatchReport]:
    from lastaisle.ingest.kafka.drain import Drain, ingest_range
    from lastaisle.ingest.kafka.payloads import Decoder
    from lastaisle.ingest.kafka.ranges import OffsetRange
    from lastaisle_airflow.runtime.kafka import kafka_connection

    connection = kafka_connection(parse_source(settings.sources.address).name)
    return ingest_range(OffsetRange(**link), Drain(connection, job, Decoder(job.contract.version)))


def anonymize(shard: int, reports: Any) -> dict[str, Any]:
    """Turn one shard of this run's raw events into events, and of batches that a dead run left behind.

    Returns:
        What this run took in, the same from every shard.
    """
    from lastaisle.privacy.anonymize import anonymize_shard
    from lastaisle.privacy.keys import PseudonymKeys

    settings = Settings.from_env()
    keys = PseudonymKeys.load_or_create(settings.privacy.key_file, lake_url=settings.lake.url)
    summary = summarize(reports)
    before = datetime.now(UTC) - ORPHANED
    done = anonymize_shard(shard, open_lake(settings), keys, batch_ids=summary["batches"], and_before=before)
    log.info("Anonymized shard %d of batches %s", shard, ", ".join(done) or "none: all were done before")
    return summary


def summarize(reports: Any) -> dict[str, Any]:
    """Add up the reports of a run's chains.

    Where only one was taken in, be it alone or the only sound one, Airflow hands over its report itself
    instead of a list of one.
    """
    listed: Iterable[Any] = [reports] if isinstance(reports, Mapping) else reports or []
    found = [report for report in listed if report]
    return {
        "chains": len(found),
        "batches": [batch for report in found for batch in report["batches"]],
        "rows": sum(report["rows"] for report in found),
        "hours": sorted({hour for report in found for hour in report["hours"]}),
    }


def _first(summaries: Any) -> Mapping[str, Any]:
    """Return the summary that every shard gave; of one shard Airflow hands over its own."""
    if isinstance(summaries, Mapping):
        return summaries
    return next((summary for summary in summaries or [] if summary), {"chains": 0})


def announced(summaries: Any, context: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to say of the asset events, with the keys of the partitions that are there now.

    Of files it is the run's own partition; of a topic those that the watermark passed.

    Raises:
        AirflowSkipException: none is.
    """
    settings = Settings.from_env()
    summary = _first(summaries)
    partitions = _passed(summary, settings) if is_kafka(settings.sources.address) else [partition_of(context)]
    if not partitions:
        raise AirflowSkipException("no partition is complete yet: the watermark has not passed its end")
    return {"partitions": partitions, **{name: summary[name] for name in ("rows", "hours", "chains")}}


def announced_late(summaries: Any, context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the partitions announced before that got rows in this run.

    Raises:
        AirflowSkipException: none did.
    """
    settings = Settings.from_env()
    summary = _first(summaries)
    keys = keys_of_hours(summary["hours"], settings)
    if is_kafka(settings.sources.address):
        before = _watermarks(summary, settings)[0]
        end = None if before is None else completed(None, before, keys[0], settings) if keys else []
        late = [key for key in keys if end and key in end]
    else:
        late = [key for key in keys if key < partition_of(context)]
    if not late:
        raise AirflowSkipException("no late rows")
    hours = [hour for hour in summary["hours"] if hour.startswith(tuple(late))]
    return {"partitions": late, "hours": hours}


def _passed(summary: Mapping[str, Any], settings: Settings) -> list[str]:
    before, after = _watermarks(summary, settings)
    keys = keys_of_hours(summary["hours"], settings)
    if after is None or not keys:
        return []
    return completed(before, after, keys[0], settings)


def _watermarks(summary: Mapping[str, Any], settings: Settings) -> tuple[datetime | None, datetime | None]:
    """Return the watermark of all topics before this run and after it: that of the slowest topic."""
    from lastaisle.ingest.kafka.drain import source_name
    from lastaisle.ingest.watermark import watermark

    lake, lateness = open_lake(settings), timedelta(minutes=settings.sources.lateness_minutes)
    names = [
        source_name(settings.sources.format, topic) for topic in parse_source(settings.sources.address).topics
    ]

    def slowest(without: Sequence[str]) -> datetime | None:
        found = [watermark(lake, name, lateness, without=without) for name in names]
        return min((moment for moment in found if moment is not None), default=None)

    return slowest(summary["batches"]), slowest(())


def name_of(chain: Sequence[Mapping[str, Any]]) -> str:
    """Return how Airflow's page names the task of a chain."""
    first = chain[0]
    if "url" in first:
        return str(first["url"]).rsplit("/", 1)[-1]
    return f"{first['topic']}/{first['partition']} {first['start']}-{chain[-1]['end']}"


def require_backlog(context: Mapping[str, Any]) -> None:
    """Return if this run left something behind.

    Raises:
        AirflowSkipException: it did not.
    """
    left = context["ti"].xcom_pull(task_ids="plan_batches", key="left")
    if not left:
        raise AirflowSkipException("nothing is left")
    log.info("%d messages are left for the next run, which follows at once", left)


def gaps_of(context: Mapping[str, Any]) -> list[str]:
    """Return the gaps that this run met."""
    return context["ti"].xcom_pull(task_ids="plan_batches", key="gaps") or []


def check_all_taken_in(chains: Sequence[Any] | None, summaries: Any, gaps: Sequence[str] | None) -> None:
    """Fail where something was not taken in, or was lost before it could be.

    Raises:
        SourceError: some chains failed, or could not even be planned, or Kafka deleted what was not read yet.
    """
    if chains is None:
        raise SourceError("nothing could be planned; the log of plan_batches says why")
    taken = _first(summaries)["chains"]
    if taken < len(chains):
        raise SourceError(
            f"{len(chains) - taken} of {len(chains)} sources were not taken in; the failed tasks "
            "ingest_batches of this run say why. Mend them, then clear those tasks with all downstream."
        )
    if gaps:
        raise SourceError(
            f"lost upstream, see the table gaps: {'; '.join(gaps)}. All that was left was taken in"
        )
