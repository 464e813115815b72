"""Turn Avro messages into JSON."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from typing import Any

from fastavro import schemaless_reader
from fastavro.repository.base import AbstractSchemaRepository, SchemaRepositoryError
from fastavro.schema import (
    SchemaParseException,
    UnknownType,
    fingerprint,
    load_schema,
    to_parsing_canonical_form,
)

from lastaisle.ingest.kafka.schema import PayloadError, Schema, SchemaUnreadableError, as_json

#: The errors of fastavro for bytes that do not fit the schema.
_BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
_MAIN = ""  # the name of the schema itself, beside the names of the schemas that it refers to


def avro_reader(schema: Schema) -> Callable[[bytes, int], bytes]:
    """Make the function that decodes a message, from a byte on.

    Raises:
        SchemaUnreadableError: the text is no Avro schema, or a type that it names is missing.
    """
    parsed = _parse(schema)

    def read(message: bytes, start: int) -> bytes:
        stream = io.BytesIO(message)
        stream.seek(start)
        try:
            line = as_json(schemaless_reader(stream, parsed, None))
        except _BROKEN as error:
            raise PayloadError("avro_undecodable") from error
        if stream.tell() != len(message):
            raise PayloadError("avro_undecodable")
        return line

    return read


def avro_fingerprint(schema: Schema) -> bytes:
    """Return the little-endian Rabin fingerprint of a schema's canonical form.

    Raises:
        SchemaUnreadableError: see `avro_reader`.
    """
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(_parse(schema)), "CRC-64-AVRO"))


class _Texts(AbstractSchemaRepository):
    """Finds the types that a schema names, by the names of the imported texts or of the types in them."""

    def __init__(self, schema: Schema) -> None:
        self.texts = {_type_name(text): text for text in schema.imported.values()}
        self.texts |= {**schema.imported, _MAIN: schema.text}

    def load(self, name: str) -> Any:
        """Return the schema of a name."""
        if name not in self.texts:
            raise SchemaRepositoryError(f"the type {name} is defined nowhere")
        return json.loads(self.texts[name])


def _type_name(text: str) -> str:
    """Return the full name of the type that a schema defines; empty if it defines none."""
    try:
        schema = json.loads(text)
    except ValueError:
        return _MAIN
    if not isinstance(schema, dict) or not isinstance(schema.get("name"), str):
        return _MAIN
    name, namespace = schema["name"], schema.get("namespace")
    return f"{namespace}.{name}" if namespace and "." not in name else name


def _parse(schema: Schema) -> Any:
    try:
        return load_schema(_MAIN, repo=_Texts(schema))
    except (
        SchemaRepositoryError,
        SchemaParseException,
        UnknownType,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
    ) as error:
        raise SchemaUnreadableError(
            f"{schema.origin} is no Avro schema: {error or type(error).__name__}"
        ) from error
