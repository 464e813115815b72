"""Run a command with the settings of the local services: `python -m ...local.command airflow dags list`.

bin/airflow and bin/mlflow call this module, so that both commands see the data of `make demo` and `make up`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lastaisle.errors import LastaisleError
from lastaisle.settings import Settings
from lastaisle_airflow.local.airflow_environment import environment


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
    os.execve(sys.executable, command, command_environment(settings))


def main() -> int:
    """Read the settings, and run the command that the arguments name."""
    if len(sys.argv) < 2:
        sys.stderr.write("name the command: python -m lastaisle_airflow.local.command airflow|mlflow ...\n")
        return 2
    try:
        run(sys.argv[1], sys.argv[2:], Settings.from_env())
    except LastaisleError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
