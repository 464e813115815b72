"""The DagBag and the isolated Airflow of the DAG tests."""

import importlib.util
from pathlib import Path

_path = Path(__file__).resolve().parents[1] / "dags" / "conftest.py"
_spec = importlib.util.spec_from_file_location("dag_fixtures", _path)
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
dagbag = _module.dagbag
