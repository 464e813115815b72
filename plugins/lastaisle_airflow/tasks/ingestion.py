"""The tasks of `ingest_sessions`: they pass references between the pipeline's steps."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from airflow.sdk import TriggerRule, get_current_context, task

from lastaisle.errors import SourceError
from lastaisle.kafka.address import is_kafka
from lastaisle.settings import Settings
from lastaisle_airflow.runtime.assets import ARRIVALS, BACKLOG, EVENTS, LATE_EVENTS
from lastaisle_airflow.runtime.notes import note, skipped
from lastaisle_airflow.runtime.partitions import partition_of
from lastaisle_airflow.runtime.pods import with_pseudonym_key
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences
from lastaisle_airflow.tasks.announcements import announcement, late_announcement, run_summary, summarize
from lastaisle_airflow.tasks.batches import chain_name, ingest_chain, plan_topic_ranges
from lastaisle_airflow.tasks.files import MissingLogsError, files_of
from lastaisle_airflow.tasks.flows import tell_anonymized, tell_ingested

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)
SHOWN_FILES = 100  # the most files passed over that a run shows
ABANDONED_BATCH_AGE = timedelta(hours=1)
"""A batch that has waited longer to be anonymized belongs to a run that died."""


@task
def plan_batches(*, dag_run: Any = None, ti: Any = None) -> list[list[dict[str, Any]]]:
    """Return the chains of files, or of ranges of offsets, that this run takes in, one task for each chain.

    For files, the XCom `passed_over` holds why files were passed over (the first of them),
    `passed_over_by_reason` their numbers, `failed` the errors of folders that cannot be listed, and `missing`
    why the run's own partition has no logs. For Kafka, the XCom `left` holds how many messages this run
    leaves, and `gaps` the gaps that it met.

    Raises:
        AirflowSkipException: no messages wait, or there are no files and LASTAISLE_MISSING_LOGS is skip.
        SourceError: there is no file that can be read, or the place of the logs cannot be reached.
    """
    settings = Settings.from_env()
    if not is_kafka(settings.sources.address):
        look_back = dag_run.run_type != "backfill"
        files = files_of(partition_of(dag_run), settings, look_back=look_back)
        ti.xcom_push(key="passed_over", value=dict(islice(files.passed_over.items(), SHOWN_FILES)))
        ti.xcom_push(key="passed_over_by_reason", value=dict(Counter(files.passed_over.values())))
        ti.xcom_push(key="failed", value=files.failed)
        ti.xcom_push(key="missing", value=files.missing)
        return [[{"url": url}] for url in files.urls]
    plan = plan_topic_ranges(settings)
    ti.xcom_push(key="left", value=plan.left)
    ti.xcom_push(key="gaps", value=plan.gaps)
    if not plan.chains:
        raise skipped(f"no messages wait in {settings.sources.address}")
    return plan.chains


# With the key, a batch tells the rows of erased shoppers from others.
@task(map_index_template="{{ source_name }}", executor_config=with_pseudonym_key())
def ingest_batches(chain: list[dict[str, Any]]) -> dict[str, Any]:
    """Write the batches of one chain to `raw_events` and `quarantine`; return their ids, counts and hours."""
    get_current_context()["source_name"] = chain_name(chain)  # type: ignore[typeddict-unknown-key]
    report = ingest_chain(chain)
    tell_ingested(chain)
    return report


@task(
    trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
    outlets=[ARRIVALS],
    executor_config=with_pseudonym_key(),
)
def anonymize_shard(shard: int, reports: Any) -> dict[str, Any]:
    """Turn one shard of raw events into events; return the summary of the run, equal for all shards.

    The raw events are those of this run, and of the batches that a dead run left.
    """
    from lastaisle.privacy.anonymize import anonymize_shard as anonymize
    from lastaisle.privacy.keys import PseudonymKeys

    settings = Settings.from_env()
    keys = PseudonymKeys.load_or_create(settings.privacy.key_file, lake_url=settings.lake.url)
    summary = summarize(reports)
    before = datetime.now(UTC) - ABANDONED_BATCH_AGE
    anonymized = anonymize(
        *(shard, open_lake(settings), keys),
        batch_ids=summary["batches"],
        and_before=before,
        k=settings.privacy.k_anonymity,
    )
    batches = ", ".join(anonymized) or "none: all were anonymized before"
    log.info("Anonymized shard %d of batches %s", shard, batches)
    tell_anonymized()
    return summary


@task(outlets=[EVENTS])
def announce(summary: Any, *, dag_run: Any = None, outlet_events: Any = None) -> None:
    """Announce the partitions that are complete now on the asset `events`; skip if there are none."""
    extra = announcement(summary, dag_run)
    outlet_events[EVENTS].add_partitions(extra["partitions"])
    outlet_events[EVENTS].extra = extra


@task(outlets=[LATE_EVENTS])
def announce_late(summary: Any, *, dag_run: Any = None, outlet_events: Any = None) -> None:
    """Announce the earlier partitions that got rows on the asset `late_events`; skip if there are none."""
    extra = late_announcement(summary, dag_run)
    outlet_events[LATE_EVENTS].add_partitions(extra["partitions"])
    outlet_events[LATE_EVENTS].extra = extra


@task(outlets=[BACKLOG])
def go_on(*, ti: Any = None) -> None:
    """Start the next run at once if this run left messages in Kafka; skip if it left none."""
    n_left = ti.xcom_pull(task_ids="plan_batches", key="left")
    if not n_left:
        raise skipped("this run left no messages")
    log.info("%d messages are left for the next run, which follows at once", n_left)


@task(trigger_rule=TriggerRule.NONE_SKIPPED, retries=0)
def check_sources(chains: Any, summary: Any, *, dag_run: Any = None, ti: Any = None) -> None:
    """Log the run's rows and files; fail if a source was not taken in, or if messages were lost in Kafka.

    A partition without logs fails, too, unless LASTAISLE_MISSING_LOGS is skip: the run took in late files.
    """
    keys = ("gaps", "failed", "passed_over_by_reason", "missing")
    gaps, failed, passed_over, missing = (ti.xcom_pull(task_ids="plan_batches", key=key) for key in keys)
    if chains is not None:
        log.info("%s", "\n  ".join(describe_run(chains, summary, failed or {}, passed_over or {})))
        taken_in = run_summary(summary)
        left_out = len(chains) - taken_in["chains"]
        note(sentences.of_ingestion(taken_in, left_out, failed or {}, gaps or []), warn=bool(left_out))
    check_all_taken_in(chains, summary, gaps or [], failed or {})
    if missing and Settings.from_env().sources.missing_logs == "fail":
        raise MissingLogsError(partition_of(dag_run), missing)


def describe_run(
    chains: Sequence[Any], summaries: Any, failed: Mapping[str, str], passed_over: Mapping[str, int]
) -> list[str]:
    """Describe the rows of a run, and the sources that it took in, passed over or could not list.

    Args:
        chains: the chains of files or ranges that were planned.
        summaries: the summary of each shard.
        failed: the error of each folder that cannot be listed.
        passed_over: the number of files that were passed over, by reason.
    """
    from lastaisle.ingest.summary import add_up, describe_rows, name_most

    summary = run_summary(summaries)
    rows = describe_rows(summary.get("counts") or add_up([]))
    return [
        f"{summary['chains']} of {len(chains)} sources were taken in:",
        *rows,
        *([f"passed over  {name_most(passed_over)}"] if passed_over else []),
        *(f"left out     {address}: {error}" for address, error in failed.items()),
    ]


def check_all_taken_in(
    chains: Sequence[Any] | None, summaries: Any, gaps: Sequence[str], failed: Mapping[str, str] | None = None
) -> None:
    """Fail if a source was not taken in, or if messages were lost before a run could read them.

    Raises:
        SourceError: some chains failed, or nothing could be planned, or a folder could not be listed, or
            Kafka deleted messages before they were read.
    """
    if chains is None:
        raise SourceError("nothing could be planned; the log of plan_batches says why")
    n_taken_in = run_summary(summaries)["chains"]
    if n_taken_in < len(chains):
        raise SourceError(
            f"{len(chains) - n_taken_in} of {len(chains)} sources were not taken in; the failed tasks "
            "ingest_batches of this run say why. Mend them, then clear those tasks with all downstream."
        )
    if failed:
        errors = "; ".join(f"{address}: {error}" for address, error in failed.items())
        raise SourceError(f"left out: {errors}. Mend this, then clear plan_batches with all downstream")
    if gaps:
        raise SourceError(
            f"lost upstream, see the table gaps: {'; '.join(gaps)}. All messages that were left were taken in"
        )
