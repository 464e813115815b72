"""Ingest session logs and exposures: the files of a partition, or the messages that wait in Kafka.

## What it does

- Raw rows become clean, anonymized rows of the table `events`.
- A broken row goes to the table `quarantine` with the rules that it broke. It fails no task.
- A late row goes to the partition of its own hour.
- The asset `events` is announced for each partition that is complete. It wakes `retrain_incremental`.
- The asset `late_events` is announced for partitions that were announced before and now got new rows.
- **Exposures** that wait (`LASTAISLE_EXPOSURES`; by default the feedback that the service keeps) go to the
  table `exposures`, whatever their day, and the asset `exposures` is announced. Exposures and events do not
  wait for each other. A failure of one holds back no other.

## When it runs

**Files.** A partition is a day, or an hour with `LASTAISLE_PARTITION=hour`. Its run starts when the
partition is over. The partition's key (`2025-10-09`, or `2025-10-09T14`) fills `{day}`, `{hour}` or
`{day_ms}` in `LASTAISLE_SOURCE`. A run that finds no files fails after its retries, so that a missing
upload is noticed. `LASTAISLE_MISSING_LOGS=skip` skips such a run. Either way, the alert `missing_data` opens.

**Kafka.** The source is `LASTAISLE_SOURCE=kafka://<Airflow connection>/<topic>[,<topic>]`.

- A run starts every five minutes (`LASTAISLE_DRAIN_CRON`), with one task for each partition of a topic.
- It takes at most `LASTAISLE_RUN_ROWS` messages. If messages are left, the next run follows at once.
- The commits of the tables hold the offsets that were read. No consumer group is used.
- A partition is announced when the watermark has passed its end.

## What a run did

The log of `check_sources` says it for the whole run: rows in, clean, quarantined, duplicate, ignored and
late, each with its rules or reasons; and how many files were passed over, and why. The log of each task
`ingest_batches` says the same of its file or its messages. `check_exposures` says it of the exposures. All
tasks of exposures are skipped if none wait.

## When it fails

- **A broken file** fails alone, after its retries. All other files are taken in and announced. Then
  `check_sources` fails, so that the run is red. Open the failed task `ingest_batches`: its log names file,
  row and rule. Replace the file, and clear this task with its downstream tasks.
- **`nothing to read`:** the place of the logs is missing, or holds no file that is read. The message of
  `plan_batches` names each file that was passed over, and why. Upload the logs, and clear `plan_batches`
  with its downstream tasks.
- **`left out`:** a folder cannot be listed, or a file's name is no UTF-8. All other files were taken in.
- **`check_exposures`:** it names each file of exposures that was left out. Mend it for the next run.
- **Changed fields:** fields of the source vanished or changed their type. No row of the batch was taken in.
  See the log of `ingest_batches`.
- **`lost upstream`:** the brokers deleted messages before they were read. The table `gaps` has the offsets,
  and all messages that were left were taken in. Lengthen the topic's retention.
- **Messages that cannot be read** fail nothing: they are in `quarantine` and in `<topic>.dead-letters`.

## Backfill

Both days are included:

```
bin/airflow backfill create --dag-id ingest_sessions --from-date 2025-10-01 --to-date 2025-10-31
```

- The tables do not depend on the order of the runs, or on the number of runs at the same time.
- The models do. Add `--max-active-runs 1` if each day should warm-start from the day before:
  the training skips a day that is announced after a later day.
- Airflow refuses a second backfill for up to 30 s after the first backfill's last run, until the scheduler
  has marked the first backfill as complete.

## Run it again

Safe at any time. Rows that are in the tables are not taken in again; a new file in an old partition is
taken in. Add `--reprocess-behavior completed` (or `failed`) to the backfill to repeat whole partitions.
Each partition is announced again, and exactly one more run of `retrain_incremental` follows.
"""

from datetime import timedelta

from airflow.sdk import dag

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS, INGEST_POOL
from lastaisle_airflow.runtime.schedules import ingestion_schedule
from lastaisle_airflow.tasks import exposures
from lastaisle_airflow.tasks.ingestion import (
    announce,
    announce_late,
    anonymize_shard,
    check_sources,
    go_on,
    ingest_batches,
    plan_batches,
)

SETTINGS = Settings.from_env()


@dag(
    schedule=ingestion_schedule(SETTINGS),
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULT_ARGS, "pool": INGEST_POOL},
    dagrun_timeout=timedelta(hours=6),
    doc_md=__doc__,
    tags=["lastaisle", "data"],
)
def ingest_sessions() -> None:
    """Ingest session logs and exposures: the files of a partition, or the messages that wait in Kafka."""
    chains = plan_batches()
    reports = ingest_batches.expand(chain=chains)
    # A partition is announced only when its rows are in `events`; one broken source holds back no other.
    summary = anonymize_shard.partial(reports=reports).expand(shard=list(range(SETTINGS.ingest.shards)))
    announce(summary)
    announce_late(summary)
    # This task comes last: a broken source makes the run red after the other sources' rows were taken in.
    check_sources(chains, summary)
    summary >> go_on()
    # No edge joins exposures and events: a failure of one holds back no other.
    waiting = exposures.plan_exposures()
    taken_in = exposures.ingest_exposures.expand(chain=waiting)
    exposures.announce_exposures(taken_in)
    exposures.check_exposures(waiting, taken_in)


ingest_sessions()
