"""One DagBag for all tests of the DAGs, in an Airflow of their own."""

import os
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Before anything imports Airflow, which reads its settings once.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="lastaisle-airflow-"))
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"


@pytest.fixture(scope="session")
def dagbag():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(ROOT / "dags"))


@pytest.fixture(params=sorted(path.stem for path in (ROOT / "dags").glob("*.py")))
def dag(request, dagbag):
    return dagbag.dags[request.param]
