"""Airflow reads the DAG files every few seconds in many processes: none may load a heavy library."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"tensorflow", "keras", "mlflow", "great_expectations", "pandas", "duckdb", "deltalake", "matplotlib"}
PROGRAM = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder=sys.argv[1])
print(json.dumps({"dags": sorted(bag.dags), "errors": bag.import_errors, "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LAZY_LOAD_PLUGINS": "False",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT / "dags")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_all_dags_are_read(parsed):
    assert parsed["errors"] == {}
    assert parsed["dags"] == sorted(path.stem for path in (ROOT / "dags").glob("*.py"))


def test_no_heavy_library_is_loaded(parsed):
    assert HEAVY & set(parsed["modules"]) == set()


def test_airflow_does_not_execute_the_packages_under_plugins(parsed):
    """It would register each module by its bare name, so that it exists twice."""
    ours = [
        *(ROOT / "plugins" / "lastaisle").rglob("*.py"),
        *(ROOT / "plugins" / "lastaisle_airflow").rglob("*.py"),
    ]
    bare = {path.stem for path in ours} - sys.stdlib_module_names - {"__init__", "__main__"}
    assert bare & set(parsed["modules"]) == set()
    assert "lastaisle_airflow.runtime.links" in parsed["modules"], "by their full names they are importable"
