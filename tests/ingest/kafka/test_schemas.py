"""Messages by the schemas of a registry: Confluent's own serializers write them, the decoder reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass

from data_contracts.contract import load_contract
from lastaisle.ingest.job import Ingestion
from lastaisle.ingest.kafka.drain import Drain, drain
from lastaisle.ingest.kafka.payloads import Decoder
from lastaisle.ingest.kafka.registry import SchemaRegistry
from lastaisle.ingest.kafka.schemas import Schemas
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.sources import adapter
from lastaisle.kafka.errors import KafkaSourceError
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from tests.services.registry import Registry, serve_registry

PRICE = """
syntax = "proto3";
package parts;
message Price { double amount = 1; string currency = 2; }
"""
SHOP = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/type/date.proto";
import "confluent/meta.proto";
import "parts/price.proto";

enum Kind { item_viewed = 0; order_completed = 1; }
message Ignored { map<string, string> labels = 1; message Deeper { int32 n = 1; } }
message Event {
  message Consent { bool analytics = 1; optional bool personalization = 2; }
  string event_id = 1 [(confluent.field_meta).doc = "who"];
  Kind event_type = 2;
  google.protobuf.Timestamp occurred_at = 3;
  int64 dwell_ms = 4;
  optional int32 quantity = 5;
  double price = 6;
  Consent consent = 7;
  bytes token = 8;
  map<string, int64> counts = 9;
  repeated string tags = 10;
  oneof who { string user_id = 11; string session_id = 12; }
  google.protobuf.StringValue brand = 13;
  parts.Price paid = 14;
  google.type.Date day = 15;
  optional string region = 16;
  string item_id = 17;
}
"""
FILES = {"parts/price.proto": PRICE, "shop.proto": SHOP}
EVENT = {
    "event_id": "é-1",
    "event_type": "order_completed",
    "occurred_at": "2025-10-09T12:00:00.120Z",
    "dwell_ms": "9007199254740993",
    "quantity": 0,
    "price": 9.5,
    "consent": {"analytics": True, "personalization": False},
    "token": "/w==",
    "counts": {"a": "1"},
    "tags": ["x", "y"],
    "session_id": "",
    "brand": "",
    "paid": {"amount": 1.25, "currency": "EUR"},
    "day": {"year": 2025},
    "region": "",
    "item_id": "item",
}


@pytest.fixture(scope="module")
def types(tmp_path_factory) -> DescriptorPool:
    """The Python classes of the Protobuf files, as protoc makes them for a sender."""
    folder = tmp_path_factory.mktemp("protobuf")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "confluent").mkdir()
    (folder / "confluent" / "meta.proto").write_text(
        'syntax = "proto3"; package confluent; import "google/protobuf/descriptor.proto";'
        "message Meta { string doc = 1; }"
        "extend google.protobuf.FieldOptions { Meta field_meta = 1088; }"
    )
    site = Path(pytest.__file__).parents[1]  # the folder of installed packages
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"-I{site}"]
    command += [f"-I{site / 'grpc_tools' / '_proto'}", "--include_imports"]
    subprocess.run([*command, f"--descriptor_set_out={folder / 'set'}", "shop.proto"], check=True)
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString((folder / "set").read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@pytest.fixture
def registry():
    with serve_registry() as served:
        yield served


@pytest.fixture
def client(registry) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": registry.url})


@pytest.fixture
def decoder(registry) -> Decoder:
    return Decoder("1.0.0", Schemas(registry=quick(registry.url)))


def quick(url: str, **settings) -> SchemaRegistry:
    return SchemaRegistry({"url": url, "max.retries": 0, "timeout": 5} | settings)


def context(headers=None) -> SerializationContext:
    return SerializationContext("clicks", MessageField.VALUE, headers)


def protobuf_bytes(types, client, row=None, name="shop.Event", headers=None, **conf) -> bytes:
    kind = GetMessageClass(types.FindMessageTypeByName(name))
    if headers is not None:
        conf["schema.id.serializer"] = header_schema_id_serializer
    message = ParseDict(EVENT if row is None else row, kind(), descriptor_pool=types)
    return ProtobufSerializer(kind, client, conf)(message, context(headers))


def one(decoder: Decoder, value: bytes | None, headers=None) -> tuple[str, str | None]:
    payload, reason = decoder.decode([value], [headers])
    return payload[0].as_py(), reason[0].as_py()


def read(decoder: Decoder, value: bytes, headers=None) -> dict:
    line, reason = one(decoder, value, headers)
    assert reason is None
    return json.loads(line)


@pytest.mark.parametrize("as_text", [True, False], ids=["text", "base64"])
@pytest.mark.parametrize("in_header", [False, True], ids=["prefix", "header"])
def test_protobuf_becomes_json_by_the_files_of_the_registry(
    types, registry, client, decoder, as_text, in_header
):
    headers = [] if in_header else None
    value = protobuf_bytes(types, client, headers=headers)
    assert len(registry.schemas) == 2  # the file and the file that it imports; Google's are known
    if as_text:
        registry.texts = {"clicks-value": SHOP, "parts/price.proto": PRICE}
    assert read(decoder, value, headers) == EVENT


def test_an_unset_field_is_absent_but_an_unset_bool_is_no_and_an_unset_enum_its_first_name(
    types, client, decoder
):
    row = {"event_id": "1", "consent": {}}
    expected = {
        "event_id": "1",
        "event_type": "item_viewed",
        "consent": {"analytics": False},
        "counts": {},
        "tags": [],
    }
    assert read(decoder, protobuf_bytes(types, client, row)) == expected


@pytest.mark.parametrize(
    ("name", "row", "indexes"),
    [
        ("shop.Ignored", {"labels": {"a": "b"}}, b"\x00"),
        ("shop.Event", {"event_id": "1"}, b"\x02\x02"),
        ("shop.Event.Consent", {"analytics": True}, b"\x04\x02\x00"),
        ("shop.Ignored.Deeper", {"n": 3}, b"\x04\x00\x02"),
    ],
)
def test_the_indexes_name_the_message_type(types, client, decoder, name, row, indexes):
    value = protobuf_bytes(types, client, row, name)
    assert value[5 : 5 + len(indexes)] == indexes
    assert read(decoder, value).items() >= row.items()


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"\x02\x08",
        b"\x02\x01",
        b"\x01",
        b"\x80\x80",
        b"\x04\x02\x0a",
        b"\x02\x02\x0a\x05ab",
        b"\x02\x02\xff",
    ],
    ids=["none", "outside", "negative", "size", "cut", "nested", "short", "bytes"],
)
def test_bytes_that_do_not_fit_the_schema_go_to_quarantine(types, client, decoder, tail):
    value = protobuf_bytes(types, client)
    assert one(decoder, value[:5] + tail)[1] == "protobuf_undecodable"


