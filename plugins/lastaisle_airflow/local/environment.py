"""The environment of Airflow's processes on this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from lastaisle.settings import Settings
from lastaisle.settings.metrics import MetricsSettings

HOST = "127.0.0.1"
TRANSPORT = "lastaisle_airflow.runtime.lineage_files.DayFiles"
#: The variables by which people send the lineage elsewhere.
_OWN_TRANSPORTS = (
    *("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT"),
    *("AIRFLOW__OPENLINEAGE__CONFIG_PATH", "AIRFLOW__OPENLINEAGE__CONFIG_CONN_ID"),
)
ROOT = Path(__file__).resolve().parents[3]


def airflow_home(settings: Settings) -> Path:
    """Return Airflow's folder: AIRFLOW_HOME, by default inside LASTAISLE_HOME."""
    return Path(os.environ.get("AIRFLOW_HOME") or settings.home / "airflow")


def has_own_mlflow(settings: Settings) -> bool:
    """Return whether MLflow runs here: LASTAISLE_MLFLOW_URI names a file or a database, and no server."""
    return not urlsplit(settings.registry.mlflow_uri).scheme.startswith(("http", "databricks"))


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of services and tasks.

    It holds all settings, and defaults of Airflow's variables that the user has not set.
    """
    home = airflow_home(settings)
    base = f"http://{HOST}:{settings.services.airflow_port}"
    defaults = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",  # each task may load TensorFlow or DuckDB: this bounds memory
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{base}/execution/",
        "AIRFLOW__API__BASE_URL": base,
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(settings.services.airflow_port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        # Seconds until a scheduler takes over the tasks of a scheduler that died; the default is 300 s.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "60",
        # A supervisor notices the end of its task only between heartbeats: 5 s would cost 5 s for each task.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        # Airflow changes the mode of each task's log after it made the file, whatever the umask is.
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
        "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
        # Airflow uses an old name in a library, and would warn of it in the log of each task.
        "PYTHONWARNINGS": "ignore:GitWildMatchPattern",
        **_mlflow_names(settings.services.mlflow_ui),
        **_telemetry(settings.metrics),
        **_lineage(settings),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 250 MiB for jobs that nothing here submits
    }
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    paths = [str(ROOT), str(ROOT / "plugins"), *filter(None, [inherited.get("PYTHONPATH")])]
    forced = settings.to_env()
    if has_own_mlflow(settings):
        forced["MLFLOW_BACKEND_STORE_URI"] = settings.registry.mlflow_uri
    forced["PYTHONPATH"] = os.pathsep.join(paths)
    return {**defaults, **inherited, **forced}


def _telemetry(options: MetricsSettings) -> dict[str, str]:
    """Return the variables by which Airflow sends its own metrics to the collector of LASTAISLE_OTLP."""
    if not options.otlp:
        return {}
    return {
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": options.metrics_url,
        "OTEL_METRIC_EXPORT_INTERVAL": str(round(options.seconds * 1000)),
    }


def _lineage(settings: Settings) -> dict[str, str]:
    """Return the variables by which tasks keep the lineage of their data in files of LASTAISLE_HOME.

    A thread of the task sends the events: the provider's other way forks the task, and a fork of a process
    with TensorFlow hangs. Runs of DAGs send no events: the scheduler would need more processes for them.
    """
    variables = {
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "lastaisle",
        "AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD": "True",
        # Else each task's log would tell of each event.
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "airflow.providers.openlineage=WARNING",
        "OPENLINEAGE_CLIENT_LOGGING": "WARNING",
        "AIRFLOW__OPENLINEAGE__EMISSION_POLICY": json.dumps(
            [{"scope": {}, "controls": {"emit_dag_events": False}}]
        ),
    }
    if not any(name.startswith(_OWN_TRANSPORTS) for name in os.environ):
        transport = {"type": TRANSPORT, "folder": str(settings.home / "lineage")}
        variables["AIRFLOW__OPENLINEAGE__TRANSPORT"] = json.dumps(transport)
    return variables


def _mlflow_names(pages: str) -> dict[str, str]:
    """Return the variables that say by which names a browser may reach MLflow's server on this machine.

    MLflow alone takes each name that begins like a private address, such as 10.evil.example. A page of that
    site could point its own name to 127.0.0.1 (DNS rebinding), and read runs and artifacts.

    Args:
        pages: the address of MLflow's pages; behind a proxy it has another name.
    """
    hosts = [name for local in (HOST, "localhost") for name in (local, f"{local}:*")]
    address = urlsplit(pages)
    if address.hostname in (None, HOST, "localhost"):
        return {"MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts)}
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join([*hosts, address.netloc]),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": f"{address.scheme}://{address.netloc}",
    }
