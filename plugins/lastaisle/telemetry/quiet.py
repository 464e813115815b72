"""Keep the notes of libraries out of the logs of tasks."""

from __future__ import annotations

import logging
from typing import Final

#: Libraries that tell of their own work at level INFO: Great Expectations writes 200 lines while it loads,
#: Alembic a line for each migration of MLflow's database, botocore a line for each place of credentials,
#: OpenLineage a line for each event of a task.
#: MLflow and TensorFlow set their levels while they load, so `registry.runs` and `models.tensorflow_import`
#: quieten them.
LIBRARIES: Final = (
    "aiobotocore",
    "airflow.providers.openlineage",
    "alembic",
    "botocore",
    "great_expectations",
    "openlineage",
)


def quiet_libraries() -> None:
    """Let libraries log only warnings and errors. This loads none of them."""
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
