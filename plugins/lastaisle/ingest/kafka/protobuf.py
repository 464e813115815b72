"""Turn Protobuf messages into JSON, as Protobuf's own JSON mapping does: int64 and times as text."""

from __future__ import annotations

import base64
import importlib.util
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from confluent_kafka.schema_registry.confluent import meta_pb2
from confluent_kafka.schema_registry.confluent.type import decimal_pb2, variant_pb2
from confluent_kafka.schema_registry.confluent.types import decimal_pb2 as old_decimal_pb2
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import SerializationError
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FeatureSet,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, SerializeToJsonError
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from lastaisle.ingest.kafka.schema import PayloadError, Schema, SchemaUnreadableError, as_json

_MAIN: Final = "schema_of_the_message.proto"
_COMPILER_SECONDS: Final = 60.0
#: Files that Confluent's registry knows without a reference, beside Google's.
_OF_CONFLUENT: Final = tuple(
    module.DESCRIPTOR for module in (meta_pb2, decimal_pb2, old_decimal_pb2, variant_pb2)
)
#: The errors of protobuf for bytes that do not fit the schema, or for a value without JSON.
_BROKEN = (
    DecodeError,
    SerializationError,
    SerializeToJsonError,
    EOFError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)
#: The types of fields whose unset value means something: no, and the first name of an enum.
_TELLING: Final = (FieldDescriptorProto.TYPE_BOOL, FieldDescriptorProto.TYPE_ENUM)
_OF_MESSAGES: Final = (FieldDescriptorProto.TYPE_MESSAGE, FieldDescriptorProto.TYPE_GROUP)


def protobuf_reader(schema: Schema) -> Callable[[bytes, int], bytes]:
    """Make the function that decodes a message with the id of its schema before it.

    After the id stand the indexes that say which message type of the file is meant. Field names stay as in
    the file. A field that the sender did not set is absent. A bool or an enum of proto3 without `optional`
    is never absent: `false` and the first name of the enum are not sent, so they cannot be told from unset.

    Raises:
        SchemaUnreadableError: the text is no Protobuf schema, or a file that it imports is missing.
    """
    pool = DescriptorPool()
    try:
        for file in _compiled(schema).file:
            _make_optional(file)
            pool.AddSerializedFile(file.SerializeToString())
        main = pool.FindFileByName(_MAIN)
    except (TypeError, KeyError, DecodeError) as error:
        raise SchemaUnreadableError(f"{schema.origin} is no Protobuf schema: {error}") from error
    types: dict[tuple[int, ...], type[Message]] = {}

    def read(message: bytes, _: int) -> bytes:
        try:
            name = SchemaId("PROTOBUF")
            stream = name.from_bytes(io.BytesIO(message))
            path = tuple(name.message_indexes or ())
            if path not in types:
                types[path] = GetMessageClass(_message_type(main, path))
            row = MessageToDict(
                types[path].FromString(stream.read()),
                always_print_fields_with_no_presence=True,
                preserving_proto_field_name=True,
                descriptor_pool=pool,
            )
            return as_json(row)
        except _BROKEN as error:
            raise PayloadError("protobuf_undecodable") from error

    return read


def _message_type(main: FileDescriptor, path: Iterable[int]) -> Descriptor:
    """Return the message type at a path of indexes: the first among the file's, the others among the nested.

    Raises:
        ValueError: there is no such message type.
    """
    file = FileDescriptorProto()
    main.CopyToProto(file)
    names = [file.package] if file.package else []
    messages = file.message_type
    for index in path:
        if not 0 <= index < len(messages):
            raise ValueError(f"no message type {index} among {len(messages)}")
        names.append(messages[index].name)
        messages = messages[index].nested_type
    return main.pool.FindMessageTypeByName(".".join(names))


def _compiled(schema: Schema) -> FileDescriptorSet:
    """Compile the text by protoc, in a process of its own; imported files come first.

    Raises:
        SchemaUnreadableError: protoc refuses the text.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = folder / "sources"
        known = FileDescriptorSet(file=map(_descriptor, _OF_CONFLUENT))
        for path, text in {**schema.imported, _MAIN: schema.text}.items():
            compiled = _serialized(text)
            if compiled is not None:
                compiled.name = path
                known.file.append(compiled)
                continue
            file = sources / path
            if ".." in file.parts or not file.is_relative_to(sources):
                raise SchemaUnreadableError(f"{schema.origin} imports {path!r}, which is no path in a folder")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        (folder / "known").write_bytes(known.SerializeToString())
        compiler = [sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={folder / 'known'}"]
        paths = [f"--proto_path={path}" for path in (sources, *_paths_of_google())]
        output = ["--include_imports", f"--descriptor_set_out={folder / 'compiled'}", _MAIN]
        try:
            run = subprocess.run(
                [*compiler, *paths, *output],
                capture_output=True,
                text=True,
                check=False,
                timeout=_COMPILER_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise SchemaUnreadableError(
                f"{schema.origin} was not compiled within {_COMPILER_SECONDS:.0f} seconds"
            ) from None
        if run.returncode:
            why = run.stderr.replace(f"{sources}/", "").replace(_MAIN, "line").strip().rstrip(".")[-1000:]
            why = why or f"protoc ended with {run.returncode}"
            raise SchemaUnreadableError(f"{schema.origin} is no Protobuf schema: {why}")
        return FileDescriptorSet.FromString((folder / "compiled").read_bytes())


def _descriptor(file: FileDescriptor) -> FileDescriptorProto:
    return FileDescriptorProto.FromString(file.serialized_pb)


def _serialized(text: str) -> FileDescriptorProto | None:
    """Return the file that a text holds in base64, as some clients register files; None for other texts."""
    try:
        return FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (ValueError, DecodeError):
        return None


def _paths_of_google() -> list[str]:
    """Return the folders of google/protobuf/*.proto and google/type/*.proto."""
    places = [
        Path(place)
        for name in ("grpc_tools", "google.type")
        if (spec := importlib.util.find_spec(name))
        for place in spec.submodule_search_locations or ()
    ]
    return [str(place / "_proto" if place.name == "grpc_tools" else place.parents[1]) for place in places]


def _make_optional(file: FileDescriptorProto) -> None:
    """Make a number or a text without `optional` optional: then zero is not made of an unset field.

    The bytes of a message stay the same. Bools and enums are left as they are.
    """
    if file.name.startswith("google/protobuf/") or file.syntax not in ("proto3", "editions"):
        return
    for message in _messages(file.message_type):
        for field in message.field:
            if (
                field.label == FieldDescriptorProto.LABEL_REPEATED
                or field.HasField("oneof_index")
                or field.type in _TELLING + _OF_MESSAGES
            ):
                continue
            if file.syntax == "editions":
                field.options.features.field_presence = FeatureSet.EXPLICIT
            else:
                field.proto3_optional = True
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field.number}_if_sent")


def _messages(messages: Iterable[DescriptorProto]) -> Iterator[DescriptorProto]:
    """Yield message types and the types nested in them, without the entries of maps."""
    for message in messages:
        if not message.options.map_entry:
            yield message
        yield from _messages(message.nested_type)
