"""Ingest the logs of one partition.

Each file of the partition becomes clean, anonymized rows of `events`; then the asset `events` wakes
`retrain_incremental`.

**A partition** is a day, or an hour with `LASTAISLE_PARTITION=hour`. Its run starts when it is over; its key
(`2025-10-09`, or `2025-10-09T14`) fills `{day}` and `{hour}` in `LASTAISLE_SOURCE`. No files: the run skips.

**Past partitions:** `airflow backfill create --dag-id ingest_sessions --from-date 2025-10-01 --to-date
2025-10-07 --max-active-runs 1` (both days included). The flag keeps the order of the days, in which models
warm-start: without it Airflow 3.3.2 runs ten at once, whatever the DAG says, and a day announced after a later
one finds the champion ahead of it, so its training is skipped.

**Again:** safe at any time. A file already ingested adds nothing; a new file in an old partition is taken in.
Repeat whole partitions with `--reprocess-behavior completed` (or `failed`); each announces `events` anew, so
exactly one more `retrain_incremental` run a partition follows. A second backfill is refused for up to 30 s
after the first one's last run: the scheduler marks it complete that late.

**A broken file** fails alone, after its tries; the other files go on and are announced. `check_files` then
fails, so the run is red until the file is mended: look at the failed `ingest_file` (its log names file, row
and rule), replace the file, clear that task with its downstream ones. Rows that broke a rule fail nothing:
they are in the table `quarantine`, each with its rules.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import CronPartitionTimetable, TriggerRule, dag, get_current_context, task, task_group

from lastaisle.config import Settings
from lastaisle_airflow.assets import EVENTS
from lastaisle_airflow.defaults import DEFAULT_ARGS, INGEST_POOL
from lastaisle_airflow.partitions import cadence, partition_of, source_of

CADENCE = cadence(Settings.from_env())


@dag(
    schedule=CronPartitionTimetable(
        CADENCE.cron, timezone="UTC", run_offset=-1, key_format=CADENCE.key_format
    ),
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULT_ARGS, "pool": INGEST_POOL},
    dagrun_timeout=timedelta(hours=6),
    doc_md=__doc__,
    tags=["lastaisle", "data"],
)
def ingest_sessions() -> None:
    """Ingest the logs of one partition."""

    @task
    def list_files() -> list[str]:
        from lastaisle_airflow.ingestion import files_of

        return files_of(source_of(partition_of(get_current_context()), Settings.from_env()))

    @task_group
    def take_in(file: str) -> Any:
        @task(map_index_template="{{ file_name }}")
        def ingest_file(file: str) -> str:
            from lastaisle_airflow.ingestion import ingest

            get_current_context()["file_name"] = file.rsplit("/", 1)[-1]
            return ingest(file)

        @task
        def anonymize_batch(batch_id: str) -> dict[str, Any]:
            from lastaisle_airflow.ingestion import anonymize

            return anonymize(batch_id)

        return anonymize_batch(ingest_file(file))

    @task(outlets=[EVENTS], trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
    def announce(reports: Any, *, outlet_events: Any = None) -> dict[str, Any]:
        from lastaisle_airflow.ingestion import summarize

        summary = summarize(partition_of(get_current_context()), reports)
        outlet_events[EVENTS].extra = summary
        return summary

    @task(trigger_rule=TriggerRule.NONE_SKIPPED, retries=0)
    def check_files(files: list[str] | None, summary: dict[str, Any] | None) -> None:
        from lastaisle_airflow.ingestion import check_all_taken_in

        check_all_taken_in(files, summary)

    files = list_files()
    reports = take_in.expand(file=files)
    summary = announce(reports)
    # Last, so that one broken file makes the run red without holding back the others' rows.
    check_files(files, summary)


ingest_sessions()