CLICK = {
    "type": "record",
    "name": "Click",
    "namespace": "shop",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
JSON_SCHEMA = {"title": "Click", "type": "object", "properties": {"event_id": {"type": "string"}}}


@pytest.mark.parametrize("in_header", [False, True], ids=["prefix", "header"])
def test_avro_and_json_schema_are_read_by_the_registry(client, decoder, in_header):
    conf = {"schema.id.serializer": header_schema_id_serializer} if in_header else {}
    row = {"event_id": "é\n1", "occurred_at": datetime(2025, 10, 9, tzinfo=UTC)}
    headers = [] if in_header else None
    value = AvroSerializer(client, json.dumps(CLICK), conf=conf)(row, context(headers))
    assert read(decoder, value, headers) == row | {"occurred_at": "2025-10-09T00:00:00Z"}
    headers = [] if in_header else None
    value = JSONSerializer(json.dumps(JSON_SCHEMA), client, conf=conf)({"event_id": "é\n1"}, context(headers))
    assert read(decoder, value, headers) == {"event_id": "é\n1"}


def test_avro_finds_the_types_that_lie_under_another_subject(registry, client, decoder):
    price = {
        "type": "record",
        "name": "Price",
        "namespace": "parts",
        "fields": [{"name": "n", "type": "int"}],
    }
    registry.register("price", {"schema": json.dumps(price)})
    text = json.dumps(CLICK | {"fields": [{"name": "paid", "type": "parts.Price"}]})
    for name in ("parts.Price", "price of the shop"):
        references = [{"name": name, "subject": "price", "version": 1}]
        number = registry.register("clicks-value", {"schema": text, "references": references})["id"]
        assert read(decoder, b"\0" + number.to_bytes(4, "big") + b"\x0e") == {"paid": {"n": 7}}


def test_each_id_is_asked_for_once_even_if_it_is_unknown(types, registry, client, decoder):
    known = protobuf_bytes(types, client)
    unknown = b"\0\0\0\0\x07" + known[5:]
    registry.questions.clear()
    _, reason = decoder.decode([known, unknown] * 50, [None] * 100)
    assert reason.to_pylist() == [None, "schema_unknown"] * 50
    assert sorted(registry.questions) == [
        "/schemas/ids/101",
        "/schemas/ids/7",
        "/subjects/parts%2Fprice.proto/versions/1?deleted=true",
    ]


@pytest.mark.parametrize(
    ("value", "headers", "expected"),
    [
        (b'\0\0\0\0\x07{"event_id": "1"}', None, "schema_unknown"),
        (b"{}", [("__value_schema_id", b"\x01" + bytes(16))], "schema_unknown"),
        (b"{}", [("__value_schema_id", b"\x01short")], "schema_unknown"),
        (b"{}", [("__value_schema_id", b"\0\0")], "schema_unknown"),
        (b"{}", [("__value_schema_id", b"7")], "schema_unknown"),
        (b"{}", [("__value_schema_id", None)], None),
        (b"\0\0", None, "avro_undecodable"),
    ],
)
def test_an_id_that_the_registry_lacks_goes_to_quarantine(decoder, value, headers, expected):
    assert one(decoder, value, headers)[1] == expected


def test_a_guid_is_unknown_to_a_registry_that_has_no_guids(registry, decoder):
    registry.has_guids = False
    assert one(decoder, b"{}", [("__value_schema_id", b"\x01" + bytes(16))])[1] == "schema_unknown"


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (
            {"schemaType": "PROTOBUF", "schema": 'syntax = "proto3"; message A {'},
            "no Protobuf schema: line:1",
        ),
        ({"schemaType": "PROTOBUF", "schema": 'syntax = "proto3"; import "b.proto";'}, "b.proto"),
        ({"schemaType": "AVRO", "schema": '{"type": "recrod", "name": "A"}'}, "no Avro schema"),
        ({"schemaType": "AVRO", "schema": "["}, "no Avro schema"),
        ({"schemaType": "THRIFT", "schema": "struct A {}"}, "kind THRIFT"),
        (
            {
                "schemaType": "PROTOBUF",
                "schema": 'syntax = "proto3"; message A {}',
                "references": [{"name": "b.proto", "subject": "gone", "version": 3}],
            },
            "no version 3 of gone",
        ),
    ],
)
def test_a_schema_that_cannot_be_used_sends_its_messages_to_quarantine(
    registry, decoder, caplog, given, word
):
    number = registry.register("clicks-value", given)["id"]
    value = b"\0" + number.to_bytes(4, "big") + b"\0"
    assert [one(decoder, value)[1] for _ in range(2)] == ["schema_unreadable"] * 2
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert word in record.getMessage()
    assert registry.url in record.getMessage()


