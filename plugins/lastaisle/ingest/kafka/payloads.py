"""Turn messages into lines: JSON and text unchanged, Avro by its schema, other messages with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from lastaisle.ingest.kafka.avro import CONFLUENT, SINGLE_OBJECT, AvroError, AvroSchemas
from lastaisle.ingest.lines import MAX_LINE_BYTES, PAYLOAD_BYTES

Headers: TypeAlias = "dict[str, str | bytes | None] | list[tuple[str, str | bytes | None]] | None"

CONTRACT_VERSION = "contract-version"
CONTENT_TYPE = "content-type"
SCHEMA = "schema"
_TEXT_TYPES = ("application/json", "application/x-ndjson", "text/", "application/octet-stream")


class Decoder:
    """Turns messages into payloads and reasons; plain text is handled in bulk.

    Reasons: tombstone (a message without a value), not_utf8, line_too_long, several_lines (text that is no
    JSON), contract_version_unknown (header contract-version has another major version), content_type_unknown
    (header content-type), avro_schema_unknown, avro_undecodable. The payload of such a row is the printable
    beginning of its message.

    Args:
        contract_version: the version of the contract that judges the rows.
        schemas: the schemas of Avro messages.
    """

    def __init__(self, contract_version: str | None = None, schemas: AvroSchemas | None = None) -> None:
        self.major = None if contract_version is None else contract_version.split(".")[0]
        self.schemas = schemas or AvroSchemas.from_env()

    def decode(
        self, values: Sequence[bytes | None], headers: Sequence[Headers]
    ) -> tuple[pa.StringArray, pa.StringArray]:
        """Return the payload and the reason of each message; the reason is NULL for a usable one."""
        array = pa.array(values, pa.binary())
        text = _as_text(array)
        odd = set(_odd_rows(array))
        if any(headers):
            odd.update(index for index, given in enumerate(headers) if given)
        if text is not None and not odd:
            return text, pa.nulls(len(values), pa.string())
        if text is None:
            odd.update(index for index, value in enumerate(values) if _is_broken(value))
        lines = list(values)
        reasons: list[str | None] = [None] * len(values)
        for index in odd:
            line, reasons[index] = self._decode_one(values[index], headers[index])
            lines[index] = line.encode("utf-8", "replace")
        return pa.array(lines, pa.binary()).cast(pa.string()), pa.array(reasons, pa.string())

    def _decode_one(self, value: bytes | None, headers: Headers) -> tuple[str, str | None]:
        if value is None:
            return "", "tombstone"
        by_name = {name.lower(): _text(given) for name, given in dict(headers or {}).items()}
        version = by_name.get(CONTRACT_VERSION)
        if version is not None and self.major is not None and version.split(".")[0].strip() != self.major:
            return printable(value), "contract_version_unknown"
        try:
            return self._line(value, by_name.get(CONTENT_TYPE, "").lower(), by_name.get(SCHEMA))
        except AvroError as error:
            return printable(value), str(error)
        except UnicodeDecodeError:
            return printable(value), "not_utf8"

    def _line(self, value: bytes, content_type: str, schema: str | None) -> tuple[str, str | None]:
        is_avro = "avro" in content_type
        if is_avro or value.startswith((CONFLUENT, SINGLE_OBJECT)):
            try:
                return self.schemas.decode(value, schema if is_avro else None), None
            except AvroError:
                if not value.startswith(CONFLUENT) or value[5:6] != b"{":
                    raise
                value = value[5:]  # a schema registry's id before JSON
        if content_type and not content_type.startswith(_TEXT_TYPES) and "json" not in content_type:
            return printable(value), "content_type_unknown"
        if len(value) > MAX_LINE_BYTES:
            return printable(value), "line_too_long"
        text = value.decode().rstrip("\r\n")
        if "\n" in text and text.lstrip()[:1] not in ("{", "["):
            return printable(value), "several_lines"
        return text.replace("\r", " ").replace("\n", " "), None


def printable(value: bytes) -> str:
    """Return the beginning of any bytes as text, with escapes for bytes that are no UTF-8."""
    return value[:PAYLOAD_BYTES].decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def _as_text(array: pa.BinaryArray) -> pa.StringArray | None:
    try:
        return array.cast(pa.string())
    except pa.ArrowInvalid:
        return None


def _odd_rows(array: pa.BinaryArray) -> list[int]:
    """Return the rows that are not a single line of text: usually few, or all rows of a batch of Avro."""
    data = np.frombuffer(array.buffers()[2] or b"", np.uint8)
    offsets = np.frombuffer(array.buffers()[1], np.int32)
    if not len(data):
        return list(range(len(array)))
    starts, lengths = offsets[:-1], np.diff(offsets)
    first, second = (data[np.minimum(starts + step, len(data) - 1)] for step in (0, 1))
    odd = (lengths > 0) & (first == CONFLUENT[0])
    odd |= (lengths > 1) & (first == SINGLE_OBJECT[0]) & (second == SINGLE_OBJECT[1])
    odd |= lengths > MAX_LINE_BYTES
    if array.null_count:
        odd |= array.is_null().to_numpy(zero_copy_only=False)
    breaks = np.flatnonzero(data == 10)
    if len(breaks):
        odd[np.searchsorted(offsets, breaks, side="right") - 1] = True
    return np.flatnonzero(odd).tolist()


def _is_broken(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return True
    return False


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value or ""
