"""One schema of messages, and the errors of a schema and of a message."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Final

REGISTRY: Final = "LASTAISLE_SCHEMA_REGISTRY"


class PayloadError(ValueError):
    """A message cannot be decoded; the text of the error is the reason in quarantine."""


class SchemaUnreadableError(ValueError):
    """A schema cannot be used; the text of the error names the schema and says why."""


@dataclass(frozen=True)
class Schema:
    """One schema, as its author wrote it.

    Attributes:
        kind: AVRO, JSON or PROTOBUF; a registry may name other kinds.
        text: the schema.
        imported: by name, the schemas that the text or one of these schemas may refer to.
        origin: the file of the schema, or the registry and the id; for messages to people.
    """

    kind: str
    text: str
    imported: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""


def as_json(row: object) -> bytes:
    """Return a decoded message as one line of JSON. Times are text in UTC and ISO 8601."""
    return _ENCODER.encode(row).encode()


def _as_text(value: object) -> object:
    """Return a value without a JSON type as text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return str(value)  # a Decimal or a UUID


_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, default=_as_text)
