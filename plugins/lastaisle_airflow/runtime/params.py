"""Parameters of DAGs, which the form behind the Trigger button shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from airflow.sdk import Param

from lastaisle.settings import Settings
from lastaisle.settings.federation import AGGREGATION_RULES

# DAG files may not load NumPy, and so not the modules of `models`; a test compares these with them.
ARCHITECTURES: Final = (
    "attention",
    "gru",
    "transformer",
    "hybrid",
    "neighbours",
    "factorization",
    "ncf",
    "ensemble",
)
"""The models that a training learns for services."""
SHARED_ARCHITECTURES: Final = ("attention", "gru", "transformer")
"""The models that silos can learn together."""
HYPERPARAMETERS: Final = {"embedding_size": 128, "epochs": 6, "learning_rate": 0.002}
"""The defaults of the hyperparameters that have a field of their own in a form."""


def optional_param(
    kind: str, description: str, *, default: Any = None, empty: Any = None, **limits: Any
) -> Param:
    """Return a parameter that may stay empty; the settings then give its value.

    Args:
        kind: type in JSON Schema, such as number.
        description: the text beside the form's field.
        default: the value with which the form opens.
        empty: the value that an empty field stands for; the text beside the field names it.
        **limits: limits in JSON Schema, such as minimum.
    """
    stands_for = "" if empty is None else f" Empty: {empty}, as in the settings."
    return Param(default, f"{description}{stands_for}", type=["null", kind], **limits)


def choice_param(names: Sequence[str], description: str, *, empty: str) -> Param:
    """Return a parameter that is chosen from a list of names, or taken from the settings.

    Args:
        names: the names.
        description: the text beside the list.
        empty: the name that the settings give; the list shows it as its first entry.
    """
    shown = {"null": f"as in the settings: {empty}"}  # a key "None" would name all entries of the list
    return Param(None, description, type=["null", "string"], enum=[None, *names], values_display=shown)


def training_defaults(settings: Settings) -> Mapping[str, Any]:
    """Return the hyperparameters of a full training that have a field of their own, by the settings."""
    given = settings.training_options()
    return {name: given.get(name, default) for name, default in HYPERPARAMETERS.items()}


def federated_training_params(settings: Settings) -> dict[str, Param]:
    """Return the parameters of a federated training, with the settings' values in the texts of the form."""
    shared = {
        name: param
        for name, param in full_training_params(settings).items()
        if name not in ("epochs", "learning_rate", "architecture")
    }
    chosen = settings.federation
    return {
        "rounds": optional_param("integer", "Rounds of silos.", empty=chosen.rounds, minimum=1, maximum=1000),
        "aggregation": choice_param(
            AGGREGATION_RULES, "How updates of silos become one.", empty=chosen.aggregation
        ),
        "architecture": choice_param(SHARED_ARCHITECTURES, "The model.", empty="gru"),
        **shared,
    }


def full_training_params(settings: Settings) -> dict[str, Param]:
    """Return the parameters of a full training, with the settings' values in the texts of the form."""
    learning, defaults = settings.learning, training_defaults(settings)
    return {
        "window_hours": optional_param(
            "number",
            "Length of the window in hours.",
            empty=f"{learning.full_window_hours:g}",
            exclusiveMinimum=0,
        ),
        "half_life_hours": optional_param(
            "number",
            "Age in hours at which a session weighs one half.",
            empty=f"{learning.full_half_life_hours:g}",
            exclusiveMinimum=0,
        ),
        "epochs": optional_param(
            "integer", "Passes over the window.", empty=defaults["epochs"], minimum=1, maximum=100
        ),
        "embedding_size": optional_param(
            "integer",
            "Length of an item's vector.",
            empty=defaults["embedding_size"],
            minimum=8,
            maximum=1024,
        ),
        "learning_rate": optional_param(
            "number", "Step size of Adam.", empty=defaults["learning_rate"], exclusiveMinimum=0, maximum=1
        ),
        "architecture": choice_param(ARCHITECTURES, "The model.", empty=learning.architecture),
        "hyperparameters": optional_param(
            "object", 'Other hyperparameters by their names: {"layers": 2, "loss": "bpr_max"}.'
        ),
        "data_end": optional_param("string", "Read no events from this moment on (UTC).", format="date-time"),
        "allow_older": Param(
            False,
            type="boolean",
            description="Let a training with data_end replace a champion of newer hours.",
        ),
    }
