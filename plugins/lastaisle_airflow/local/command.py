"""Run a command with the settings of the local services: `python -m ...local.command airflow dags list`.

bin/airflow and bin/mlflow call this module, so that both commands see the data of `make demo` and `make up`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.settings import Settings
from lastaisle.settings.private import create_private_files, make_private
from lastaisle_airflow.local.environment import airflow_home, environment
from lastaisle_airflow.local.secret_holders import MLFLOW_CLIENT, for_process

NEED_DATABASE = ("assets", "backfill", "connections", "dags", "jobs", "pools", "tasks", "variables")


class SetupError(LastaisleError):
    """Airflow's database could not be made ready."""

    exit_code = ExitCode.SERVICE_DOWN


def command_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of the local services, with MLflow's address for MLflow's own command.

    PATH begins with this Python's folder, because `mlflow models serve` starts uvicorn by its name.
    """
    tracking = dict.fromkeys(("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"), settings.registry.mlflow_uri)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**tracking, **environment(settings), "PATH": path}


def run(module: str, arguments: Sequence[str], settings: Settings) -> NoReturn:
    """Replace this process by the command of a module that is installed beside this Python.

    Args:
        module: `airflow` or `mlflow`.
        arguments: the arguments of the command.
        settings: settings with the places of the services' data.
    """
    command = [sys.executable, "-m", module, *arguments]
    variables = command_environment(settings)
    if module == "mlflow":
        variables = for_process(MLFLOW_CLIENT, variables)
    if module == "airflow" and arguments and arguments[0] in NEED_DATABASE:
        set_up_database(settings, variables)
    os.execve(sys.executable, command, variables)


def set_up_database(settings: Settings, variables: Mapping[str, str]) -> None:
    """Make Airflow's own SQLite database and read the DAGs into it, before the first command that needs both.

    Without this, commands such as `backfill create` would end with a traceback before the first `make up`.

    Raises:
        SetupError: a step failed; the error ends with the step's last lines.
    """
    names = ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD")
    if (airflow_home(settings) / "airflow.db").exists() or any(variables.get(name) for name in names):
        return
    sys.stderr.write(f"Setting up the database of Airflow in {airflow_home(settings)}, once ...\n")
    for step in (("lastaisle_airflow.local.airflow.setup",), ("airflow", "dags", "reserialize")):
        done = subprocess.run(
            [sys.executable, "-m", *step], env=variables, capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = "\n  ".join(f"{done.stdout}{done.stderr}".splitlines()[-15:])
            raise SetupError(f"{' '.join(step)} ended with status {done.returncode}:\n  {last}")


def main() -> int:
    """Read the settings, and run the command that the arguments name."""
    if len(sys.argv) < 2:
        sys.stderr.write("name the command: python -m lastaisle_airflow.local.command airflow|mlflow ...\n")
        return 2
    create_private_files()
    try:
        settings = Settings.from_env()
        make_private(settings.home)
        run(sys.argv[1], sys.argv[2:], settings)
    except LastaisleError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
