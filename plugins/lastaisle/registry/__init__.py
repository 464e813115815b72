"""Versions: MLflow runs, training plans, and the ledger of every move."""

import os

# MLflow reads these variables when it is imported, so they are set before any module here imports it.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
}.items():
    os.environ.setdefault(_name, _value)
