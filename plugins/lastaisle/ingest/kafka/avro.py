"""Turn Avro payloads into lines of JSON, by the schemas of a folder."""

from __future__ import annotations

import base64
import io
import json
import os
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from functools import cached_property
from pathlib import Path
from typing import Any

from fastavro import schemaless_reader
from fastavro.repository.base import SchemaRepositoryError
from fastavro.schema import (
    SchemaParseException,
    UnknownType,
    fingerprint,
    load_schema,
    to_parsing_canonical_form,
)

from lastaisle.kafka.errors import KafkaSourceError

VARIABLE = "LASTAISLE_AVRO_SCHEMAS"
CONFLUENT = b"\x00"  # then four bytes of the schema's id
SINGLE_OBJECT = b"\xc3\x01"  # then eight bytes of the schema's fingerprint

#: The errors of fastavro for bytes that do not fit the schema.
_BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
    struct.error,
)


class AvroError(ValueError):
    """A message cannot be decoded; the text of the error is the reason in quarantine."""


class AvroSchemas:
    """The schemas of a folder: <id>.avsc for a schema registry's ids, <name>.avsc for names in headers.

    A schema is read when the first message needs it.

    Args:
        folder: the folder of the files; None if there is none.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder else None
        self._readers: dict[str, Callable[[io.BytesIO], Any]] = {}

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> AvroSchemas:
        """Use the folder that LASTAISLE_AVRO_SCHEMAS names."""
        return cls((os.environ if environ is None else environ).get(VARIABLE) or None)

    def decode(self, value: bytes, name: str | None = None) -> str:
        """Return the message as one line of JSON.

        Args:
            value: the message, which begins with the id of a registry or with a fingerprint.
            name: the name of the schema, for a message without id and fingerprint.

        Raises:
            AvroError: the schema is not in the folder, or the bytes do not fit it.
            KafkaSourceError: the file of a schema is no Avro schema.
        """
        if name is not None:
            return self._line(name, value)
        if value.startswith(SINGLE_OBJECT) and len(value) >= 10:
            return self._line(self._by_fingerprint.get(value[2:10], ""), value[10:])
        if value.startswith(CONFLUENT) and len(value) >= 5:
            return self._line(str(int.from_bytes(value[1:5], "big")), value[5:])
        raise AvroError("avro_undecodable")

    def _line(self, name: str, datum: bytes) -> str:
        read = self._readers.get(name) or self._load(name)
        stream = io.BytesIO(datum)
        try:
            line = _ENCODER.encode(read(stream))
        except _BROKEN as error:
            raise AvroError("avro_undecodable") from error
        if stream.tell() != len(datum):
            raise AvroError("avro_undecodable")
        return line

    def _load(self, name: str) -> Callable[[io.BytesIO], Any]:
        path = None if self.folder is None else self.folder / f"{name}.avsc"
        if not name or path is None or path.parent != self.folder or not path.is_file():
            raise AvroError("avro_schema_unknown")
        schema = _parse(path)
        self._readers[name] = lambda stream: schemaless_reader(stream, schema, None)
        return self._readers[name]

    @cached_property
    def _by_fingerprint(self) -> dict[bytes, str]:
        """The names of the schemas, by the little-endian Rabin fingerprint of their canonical form."""
        names = {}
        for path in sorted(self.folder.glob("*.avsc")) if self.folder else []:
            canonical = to_parsing_canonical_form(_parse(path))
            names[bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))] = path.stem
        return names


def _parse(path: Path) -> Any:
    """Load a schema and the schemas that it names, which lie in the same folder."""
    try:
        return load_schema(str(path))
    except (SchemaRepositoryError, SchemaParseException, UnknownType, ValueError, KeyError) as error:
        raise KafkaSourceError(f"{path} is no Avro schema: {error or type(error).__name__}") from error


def _as_json(value: object) -> object:
    """Return a value without a JSON type as text: times in UTC and ISO 8601."""
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


_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, default=_as_json)
