"""How MLflow shows the runs of an experiment: which columns, and in which order.

MLflow's own columns are source, models and datasets, and no setting changes them. MLflow keeps columns under
a name in a tag of the experiment, and an address may ask for that name (see lastaisle.registry.links). So the
experiment gets the columns that tell what became of each run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from lastaisle.registry.links import RUN_LIST, model_page, run_list_page
from lastaisle.registry.tags import DECISION, STATE_NOW, VERSION
from models.evaluation.objectives import NEXT_ITEM

if TYPE_CHECKING:
    from lastaisle.registry.registry import Registry

#: The metrics that matter, of the lists that services show: how good they are, and how much of the shop.
METRICS: Final = ("recall_at_20", "precision_at_20", "mrr_at_20", "coverage_at_20")
#: How much of the champion's lists the version changes.
CHURN: Final = "churn_at_20"
VIEW: Final = f"mlflow.sharedViewState.{RUN_LIST}"
NOTE: Final = MLFLOW_RUN_NOTE  # the same name for experiments
KIND: Final = "mlflow.experimentKind"
TRAINING: Final = "custom_model_development"
_FIRST: Final = {"attributes.`Run Name`": 190, "runDateAndNestInfo": 120}


def show_decisions(registry: Registry) -> None:
    """Give the experiment of a registry the columns of its run list, and a description that links to them.

    A description and a kind that people chose stay.
    """
    experiment_id = registry.experiment_id
    held = registry.experiment_tags()
    wanted = {
        KIND: held.get(KIND, TRAINING),
        NOTE: held.get(NOTE) or note(experiment_id, registry.model_name),
        VIEW: view(registry.served),
    }
    for name, value in wanted.items():
        if held.get(name) != value:
            registry.set_experiment_tag(name, value)


def columns(served: str) -> list[str]:
    """Return the names of MLflow's columns, the most important first.

    Args:
        served: the objective whose lists services show; its metrics decide.
    """
    prefix = "" if served == NEXT_ITEM else f"{served}."
    metrics = [*(f"{prefix}{name}" for name in METRICS), CHURN]
    return [
        *(f"tags.`{name}`" for name in (DECISION, VERSION, STATE_NOW)),
        *(f"metrics.`{name}`" for name in metrics),
    ]


def view(served: str) -> str:
    """Return the columns as MLflow's pages read them, with order and widths, and the order of the runs."""
    shown = columns(served)
    widths = {name: 70 if name == f"tags.`{VERSION}`" else 130 for name in shown}
    return json.dumps(
        {
            "selectedColumns": shown,
            "columnOrder": [*_FIRST, *shown],
            "columnWidths": {**_FIRST, **widths},
            "orderByKey": "attributes.start_time",
            "orderByAsc": False,
        }
    )


def note(experiment_id: str, model_name: str) -> str:
    """Return the description of the experiment, which links to the columns and to the versions."""
    return (
        f"Each run is one training. [All runs with decision, version and metrics]"
        f"({run_list_page('', experiment_id)}) · [All versions]({model_page('', model_name)})"
    )
