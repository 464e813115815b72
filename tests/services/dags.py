"""The project's DAGs, read once in a process, in an Airflow folder of their own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Airflow reads these variables at its first import, so the import of this module sets them.
_HOME = tempfile.TemporaryDirectory(prefix="lastaisle-airflow-")
os.environ.setdefault("AIRFLOW_HOME", _HOME.name)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"


@pytest.fixture(scope="session")
def dagbag() -> Any:
    """All DAGs of the project."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(ROOT / "dags"))


@pytest.fixture(params=sorted(path.stem for path in (ROOT / "dags").glob("*.py")))
def dag(request, dagbag) -> Any:
    """A DAG of the project; a test runs once for each DAG."""
    return dagbag.dags[request.param]
