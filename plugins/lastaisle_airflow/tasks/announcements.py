"""Decide which partitions a run of `ingest_sessions` announces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from lastaisle.kafka.address import is_kafka, parse_source
from lastaisle.settings import Settings
from lastaisle_airflow.runtime.notes import skipped
from lastaisle_airflow.runtime.partitions import completed, keys_of_hours, partition_of
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences

# Functions import the pipeline inside: nothing heavy may be loaded before a worker forks.


def summarize(reports: Any) -> dict[str, Any]:
    """Add up the reports of a run's chains.

    With a single chain, Airflow passes its report itself instead of a list with one report.
    """
    from lastaisle.ingest.summary import add_up

    listed: Iterable[Any] = [reports] if isinstance(reports, Mapping) else reports or []
    ingested = [report for report in listed if report]
    return {
        "chains": len(ingested),
        "batches": [batch for report in ingested for batch in report["batches"]],
        "rows": sum(report["rows"] for report in ingested),
        # A task that ran before an upgrade left a report without counts.
        "counts": add_up(report["counts"] for report in ingested if "counts" in report),
        "hours": sorted({hour for report in ingested for hour in report["hours"]}),
    }


def run_summary(summaries: Any) -> Mapping[str, Any]:
    """Return the summary of a run from its shards, which all return the same summary.

    With a single shard, Airflow passes its summary itself instead of a list with one summary.
    """
    if isinstance(summaries, Mapping):
        return summaries
    return next((summary for summary in summaries or [] if summary), {"chains": 0})


def announcement(summaries: Any, dag_run: Any) -> dict[str, Any]:
    """Return the extra of the asset `events`, with the keys of the partitions that are complete now.

    With files, this is the run's own partition. With Kafka, these are the partitions whose end the watermark
    has passed.

    Raises:
        AirflowSkipException: no partition is complete yet.
    """
    settings = Settings.from_env()
    summary = run_summary(summaries)
    if is_kafka(settings.sources.address):
        partitions = _passed_partitions(summary, settings)
    else:
        partitions = [partition_of(dag_run)]
    if not partitions:
        raise skipped("no partition is complete yet: the watermark has not passed its end")
    return {"partitions": partitions, **announced_rows(summary)}


def announced_rows(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of a run that its asset announces, and the sentence that tells them."""
    extra = {name: summary[name] for name in ("rows", "hours", "chains")}
    counts = summary.get("counts")
    if counts is None:  # a task that ran before an upgrade left a report without counts
        return extra
    rows = {name: count for name, count in counts.items() if name.startswith("rows_")}
    return extra | rows | {"words": sentences.of_rows(counts)}


def late_announcement(summaries: Any, dag_run: Any) -> dict[str, Any]:
    """Return the partitions that were announced before and got rows in this run, and the hours of those rows.

    Raises:
        AirflowSkipException: no such partition got rows.
    """
    settings = Settings.from_env()
    summary = run_summary(summaries)
    keys = keys_of_hours(summary["hours"], settings)
    if is_kafka(settings.sources.address):
        late = _announced_before(keys, summary, settings)
    else:
        late = [key for key in keys if key < partition_of(dag_run)]
    if not late:
        raise skipped("this run got no rows of partitions that were announced before")
    hours = [hour for hour in summary["hours"] if hour.startswith(tuple(late))]
    return {"partitions": late, "hours": hours}


def _passed_partitions(summary: Mapping[str, Any], settings: Settings) -> list[str]:
    before, after = _watermarks(summary, settings)
    keys = keys_of_hours(summary["hours"], settings)
    if after is None or not keys:
        return []
    return completed(before, after, keys[0], settings)


def _announced_before(keys: Sequence[str], summary: Mapping[str, Any], settings: Settings) -> list[str]:
    before = _watermarks(summary, settings)[0]
    if before is None or not keys:
        return []
    announced = completed(None, before, keys[0], settings)
    return [key for key in keys if key in announced]


def _watermarks(summary: Mapping[str, Any], settings: Settings) -> tuple[datetime | None, datetime | None]:
    """Return the watermark of the slowest topic before this run and after it."""
    from data_contracts.contract import load_contract
    from lastaisle.ingest.kafka.drain import source_name
    from lastaisle.ingest.mapping.choice import chosen_adapter
    from lastaisle.ingest.watermark import watermark
    from lastaisle.lake.tables import RAW_EVENTS

    form = chosen_adapter(settings, load_contract(RAW_EVENTS)).name
    lake, lateness = open_lake(settings), timedelta(minutes=settings.sources.lateness_minutes)
    names = [source_name(form, topic) for topic in parse_source(settings.sources.address).topics]

    def slowest(without: Sequence[str]) -> datetime | None:
        watermarks = [watermark(lake, name, lateness, without=without) for name in names]
        return min((moment for moment in watermarks if moment is not None), default=None)

    return slowest(summary["batches"]), slowest(())
