"""Whatever a message holds becomes one line, or a reason; nothing raises and nothing is lost."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pytest
from fastavro import schemaless_writer
from fastavro.schema import fingerprint, to_parsing_canonical_form
from hypothesis import given, settings
from hypothesis import strategies as st

from lastaisle.ingest.kafka.client import read_range, watermarks
from lastaisle.ingest.kafka.payloads import Decoder
from lastaisle.ingest.kafka.ranges import plan
from lastaisle.ingest.kafka.schemas import Schemas
from lastaisle.kafka.errors import KafkaSourceError

CLICK = {
    "type": "record",
    "name": "Click",
    "namespace": "shop",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "received_at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
        {"name": "price", "type": ["null", "double"], "default": None},
    ],
}
ROW = {
    "event_id": "é-1",
    "occurred_at": datetime(2025, 10, 9, 12, 0, 0, 120_000, tzinfo=UTC),
    "received_at": None,
    "price": 9.5,
}
LINE = {"event_id": "é-1", "occurred_at": "2025-10-09T12:00:00.120000Z", "received_at": None, "price": 9.5}


def datum(schema=CLICK, row=ROW) -> bytes:
    out = io.BytesIO()
    schemaless_writer(out, schema, row)
    return out.getvalue()


@pytest.fixture
def schemas(tmp_path) -> Schemas:
    (tmp_path / "7.avsc").write_text(json.dumps(CLICK))
    (tmp_path / "click.avsc").write_text(json.dumps(CLICK | {"doc": "not part of the fingerprint"}))
    return Schemas(tmp_path)


def one(decoder: Decoder, value: bytes | None, headers=None) -> tuple[str, str | None]:
    payload, reason = decoder.decode([value], [headers])
    return payload[0].as_py(), reason[0].as_py()


CONFLUENT = b"\x00\x00\x00\x00\x07"
SINGLE = b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(CLICK), "CRC-64-AVRO"))
BY_HEADER = [("content-type", b"avro/binary"), ("schema", b"click")]


@pytest.mark.parametrize(
    ("prefix", "headers"),
    [(CONFLUENT, None), (SINGLE, None), (b"", BY_HEADER)],
    ids=["id", "object", "header"],
)
def test_avro_becomes_json_three_ways(schemas, prefix, headers):
    line, reason = one(Decoder("1.0.0", schemas), prefix + datum(), headers)
    assert (json.loads(line), reason) == (LINE, None)


def test_the_fingerprint_is_that_of_the_avro_specification():
    assert fingerprint(to_parsing_canonical_form("int"), "CRC-64-AVRO") == (
        0x7275D51A3F395C8F.to_bytes(8, "little").hex()
    )


@pytest.mark.parametrize(
    ("value", "headers", "expected"),
    [
        (b"\x00\x00\x00\x00\x08" + datum(), None, "avro_schema_unknown"),
        (b"\xc3\x01" + b"8 bytes!" + datum(), None, "avro_schema_unknown"),
        (datum(), [("content-type", b"avro/binary"), ("schema", b"../secret")], "avro_schema_unknown"),
        (datum(), [("content-type", b"avro/binary")], "avro_undecodable"),
        (CONFLUENT + datum()[:-1], None, "avro_undecodable"),
        (CONFLUENT + datum() + b"x", None, "avro_undecodable"),
        (b"\x00\x00", None, "avro_undecodable"),
        (b"{}", [("contract-version", b"2.0.0")], "contract_version_unknown"),
        (b"{}", [("contract-version", b"newest")], "contract_version_unknown"),
        (b"{}", [("Contract-Version", b"1.9.3")], None),
        (b"{}", [("content-type", b"application/x-protobuf")], "content_type_unknown"),
        (b"{}", [("content-type", b"application/json; charset=utf-8")], None),
        (b"{}", [("content-type", b"application/cloudevents+json")], None),
        (b"{}", [("trace", b"\xff"), ("empty", None)], None),
    ],
)
def test_every_unusable_message_gets_its_reason(schemas, value, headers, expected):
    line, reason = one(Decoder("1.2.0", schemas), value, headers)
    assert reason == expected
    assert line


def test_json_behind_the_id_of_a_schema_registry_is_json(schemas):
    decoder = Decoder(None, schemas)
    assert one(decoder, b'\x00\x00\x00\x00\x09{"event_id": "1"}') == ('{"event_id": "1"}', None)
    assert one(decoder, b"\x00\x00\x00\x00\x09{\xff")[1] == "not_utf8"


def test_without_a_folder_of_schemas_avro_is_unknown(monkeypatch):
    monkeypatch.delenv("LASTAISLE_AVRO_SCHEMAS", raising=False)
    assert one(Decoder(), CONFLUENT + datum())[1] == "avro_schema_unknown"


def test_the_environment_names_the_folder_of_schemas(schemas, monkeypatch):
    monkeypatch.setenv("LASTAISLE_AVRO_SCHEMAS", str(schemas.folder))
    assert one(Decoder(), CONFLUENT + datum())[1] is None


def test_a_file_that_is_no_schema_is_an_error_and_not_a_reason(schemas):
    (schemas.folder / "8.avsc").write_text('{"type": "recrod", "name": "Click"}')
    with pytest.raises(KafkaSourceError, match=r"8\.avsc is no Avro schema"):
        one(Decoder(None, schemas), b"\x00\x00\x00\x00\x08rest")


def test_logical_types_become_text(tmp_path):
    fields = {
        "day": ("int", "date", date(2025, 10, 9), "2025-10-09"),
        "key": ("string", "uuid", UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        "local": ("long", "local-timestamp-millis", datetime(2025, 10, 9, 12), "2025-10-09T12:00:00"),
        "nanos": ("long", "timestamp-millis", datetime(2025, 10, 9, tzinfo=UTC), "2025-10-09T00:00:00Z"),
    }
    types = {name: {"type": kind, "logicalType": logical} for name, (kind, logical, _, _) in fields.items()}
    types["price"] = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    types["text"] = types["noise"] = "bytes"
    schema = {
        "type": "record",
        "name": "All",
        "fields": [{"name": name, "type": kind} for name, kind in types.items()],
    }
    (tmp_path / "7.avsc").write_text(json.dumps(schema))
    row = {name: value for name, (_, _, value, _) in fields.items()}
    row |= {"price": Decimal("9.90"), "text": "é".encode(), "noise": b"\xff"}
    line, reason = one(Decoder(None, Schemas(tmp_path)), CONFLUENT + datum(schema, row))
    expected = {name: text for name, (_, _, _, text) in fields.items()}
    assert reason is None
    assert json.loads(line) == expected | {"price": "9.90", "text": "é", "noise": "/w=="}


@settings(max_examples=300, deadline=None)
@given(
    messages=st.lists(
        st.one_of(
            st.none(),
            st.binary(max_size=40),
            st.text(max_size=40).map(str.encode),
            st.binary(max_size=40).map(lambda tail: CONFLUENT + tail),
            st.binary(max_size=40).map(lambda tail: b"\xc3\x01" + tail),
        ),
        max_size=8,
    )
)
def test_no_message_is_lost_with_any_content(messages, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    (folder / "7.avsc").write_text(json.dumps(CLICK))
    decoder = Decoder("1.0.0", Schemas(folder))
    payload, reason = decoder.decode(messages, [None] * len(messages))
    assert payload.type == reason.type == pa.string()
    assert len(payload) == len(reason) == len(messages)
    assert payload.null_count == 0
    for value, line, why in zip(messages, payload.to_pylist(), reason.to_pylist(), strict=True):
        assert (one(decoder, value)) == (line, why)  # its neighbours change nothing
        if why is None:
            assert "\n" not in line


def test_avro_and_json_are_read_from_one_topic(topic, send, connection, schemas):
    send(topic, [b'{"event_id": "json"}', CONFLUENT + datum(), SINGLE + datum()])
    send(topic, [datum()], headers=BY_HEADER)
    send(topic, [b"{}"], headers=[("contract-version", b"2.0.0")])
    (span,) = plan(watermarks(connection, [topic]), {}).ranges
    reading = read_range(connection, span, Decoder("1.0.0", schemas))
    rows = [row for batch in reading for row in batch.to_pylist()]
    assert [row["reason"] for row in rows] == [None, None, None, None, "contract_version_unknown"]
    assert [json.loads(row["payload"]) for row in rows[1:4]] == [LINE] * 3