def test_a_reference_outside_the_folder_is_refused(registry, decoder, tmp_path):
    registry.register("b", {"schemaType": "PROTOBUF", "schema": PRICE})
    for name in ("../b.proto", str(tmp_path / "b.proto")):
        given = {"schemaType": "PROTOBUF", "schema": SHOP}
        given["references"] = [{"name": name, "subject": "b", "version": 1}]
        number = registry.register("clicks-value", given)["id"]
        assert one(decoder, b"\0" + number.to_bytes(4, "big") + b"\0")[1] == "schema_unreadable"
    assert not list(tmp_path.iterdir())


def test_files_of_a_folder_are_read_like_those_of_a_registry(types, client, tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name.replace("shop", "7")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "8.json").write_text(json.dumps(JSON_SCHEMA))
    decoder = Decoder(None, Schemas(tmp_path))
    assert read(decoder, b"\0\0\0\0\x07" + protobuf_bytes(types, client)[5:]) == EVENT
    assert one(decoder, b"\0\0\0\0\x08[1,\n2]") == ("[1, 2]", None)
    (tmp_path / "9.proto").write_text("message")
    with pytest.raises(KafkaSourceError, match=r"9\.proto is no Protobuf schema"):
        one(decoder, b"\0\0\0\0\x09\0")


def test_a_field_of_an_edition_is_absent_if_it_was_not_set(registry, decoder):
    text = """
    edition = "2023"; package shop; option features.field_presence = IMPLICIT;
    message A { int32 n = 1; string s = 2; bool b = 3; repeated int32 many = 4; }
    """
    number = registry.register("a", {"schemaType": "PROTOBUF", "schema": text})["id"]
    assert read(decoder, b"\0" + number.to_bytes(4, "big") + b"\0\x12\x01x") == {
        "s": "x",
        "b": False,
        "many": [],
    }


def test_a_decoded_message_may_not_be_longer_than_a_line(registry, decoder):
    text = 'syntax = "proto3"; message A { repeated bool flags = 1; }'
    number = registry.register("a", {"schemaType": "PROTOBUF", "schema": text})["id"]
    value = b"\0" + number.to_bytes(4, "big") + b"\0\x0a\xc0\x84\x3d" + b"\x01" * 1_000_000
    assert one(decoder, value)[1] == "line_too_long"


