"""Turn messages into lines: text unchanged, Avro and Protobuf by their schemas, others with a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa

from lastaisle.ingest.kafka.schema import PayloadError
from lastaisle.ingest.kafka.schemas import BY_ID, SINGLE_OBJECT, Schemas
from lastaisle.ingest.reading.lines import MAX_LINE_BYTES, PAYLOAD_BYTES

if TYPE_CHECKING:
    from confluent_kafka import Message

Headers: TypeAlias = "dict[str, str | bytes | None] | list[tuple[str, str | bytes | None]] | None"

CONTRACT_VERSION = "contract-version"
CONTENT_TYPE = "content-type"
SCHEMA = "schema"
SCHEMA_ID = "__value_schema_id"  # Confluent's serializers write it instead of an id before the message
_TEXT_TYPES = ("application/json", "application/x-ndjson", "text/", "application/octet-stream")


class Decoder:
    """Turns messages into payloads and reasons; plain text is handled in bulk.

    Reasons: tombstone (a message without a value), not_utf8, line_too_long, several_lines (text that is no
    JSON), contract_version_unknown (header contract-version has another major version), content_type_unknown
    (header content-type), schema_unknown (the registry has no schema of the id), schema_unreadable (the log
    says why), avro_schema_unknown (the folder has no schema, and there is no registry), avro_undecodable,
    protobuf_undecodable. The payload of such a row is the printable beginning of its message.

    Args:
        contract_version: the version of the contract that judges the rows.
        schemas: the schemas of messages that name one.
    """

    def __init__(self, contract_version: str | None = None, schemas: Schemas | None = None) -> None:
        self.major = None if contract_version is None else contract_version.split(".")[0]
        self.schemas = schemas or Schemas.from_env()

    def decode_messages(self, messages: Sequence[Message]) -> tuple[pa.StringArray, pa.StringArray]:
        """Return the payload and the reason of each message, as `decode` does."""
        return self.decode(
            [message.value() for message in messages], [message.headers() for message in messages]
        )

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
        given = {name.lower(): content for name, content in dict(headers or {}).items()}
        version = _text(given.get(CONTRACT_VERSION))
        if (
            CONTRACT_VERSION in given
            and self.major is not None
            and version.split(".")[0].strip() != self.major
        ):
            return printable(value), "contract_version_unknown"
        content_type = _text(given.get(CONTENT_TYPE)).lower()
        try:
            decoded = self._by_schema(value, content_type, given)
            if decoded is None and not _is_text(content_type):
                return printable(value), "content_type_unknown"
            return _line(value if decoded is None else decoded)
        except PayloadError as error:
            return printable(value), str(error)
        except UnicodeDecodeError:
            return printable(value), "not_utf8"

    def _by_schema(
        self, value: bytes, content_type: str, headers: Mapping[str, str | bytes | None]
    ) -> bytes | None:
        """Return the JSON of a message that names its schema; None if the message names no schema."""
        is_avro = "avro" in content_type
        if headers.get(SCHEMA_ID):
            return self.schemas.decode(value, _bytes(headers[SCHEMA_ID]))
        if is_avro and headers.get(SCHEMA) is not None:
            return self.schemas.decode_avro(_text(headers[SCHEMA]), value)
        if not is_avro and not value.startswith((BY_ID, SINGLE_OBJECT)):
            return None
        try:
            return self.schemas.decode(value)
        except PayloadError:
            # JSON can be read without its schema. If there is a registry, the registry decides.
            if (
                self.schemas.registry
                or value[:1] != BY_ID
                or value[5:6] != b"{"
                or not _is_text(content_type)
            ):
                raise
            return value[5:]


def _line(value: bytes) -> tuple[str, str | None]:
    if len(value) > MAX_LINE_BYTES:
        return printable(value), "line_too_long"
    text = value.decode().rstrip("\r\n")
    if "\n" in text and text.lstrip()[:1] not in ("{", "["):
        return printable(value), "several_lines"
    return text.replace("\r", " ").replace("\n", " "), None


def _is_text(content_type: str) -> bool:
    return not content_type or content_type.startswith(_TEXT_TYPES) or "json" in content_type


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
    odd = (lengths > 0) & (first == BY_ID[0])
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


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
