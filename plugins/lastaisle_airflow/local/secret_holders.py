"""Which process may hold which secret: each service starts without the secrets of the others.

SECURITY.md explains the table. docker/compose.yaml and docker/kubernetes/ keep the same rule, and
tests/airflow/local/test_secret_holders.py compares all three.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

API_SERVER: Final = "airflow-api-server"
DAG_PROCESSOR: Final = "airflow-dag-processor"
EXPORT: Final = "export-metrics"
MLFLOW: Final = "mlflow"
MLFLOW_CLIENT: Final = "bin/mlflow"
SCHEDULER: Final = "airflow-scheduler"
SERVE: Final = "serve"
SETUP: Final = "airflow-setup"
TRIGGERER: Final = "airflow-triggerer"
WORKER: Final = "airflow-worker"

#: Who runs tasks: a worker of Celery, a pod of Kubernetes, and the scheduler under LocalExecutor.
_TASKS: Final = frozenset({SCHEDULER, WORKER})
#: The parts that read Airflow's database, whose connections and triggers the Fernet key encrypts.
_DATABASE_READERS: Final = frozenset({API_SERVER, DAG_PROCESSOR, SCHEDULER, SETUP, TRIGGERER})
#: The parts that send metrics: those of Airflow, the tasks, and the export of ours.
_SENDERS: Final = _DATABASE_READERS | _TASKS | {EXPORT}

HOLDERS: Final[Mapping[str, frozenset[str]]] = {
    "LASTAISLE_SEGMENT_WRITE_KEYS": frozenset(),  # only `lastaisle collect` reads these two
    "LASTAISLE_SEGMENT_SECRET": frozenset(),
    "LASTAISLE_SERVE_KEYS": frozenset({SERVE}),
    "LASTAISLE_DASHBOARD_TOKEN": frozenset(),  # only `lastaisle dashboard` reads it
    "LASTAISLE_SERVE_KEY": frozenset(),  # only `lastaisle simulate --live` reads it
    "LASTAISLE_METRICS_KEYS": frozenset({EXPORT}),
    "LASTAISLE_PSEUDONYM_KEY": _TASKS | {SERVE},
    "LASTAISLE_LAKE_OPTIONS": _TASKS | {API_SERVER, EXPORT, SERVE},
    "LASTAISLE_KAFKA": _TASKS | {SERVE, TRIGGERER},
    "LASTAISLE_SCHEMA_REGISTRY": _TASKS,
    "LASTAISLE_WEBHOOKS": _TASKS,  # an address may hold a token
    "LASTAISLE_WEBHOOK_SECRET": _TASKS,
    "LASTAISLE_ALERT_*": _TASKS,  # the addresses and keys of the channels of alerts
    "LASTAISLE_MLFLOW_ADMIN_PASSWORD": frozenset(),  # only `mlflow.accounts` reads these three
    "LASTAISLE_MLFLOW_PIPELINE_PASSWORD": frozenset(),
    "LASTAISLE_MLFLOW_READER_PASSWORD": frozenset(),
    # The addresses of MLflow's database, which may hold a password.
    "LASTAISLE_MLFLOW_URI": _TASKS | {API_SERVER, EXPORT, MLFLOW_CLIENT, SERVE},
    "MLFLOW_BACKEND_STORE_URI": frozenset({MLFLOW, MLFLOW_CLIENT}),
    "MLFLOW_FLASK_SERVER_SECRET_KEY": frozenset({MLFLOW}),
    "MLFLOW_TRACKING_PASSWORD": _TASKS | {API_SERVER, EXPORT, MLFLOW_CLIENT, SERVE},
    "MLFLOW_TRACKING_TOKEN": _TASKS | {API_SERVER, EXPORT, MLFLOW_CLIENT, SERVE},
    # Who tells the lineage of tasks: an address or a transport may hold a key.
    "OPENLINEAGE_API_KEY": _DATABASE_READERS | _TASKS,
    "OPENLINEAGE__TRANSPORT*": _DATABASE_READERS | _TASKS,
    "AIRFLOW__OPENLINEAGE__TRANSPORT": _DATABASE_READERS | _TASKS,
    # Who sends metrics to an OpenTelemetry collector: a header may hold a key.
    "OTEL_EXPORTER_OTLP_HEADERS": _SENDERS,
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS": _SENDERS,
    # The API server reads the logs of tasks in an object store by such a connection.
    "AIRFLOW_CONN_*": _TASKS | {API_SERVER, TRIGGERER},
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN*": _DATABASE_READERS,
    "AIRFLOW__SECRETS__*": _DATABASE_READERS,
    "AIRFLOW__CELERY__*": frozenset({SCHEDULER, WORKER}),
    "AIRFLOW__SMTP__*": _DATABASE_READERS,
    "AIRFLOW__CORE__FERNET_KEY": _DATABASE_READERS,
    "AIRFLOW__API_AUTH__JWT_SECRET": frozenset({API_SERVER, SCHEDULER}),
    "AIRFLOW__API__SECRET_KEY": frozenset({API_SERVER}),
}
"""The services that may hold each secret, by the name of its environment variable; * stands for any end."""


def for_process(process: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables without the secrets that a process may not hold.

    Args:
        process: the name of the service, such as `airflow-scheduler`.
        variables: the environment of all services.
    """
    held_by_others = [secret for secret, holders in HOLDERS.items() if process not in holders]
    return {
        name: value
        for name, value in variables.items()
        if not any(fnmatchcase(name, secret) for secret in held_by_others)
    }
