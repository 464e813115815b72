"""Parameters of DAGs, which the form behind the Trigger button shows."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param


def optional_param(kind: str, description: str, *, default: Any = None, **limits: Any) -> Param:
    """Return a parameter that may stay empty; the settings then give its value.

    Args:
        kind: type in JSON Schema, such as number.
        description: the text beside the form's field.
        default: the value with which the form opens.
        **limits: limits in JSON Schema, such as minimum.
    """
    return Param(default, description, type=["null", kind], **limits)
