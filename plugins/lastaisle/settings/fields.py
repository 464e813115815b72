"""Declare settings: each field names its variable, default, bounds, unit and description."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

PREFIX: Final = "LASTAISLE_"
_SIGNS: Final = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def setting(
    variable: str,
    default: Any,
    description: str,
    *,
    unit: str = "",
    shown_default: str = "",
    expected: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    pattern: str | None = None,
) -> Any:
    """Declare one setting.

    Args:
        variable: name of the environment variable without LASTAISLE_.
        default: value where the variable is missing or empty.
        description: plain text for the documentation.
        unit: unit of the value, such as hours.
        shown_default: the default in words, where another setting decides it.
        expected: the allowed values in words, where the type and the bounds do not say them.
        ge: the value is at least this.
        gt: the value is more than this.
        le: the value is at most this.
        lt: the value is less than this.
        pattern: a regular expression that the whole text matches; `expected` says it in words.
    """
    extra: JsonDict = {"unit": unit, "shown_default": shown_default, "expected": expected}
    return Field(
        default,
        validation_alias=PREFIX + variable,
        description=description,
        json_schema_extra=extra,
        ge=ge,
        gt=gt,
        le=le,
        lt=lt,
        pattern=pattern,
    )


class Section(BaseModel):
    """Settings that belong together; each field has one environment variable.

    A section that is built in code reads no environment: only `read` does.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        str_strip_whitespace=True,
        validate_default=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def variables(cls) -> dict[str, FieldInfo]:
        """Return the fields of this section by the names of their variables."""
        return {variable_of(field): field for field in cls.model_fields.values()}

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the values that an environment holds for this section, by variable, without empty ones."""
        given = {name: environ.get(name, "").strip() for name in cls.variables()}
        return {name: text for name, text in given.items() if text}


def variable_of(field: FieldInfo) -> str:
    """Return the name of a field's environment variable."""
    return str(field.validation_alias)


def extra_of(field: FieldInfo, name: str) -> str:
    """Return `unit`, `shown_default` or `expected` of a field; empty where it has none."""
    extra = field.json_schema_extra
    return str(extra.get(name, "")) if isinstance(extra, dict) else ""


def is_secret(field: FieldInfo) -> bool:
    """Tell whether the value of a field must never be shown."""
    return field.annotation is SecretStr


def expected_value(field: FieldInfo) -> str:
    """Describe the values that a field takes, such as "a whole number of at least 1"."""
    if text := extra_of(field, "expected"):
        return text
    if get_origin(field.annotation) is Literal:
        return " or ".join(str(value) for value in get_args(field.annotation) if value)
    kind = (
        "a whole number" if field.annotation is int else "a number" if field.annotation is float else "a text"
    )
    bounds = bounds_of(field)
    return f"{kind} of {bounds}" if bounds else kind


def bounds_of(field: FieldInfo) -> str:
    """Return the bounds of a number in words, such as "at least 0 and at most 1"; empty where it has none."""
    bounds = [
        f"{text} {getattr(bound, sign):.12g}"
        for bound in field.metadata
        for sign, text in _SIGNS.items()
        if getattr(bound, sign, None) is not None
    ]
    return " and ".join(bounds)


def json_object(text: str, *, of_texts: bool = False) -> dict[str, Any]:
    """Read a JSON object; an empty text is an empty object.

    Raises:
        ValueError: the text is not a JSON object, or a value of the object should be a text and is not. The
            message never holds the text, since the text may be a secret.
    """
    try:
        value = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg} at position {error.pos}") from None
    if not isinstance(value, dict):
        raise ValueError("it is JSON, but no object")
    if of_texts and not all(isinstance(item, str) for item in value.values()):
        raise ValueError("it has a value that is no text")
    return value
