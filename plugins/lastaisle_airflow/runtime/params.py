"""Parameters of DAGs, which the form behind the Trigger button shows."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param


def optional_param(kind: str, description: str, **limits: Any) -> Param:
    """Return a parameter that may stay empty; the settings then give its value.

    Args:
        kind: type in JSON Schema, such as number.
        description: the text beside the form's field.
        **limits: limits in JSON Schema, such as minimum.
    """
    return Param(None, description, type=["null", kind], **limits)
