"""Parameters of DAGs, as the form behind the Trigger button shows them."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param


def optional_param(kind: str, description: str, **limits: Any) -> Param:
    """Return a parameter that may stay empty; its value then comes from the settings.

    Args:
        kind: type in JSON Schema, such as number.
        description: the text beside the form's field.
        **limits: limits in JSON Schema, such as minimum.
    """
    return Param(None, description, type=["null", kind], **limits)