def test_the_environment_names_the_registry_and_the_user(registry, client, types, monkeypatch, caplog):
    caplog.set_level("DEBUG")
    value = protobuf_bytes(types, client)
    registry.user = "shop:correct horse"
    address = registry.url.removeprefix("http://")
    for text in (
        f"http://shop:correct%20horse@{address}/",
        json.dumps({"url": registry.url, "basic.auth.user.info": registry.user}),
    ):
        monkeypatch.setenv("LASTAISLE_SCHEMA_REGISTRY", text)
        assert read(Decoder(), value)["event_id"] == "é-1"
    assert "horse" not in caplog.text.replace(text, "")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("registry:8081", "should be the URL"),
        ("mock://secret", "should be the URL"),
        ("http://[secret", "should be the URL"),
        ("http://secret:secret@host:port", "should be the URL"),
        ('{"url": "http://a", "password": "secret"}', "Unrecognized properties: password"),
        ('{"url": "http://a", "basic.auth.user.info": "secret"}', "must be in the form"),
        ('{"user": "secret"}', "should be the URL"),
        ('{"secret', "not JSON"),
        ('{"url": "http://a", "ssl.ca.location": "/nowhere"}', "No such file"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_without_showing_them(text, word):
    with pytest.raises(KafkaSourceError, match="LASTAISLE_SCHEMA_REGISTRY") as caught:
        Schemas.from_env({"LASTAISLE_SCHEMA_REGISTRY": text})
    assert word in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_registry_that_gives_no_answer_is_an_error_and_not_a_reason(registry):
    value = b"\0\0\0\0\x07x"
    registry.user = "shop:horse"
    for url, word in (
        ("http://127.0.0.1:1", "refused"),
        (registry.url, "Unauthorized"),
        (f"{registry.url}/other", "404"),
    ):
        if word == "404":
            registry.user = ""
        with pytest.raises(KafkaSourceError, match=word) as caught:
            one(Decoder(None, Schemas(registry=quick(url))), value)
        assert f"cannot ask the schema registry for schema 7 of {url}" in str(caught.value)
        assert "Nothing of this range was ingested" in str(caught.value)


def test_three_kinds_of_messages_of_one_topic_reach_the_tables(
    topic, send, connection, registry, client, types, decoder, tmp_path
):
    row = {"event_type": "item_viewed", "occurred_at": "2025-10-09T12:00:00Z", "user_id": "u", "item_id": "i"}
    refused = {"event_id": "p1", "consent": {"analytics": True}, "quantity": 2, **row}
    headers: list[tuple[str, bytes]] = []
    in_header = protobuf_bytes(types, client, row | {"event_id": "p2"}, headers=headers)
    by_json_schema = JSONSerializer(json.dumps(JSON_SCHEMA), client)(row | {"event_id": "j1"}, context())
    send(topic, [protobuf_bytes(types, client, refused)])
    send(topic, [in_header], headers=headers)
    send(topic, [by_json_schema, b"\0\0\0\0\x07x"])
    lake = Lake(tmp_path / "lake")
    job = Ingestion(
        lake,
        adapter("canonical"),
        load_contract("raw_events"),
        IngestOptions(gx_sample_rows=0),
        PseudonymKeys.load_or_create(tmp_path / "keys.json", environ={}),
    )
    down = Decoder("1.0.0", Schemas(registry=quick("http://127.0.0.1:1")))
    with pytest.raises(KafkaSourceError, match="cannot ask the schema registry"):
        drain([topic], Drain(connection, job, down))
    assert lake.table("raw_events") is lake.table("quarantine") is lake.table("batches") is None
    report = drain([topic], Drain(connection, job, decoder))
    assert (report.rows_in, report.rows_clean, report.rows_quarantined) == (4, 3, 1)
    assert lake.scan("quarantine")["rules"].to_pylist() == [["schema_unknown"]]
    kept = {row["event_id"]: row for row in lake.scan("raw_events").to_pylist()}
    assert {(row["item_id"], row["occurred_at"]) for row in kept.values()} == {
        ("i", datetime(2025, 10, 9, 12, tzinfo=UTC))
    }
    assert [kept[name]["quantity"] for name in ("p1", "p2", "j1")] == [2, None, None]
    assert [kept[name]["price"] for name in ("p1", "p2", "j1")] == [None] * 3
    assert kept["p1"]["consent_analytics"] is True


def test_an_unset_bool_of_a_consent_is_never_taken_for_a_yes(types, client, decoder):
    row = {"event_id": "1", "consent": {"personalization": False}}
    assert read(decoder, protobuf_bytes(types, client, row))["consent"] == {
        "analytics": False,
        "personalization": False,
    }


def test_the_client_of_the_registry_is_not_loaded_for_json(registry: Registry):
    code = "import sys; from lastaisle.ingest.kafka.drain import Drain; assert 'httpx2' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_schema_registered_by_hand_is_read(client, decoder):
    number = client.register_schema("by hand", Schema(json.dumps(JSON_SCHEMA), "JSON"))
    assert read(decoder, b"\0" + number.to_bytes(4, "big") + b'{"event_id": "1"}') == {"event_id": "1"}
