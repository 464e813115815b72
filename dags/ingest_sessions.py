"""Ingest session logs: the files of a partition, or what waits in Kafka.

Rows become clean, anonymized `events`; then the asset `events` wakes `retrain_incremental`. A broken row is
in the table `quarantine`, each with its rules, and fails nothing.

**Files.** A partition is a day, or an hour with `LASTAISLE_PARTITION=hour`. Its run starts when it is over;
its key (`2025-10-09`, or `2025-10-09T14`) fills `{day}`, `{hour}` or `{day_ms}` in `LASTAISLE_SOURCE`. No
files: the run skips.

**Kafka.** `LASTAISLE_SOURCE=kafka://<Airflow connection>/<topic>[,<topic>]`. A run starts every five minutes
(`LASTAISLE_DRAIN_CRON`), takes at most `LASTAISLE_RUN_ROWS` messages, one task a topic's partition, and is
followed at once by another if it left some. How far it came is in the tables' own commits, in no consumer
group. A partition is announced when the watermark has passed its end. Messages that cannot be read are in
`quarantine` and in `<topic>.dead-letters`. **Red for `lost upstream`:** the brokers deleted messages before
they were read; the table `gaps` has the offsets. Lengthen the topic's retention; the rest was taken in.

**Late rows** lie in their own hour. Partitions announced before are announced by the asset `late_events`.

**Past partitions,** both days included, as many at once as you like:
`airflow backfill create --dag-id ingest_sessions --from-date 2025-10-01 --to-date 2025-10-31`
The tables are the same in whatever order the runs end. Models are not: add `--max-active-runs 1` where each
day should warm-start from the day before; a day announced after a later one is skipped by the training.

**Again:** safe at any time. What is there already is not taken in twice; a new file in an old partition is.
Repeat whole partitions with `--reprocess-behavior completed` (or `failed`); each announces `events` anew, so
exactly one more `retrain_incremental` run a partition follows. A second backfill is refused for up to 30 s
after the first one's last run: the scheduler marks it complete that late.

**A broken file** fails alone, after its tries; the others go on and are announced. `check_sources` then
fails, so the run is red until it is mended: look at the failed `ingest_batches` (its log names file, row and
rule), replace the file, clear that task with its downstream ones. **Red for changed fields:** the source no
longer sends what it sent; nothing of it was taken in, see the log.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import TriggerRule, dag, get_current_context, task

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.assets import ARRIVALS, BACKLOG, EVENTS, LATE_EVENTS
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS, INGEST_POOL
from lastaisle_airflow.runtime.partitions import schedule

SETTINGS = Settings.from_env()


@dag(
    schedule=schedule(SETTINGS),
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULT_ARGS, "pool": INGEST_POOL},
    dagrun_timeout=timedelta(hours=6),
    doc_md=__doc__,
    tags=["lastaisle", "data"],
)
def ingest_sessions() -> None:
    """Ingest session logs: the files of a partition, or what waits in Kafka."""

    @task
    def plan_batches() -> list[list[dict[str, Any]]]:
        from lastaisle_airflow.tasks.ingestion import plan_batches as plan

        return plan(get_current_context())

    @task(map_index_template="{{ source_name }}")
    def ingest_batches(chain: list[dict[str, Any]]) -> dict[str, Any]:
        from lastaisle_airflow.tasks.ingestion import ingest, name_of

        get_current_context()["source_name"] = name_of(chain)
        return ingest(chain)

    @task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS, outlets=[ARRIVALS])
    def anonymize_shard(shard: int, reports: Any) -> dict[str, Any]:
        from lastaisle_airflow.tasks.ingestion import anonymize

        return anonymize(shard, reports)

    @task(outlets=[EVENTS])
    def announce(summary: Any, *, outlet_events: Any = None) -> None:
        from lastaisle_airflow.tasks.ingestion import announced

        said = announced(summary, get_current_context())
        outlet_events[EVENTS].add_partitions(said["partitions"])
        outlet_events[EVENTS].extra = said

    @task(outlets=[LATE_EVENTS])
    def announce_late(summary: Any, *, outlet_events: Any = None) -> None:
        from lastaisle_airflow.tasks.ingestion import announced_late

        said = announced_late(summary, get_current_context())
        outlet_events[LATE_EVENTS].add_partitions(said["partitions"])
        outlet_events[LATE_EVENTS].extra = said

    @task(outlets=[BACKLOG])
    def go_on() -> None:
        from lastaisle_airflow.tasks.ingestion import require_backlog

        require_backlog(get_current_context())

    @task(trigger_rule=TriggerRule.NONE_SKIPPED, retries=0)
    def check_sources(chains: Any, summary: Any) -> None:
        from lastaisle_airflow.tasks.ingestion import check_all_taken_in, gaps_of

        check_all_taken_in(chains, summary, gaps_of(get_current_context()))

    chains = plan_batches()
    reports = ingest_batches.expand(chain=chains)
    # Announced only when in `events`; one broken source holds back no other.
    summary = anonymize_shard.partial(reports=reports).expand(shard=list(range(SETTINGS.ingest.shards)))
    announce(summary)
    announce_late(summary)
    # Last, so that a broken source makes the run red when the others' rows are there.
    check_sources(chains, summary)
    summary >> go_on()


ingest_sessions()
