"""Stand-ins for a DAG run and a task instance."""

from dataclasses import dataclass


@dataclass
class DagRun:
    dag_id: str = "ingest_sessions"
    run_id: str = "backfill__2025-10-09__x"
    partition_key: str | None = "2025-10-09"


@dataclass
class TaskInstance:
    dag_id: str = "ingest_sessions"
    run_id: str = "backfill__2025-10-09__x"
    task_id: str = "ingest_batches"
    map_index: int = 3
    try_number: int = 2
    max_tries: int = 2
    log_url: str = "http://airflow/log"
