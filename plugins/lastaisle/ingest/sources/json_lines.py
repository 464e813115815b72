"""The SQL that reads JSON: a nested value is a text first, so that no other type counts as absent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from data_contracts.privacy import quote

#: A type in the notation of json_transform.
Shape: TypeAlias = Mapping[str, Any] | Sequence[Any] | str

#: Half of a surrogate pair, as JSON escapes it. DuckDB refuses a line in which one stands alone.
_SURROGATE = r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"


def json_object(fields: Mapping[str, Any]) -> str:
    """Return a `prepare` that parses a line of JSON into the struct `doc`, and keeps it as `document`.

    Args:
        fields: the struct; every leaf is VARCHAR. A leaf holds a nested value as JSON text, so a text that
            holds JSON looks the same.
    """
    # The cast removes text that is no JSON: after one error, `try` evaluates 2,048 rows one by one.
    parsed = "SELECT *, 0 AS _sub_row, TRY_CAST(_text AS JSON) AS document FROM lines"
    parsed = f"SELECT *, try(json_transform(document, {_spec(fields)})) AS doc FROM ({parsed})"
    # A name stands twice only where there are more names than values; that costs less than to compare names.
    values = " + ".join(f"(doc.{quote(name)} IS NOT NULL)::INTEGER" for name in fields)
    twice_in = f"CASE WHEN len(json_keys(document)) = ({values}) THEN false ELSE {twice('document')} END"
    return f"SELECT *, {twice_in} AS has_name_twice FROM ({parsed})"


def transform(text: str, shape: Shape) -> str:
    """Return SQL of the struct, list or map that a text holds as JSON; NULL for any other text.

    Args:
        text: the SQL of the text.
        shape: the type. The struct of a list holds only NULLs.
    """
    return f"try(json_transform(TRY_CAST({text} AS JSON), {_spec(shape)}))"


def is_object(text: str) -> str:
    """Return SQL that tells whether a text holds a JSON object."""
    return f"(starts_with(ltrim({text}), '{{') AND json_valid({text}))"


def twice(document: str) -> str:
    """Return SQL that tells whether a name stands twice in a JSON object: two readers may disagree."""
    return f"(array_unique(json_keys({document})) <> len(json_keys({document})))"


def not_json(document: str = "document", has_name_twice: str = "has_name_twice") -> str:
    """Return a `malformed` for lines that are no JSON object, or no clear one.

    The reasons are not_json, lone_surrogate, not_an_object and duplicate_key.

    Args:
        document: the column that holds the line as JSON, NULL for a line that is no JSON.
        has_name_twice: the SQL that tells whether a name stands twice in the line.
    """
    mended = f"regexp_replace(_text, '{_SURROGATE}', 'x', 'g')"
    return f"""CASE
    WHEN {document} IS NULL THEN CASE WHEN json_valid({mended}) THEN 'lone_surrogate' ELSE 'not_json' END
    WHEN NOT starts_with(ltrim(_text), '{{') THEN 'not_an_object'
    WHEN {has_name_twice} THEN 'duplicate_key' END"""


def _spec(shape: Shape) -> str:
    return "'" + json.dumps(shape).replace("'", "''") + "'"
