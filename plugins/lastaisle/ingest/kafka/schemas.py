"""Decode messages by the schemas that they name: schemas of a folder, or of a schema registry."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from lastaisle.ingest.kafka.schema import REGISTRY, PayloadError, Schema, SchemaUnreadableError
from lastaisle.kafka.errors import KafkaSourceError

if TYPE_CHECKING:
    from lastaisle.ingest.kafka.registry import SchemaRegistry

# The readers of Avro and Protobuf and the registry's client are imported when the first message needs them.

FOLDER: Final = "LASTAISLE_AVRO_SCHEMAS"

BY_ID: Final = b"\x00"  # then four bytes of the schema's id in the registry
BY_GUID: Final = b"\x01"  # then 16 bytes of the schema's GUID in the registry; only in headers
SINGLE_OBJECT: Final = b"\xc3\x01"  # then eight bytes of an Avro schema's fingerprint
_ID_BYTES: Final = {BY_ID: 5, BY_GUID: 17}
_KINDS: Final = {".avsc": "AVRO", ".proto": "PROTOBUF", ".json": "JSON"}

Reader: TypeAlias = "Callable[[bytes, int], bytes]"

log = logging.getLogger(__name__)


class Schemas:
    """The schemas of messages. Each schema is read once, when the first message needs it.

    Args:
        folder: holds <id>.avsc, <id>.proto or <id>.json for the ids of a registry, <name>.avsc for names in
            headers, and the files that these schemas import; None if there is no folder.
        registry: is asked for the ids that the folder lacks; None if there is no registry.
    """

    def __init__(self, folder: str | Path | None = None, registry: SchemaRegistry | None = None) -> None:
        self.folder = Path(folder) if folder else None
        self.registry = registry
        self._readers: dict[str | bytes, Reader | str] = {}

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Schemas:
        """Use the folder and the registry that the environment names.

        Raises:
            KafkaSourceError: LASTAISLE_SCHEMA_REGISTRY cannot be used.
        """
        environ = os.environ if environ is None else environ
        registry = None
        if environ.get(REGISTRY):
            from lastaisle.ingest.kafka.registry import SchemaRegistry

            registry = SchemaRegistry.of(environ[REGISTRY])
        return cls(environ.get(FOLDER) or None, registry)

    def decode(self, message: bytes, header: bytes = b"") -> bytes:
        """Return the JSON of a message that names its schema by an id.

        Args:
            message: the message. It begins with the id, unless a header holds the id.
            header: the content of that header: exactly the bytes that would stand before the message.

        Raises:
            PayloadError: the schema is unknown or cannot be used, or the bytes do not fit it.
            KafkaSourceError: the registry gives no answer, or a file of the folder is no schema.
        """
        if header:
            size = _ID_BYTES.get(header[:1], 0)
            if not size or len(header) < size:
                raise PayloadError("schema_unknown")
            return self._reader(header[:size])(header + message, size)
        if message.startswith(SINGLE_OBJECT) and len(message) >= 10:
            return self._reader(self._by_fingerprint.get(message[2:10], ""))(message, 10)
        size = _ID_BYTES[BY_ID]
        if not message.startswith(BY_ID) or len(message) < size:
            raise PayloadError("avro_undecodable")
        return self._reader(message[:size])(message, size)

    def decode_avro(self, name: str, datum: bytes) -> bytes:
        """Return the JSON of an Avro message whose header names a schema of the folder.

        Raises:
            PayloadError: the schema is not in the folder, or the bytes do not fit it.
            KafkaSourceError: the file of the schema is no Avro schema.
        """
        return self._reader(name)(datum, 0)

    def _reader(self, key: str | bytes) -> Reader:
        """Return the reader of a schema, or raise the reason why there is none.

        Args:
            key: the name of an Avro schema, or the bytes of an id.
        """
        reader = self._readers.get(key)
        if reader is None:
            try:
                reader = self._load(key)
            except PayloadError as error:
                reader = str(error)
            self._readers[key] = reader
        if isinstance(reader, str):
            raise PayloadError(reader)
        return reader

    def _load(self, key: str | bytes) -> Reader:
        schema = self._in_folder(key)
        if schema is not None:
            try:
                return _compile(schema)
            except SchemaUnreadableError as error:
                raise KafkaSourceError(str(error)) from error
        if self.registry is None or isinstance(key, str):
            raise PayloadError("avro_schema_unknown")
        try:
            schema = self.registry.find(key)
            if schema is None:
                raise PayloadError("schema_unknown")
            return _compile(schema)
        except SchemaUnreadableError as error:
            log.warning("%s. Its messages go to quarantine with the reason schema_unreadable", error)
            raise PayloadError("schema_unreadable") from error

    def _in_folder(self, key: str | bytes) -> Schema | None:
        if self.folder is None or key[:1] == BY_GUID:
            return None
        name = key if isinstance(key, str) else str(int.from_bytes(key[1:], "big"))
        for ending in (".avsc",) if isinstance(key, str) else _KINDS:
            path = self.folder / f"{name}{ending}"
            if name and path.parent == self.folder and path.is_file():
                return _of_file(path)
        return None

    @cached_property
    def _by_fingerprint(self) -> dict[bytes, str]:
        """The names of the Avro schemas of the folder, by their fingerprints."""
        from lastaisle.ingest.kafka.avro import avro_fingerprint

        names = {}
        for path in sorted(self.folder.glob("*.avsc")) if self.folder else []:
            try:
                names[avro_fingerprint(_of_file(path))] = path.stem
            except SchemaUnreadableError as error:
                raise KafkaSourceError(str(error)) from error
        return names


def _of_file(path: Path) -> Schema:
    """Read a schema, and beside it all files of its kind, which it may import by their names."""
    folder, kind = path.parent, _KINDS[path.suffix]
    imported = {}
    for file in sorted(folder.rglob(f"*{path.suffix}")) if kind != "JSON" else []:
        name = file.relative_to(folder)
        imported[(name if kind == "PROTOBUF" else name.with_suffix("")).as_posix()] = _text(file)
    return Schema(kind, _text(path), imported, str(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KafkaSourceError(f"{path} cannot be read as a schema: {error}") from error


def _compile(schema: Schema) -> Reader:
    """Make the function that turns a message, from the byte after its id, into JSON.

    Raises:
        SchemaUnreadableError: the schema is of an unknown kind, or not valid.
    """
    if schema.kind == "JSON":
        return lambda message, start: message[start:]
    if schema.kind == "AVRO":
        from lastaisle.ingest.kafka.avro import avro_reader

        return avro_reader(schema)
    if schema.kind == "PROTOBUF":
        from lastaisle.ingest.kafka.protobuf import protobuf_reader

        return protobuf_reader(schema)
    raise SchemaUnreadableError(
        f"{schema.origin} is of the kind {schema.kind}; only {', '.join(_KINDS.values())} are read"
    )
