"""The addresses of MLflow's pages, in the view for model training.

Without the parameter `workflowType` MLflow opens its view for generative AI, which shows no metrics of a run.
MLflow's short address of a run, `#/runs/ID`, loses the parameter. So the address of a run names an
experiment.

Each function takes the base address of MLflow (LASTAISLE_MLFLOW_UI). With an empty base the address is
relative to MLflow's own pages. Descriptions in MLflow use that, because MLflow may have several addresses.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

_VIEW: Final = "workflowType=machine_learning"
#: The name under which the columns of the run list are stored; see lastaisle.registry.run_list.
RUN_LIST: Final = "lastaisle"
#: The experiment that every MLflow has.
ANY_EXPERIMENT: Final = "0"


def first_page(base: str) -> str:
    """Return the address of the list of all experiments."""
    return _address(base, "experiments")


def run_list_page(base: str, experiment_id: str) -> str:
    """Return the address of an experiment's runs, with decision, version and metrics as columns."""
    return _address(base, "experiments", experiment_id, "runs", more=f"&viewStateShareKey={RUN_LIST}")


def run_page(base: str, run_id: str, experiment_id: str = ANY_EXPERIMENT) -> str:
    """Return the address of a run.

    MLflow shows the run under any experiment; its own experiment also leads on to the runs beside it.
    """
    return _address(base, "experiments", experiment_id, "runs", run_id)


def artifact_page(base: str, experiment_id: str, run_id: str, path: str) -> str:
    """Return the address of an artifact of a run."""
    return _address(base, "experiments", experiment_id, "runs", run_id, "artifacts", *path.split("/"))


def model_page(base: str, model_name: str) -> str:
    """Return the address of a registered model, with all its versions."""
    return _address(base, "models", model_name)


def version_page(base: str, model_name: str, version: str) -> str:
    """Return the address of a version of a registered model."""
    return _address(base, "models", model_name, "versions", version)


def _address(base: str, *path: str, more: str = "") -> str:
    return f"{base}/#/{'/'.join(quote(part, safe='') for part in path)}?{_VIEW}{more}".removeprefix("/")
