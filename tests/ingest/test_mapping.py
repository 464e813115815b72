"""A mapping turns a shop's own logs into events, and is refused with every place that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.contract import load_contract
from lastaisle.ingest.mapping.document import json_schema
from lastaisle.ingest.mapping.errors import MappingError
from lastaisle.ingest.mapping.json_path import json_pointer
from lastaisle.ingest.mapping.read import read_mapping
from lastaisle.ingest.sources.layout import fitted

RAW = load_contract("raw_events")
BASE = """
name: my_shop
fields:
  event_id: $.id
  event_type: $.action
  occurred_at: $.at
  user_id: $.user
  item_id: $.sku
"""
LINE = {"id": "e1", "action": "item_viewed", "at": "2025-10-09T12:00:00Z", "user": "u1", "sku": "i1"}


@pytest.fixture
def mapped(tmp_path):
    """Return a function that reads a mapping from its text."""

    def read(text: str, name: str = "mapping.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read_mapping(path, RAW)

    return read


@pytest.fixture
def refused(mapped):
    """Return a function that returns the problems of a mapping, by place."""

    def problems(text: str) -> dict[str, str]:
        with pytest.raises(MappingError) as error:
            mapped(text)
        return dict(error.value.problems)

    return problems


def found(shop, *names: str) -> list[tuple]:
    rows = sorted(shop.rows("raw_events"), key=lambda row: (row["source_row"], row["sub_row"]))
    return [
        tuple(row[name].isoformat() if name.endswith("_at") and row[name] else row[name] for name in names)
        for row in rows
    ]


def with_fields(*lines: str) -> str:
    return BASE + "".join(f"  {line}\n" for line in lines)


def test_the_example_of_the_page(shop, mapped):
    """The page's mapping reads the page's lines; both are taken from the page."""
    page = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text(encoding="utf-8")
    log = page.split("```json\n")[1].split("```")[0]
    example = page.split("```yaml\n")[1].split("```")[0]
    report = shop.ingest(shop.write(log.splitlines()), mapped(example))
    assert report.ignored_by_reason == {"newsletter_shown": 1}
    assert found(
        shop, "event_type", "occurred_at", "user_id", "item_id", "price", "currency", "order_id"
    ) == [
        ("item_viewed", "2025-10-09T12:00:00.120000+00:00", "7", "mug-1", 9.9, "EUR", None),
        ("order_completed", "2025-10-09T12:04:11+00:00", "7", "mug-1", 9.9, "EUR", "A-1001"),
        ("order_completed", "2025-10-09T12:04:11+00:00", "7", "cup-2", 4.5, "EUR", "A-1001"),
    ]
    assert [row["format"] for row in shop.rows("batches")] == ["my_shop"]


@pytest.mark.parametrize(
    ("source", "text", "time"),
    [
        ("{path: $.t, time: s}", 1760011200.5, "2025-10-09T12:00:00.500000+00:00"),
        ("{path: $.t, time: ms}", 1760011200123, "2025-10-09T12:00:00.123000+00:00"),
        ("{path: $.t, time: us}", "1760011200123456", "2025-10-09T12:00:00.123456+00:00"),
        ("{path: $.t, time: ns}", 1760011200123456789, "2025-10-09T12:00:00.123456+00:00"),
        ("$.t", "2025-10-09T14:00:00+02:00", "2025-10-09T12:00:00+00:00"),
        ("{path: $.t, zone: Europe/Berlin}", "2025-10-09 14:00:00", "2025-10-09T12:00:00+00:00"),
        ("{path: $.t, zone: Europe/Berlin}", "2025-10-09T12:00:00Z", "2025-10-09T12:00:00+00:00"),
        ("{path: $.t, zone: Europe/Berlin}", "2025-10-09", "2025-10-08T22:00:00+00:00"),
        ("{path: $.t, time: '%d.%m.%Y %H:%M'}", "09.10.2025 12:00", "2025-10-09T12:00:00+00:00"),
        (
            "{path: $.t, time: '%d.%m.%Y %H:%M', zone: Europe/Berlin}",
            "09.10.2025 14:00",
            "2025-10-09T12:00:00+00:00",
        ),
        (
            "{path: $.t, time: '%d/%b/%Y:%H:%M:%S %z'}",
            "09/Oct/2025:14:00:00 +0200",
            "2025-10-09T12:00:00+00:00",
        ),
        (
            "{join: [$.day, $.t], separator: ' ', time: '%d.%m.%Y %H:%M'}",
            "12:00",
            "2025-10-09T12:00:00+00:00",
        ),
    ],
)
def test_times(shop, mapped, source, text, time):
    adapter = mapped(BASE.replace("$.at", source))
    shop.ingest(shop.write([LINE | {"t": text, "day": "09.10.2025"}]), adapter)
    assert found(shop, "occurred_at") == [(time,)]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{path: $.t, time: s}", 1760011200123),
        ("{path: $.t, time: ns}", 9e40),
        ("{path: $.t, time: '%Y-%d-%m'}", "2025-10-31"),
        ("{path: $.t, zone: Europe/Berlin}", "noon"),
    ],
)
def test_a_time_in_another_form_is_quarantined(shop, mapped, source, text):
    shop.ingest(shop.write([LINE | {"t": text}]), mapped(BASE.replace("$.at", source)))
    assert shop.rules() == [["occurred_at_is_timestamp"]]


@pytest.mark.parametrize(
    ("options", "text", "price"),
    [
        ("decimal: ','", "1.290,50", 1290.5),
        ("decimal: ','", "9,9", 9.9),
        ("decimal: ','", "9.90", 9.9),
        ("divide: 100", 990, 9.9),
        ("decimal: ',', divide: 100", "1.990", 19.9),
    ],
)
def test_prices(shop, mapped, options, text, price):
    shop.ingest(shop.write([LINE | {"p": text}]), mapped(with_fields(f"price: {{path: $.p, {options}}}")))
    assert found(shop, "price") == [(price,)]


def test_where_values_come_from(shop, mapped):
    adapter = mapped(
        with_fields(
            "currency: {constant: EUR}",
            "session_id: {join: [$.user, $.visit], separator: '/'}",
            "brand: [$.brand, $.maker.name]",
            "category: $.tags[1].name",
            "device_type: {column: d, values: {phone: mobile, pc: desktop}}",
            "order_id: {path: $.order, only: [order_completed]}",
        )
    )
    full = {
        "visit": 3,
        "maker": {"name": "None"},
        "tags": [{}, {"name": "cups"}],
        "d": "phone",
        "order": "o1",
    }
    shop.ingest(
        shop.write([LINE | full, LINE | {"id": "e2", "action": "order_completed", "order": "o1"}]), adapter
    )
    names = ("currency", "session_id", "brand", "category", "device_type", "order_id")
    assert found(shop, *names) == [
        ("EUR", "u1/3", "None", "cups", "mobile", None),
        ("EUR", None, None, None, None, "o1"),
    ]


def test_event_names(shop, mapped):
    adapter = mapped(BASE + "events: {detail: item_viewed, 7: item_added}\nignored: [ping]\n")
    actions = ["detail", 7, "ping", "ping", "what", None]
    lines = [LINE | {"id": f"e{at}", "action": action} for at, action in enumerate(actions)]
    report = shop.ingest(shop.write(lines), adapter)
    assert found(shop, "event_type") == [("item_viewed",), ("item_added",)]
    assert report.ignored_by_reason == {"ping": 2}
    assert shop.rules() == [["event_type_is_allowed"], ["event_type_is_required"]]


def test_all_other_event_names_may_be_ignored(shop, mapped):
    adapter = mapped(BASE + "events: {detail: item_viewed}\nignored: others\n")
    lines = [
        LINE | {"id": f"e{at}", "action": action} for at, action in enumerate(("detail", "a", "b", None))
    ]
    report = shop.ingest(shop.write(lines), adapter)
    assert (report.rows_clean, report.ignored_by_reason) == (1, {"a": 1, "b": 1})
    assert shop.rules() == [["event_type_is_required"]]


def test_rows_of_a_list(shop, mapped):
    text = BASE.replace("$.sku", "'@.sku'") + "  price: '@.price'\nrows: $.cart.lines[*]\n"
    order = {"id": "e1", "at": LINE["at"], "user": "u1", "action": "item_added"}
    lines = [
        order | {"cart": {"lines": [{"sku": "a", "price": 1}, {"sku": "b"}]}},
        order | {"id": "e2", "cart": {"lines": [{"price": 1}, 5, None]}},
        order | {"id": "e3", "cart": {"lines": {"sku": "a"}}},
        order | {"id": "e4", "cart": {"lines": []}, "action": "page_viewed"},
        order | {"id": "e5", "action": "page_viewed"},
    ]
    shop.ingest(shop.write(lines), mapped(text))
    assert found(shop, "event_id", "item_id", "price") == [
        ("e1:0", "a", 1.0),
        ("e1:1", "b", None),
        ("e4", None, None),
        ("e5", None, None),
    ]
    assert shop.rules() == [
        ["row_without_item_id"],
        ["row_is_no_object"],
        ["row_is_null"],
        ["rows_is_no_list"],
    ]


def test_rows_of_plain_values(shop, mapped):
    text = BASE.replace("$.sku", "'@'") + "rows: $.skus[*]\n"
    shop.ingest(shop.write([LINE | {"skus": ["a", 7]}]), mapped(text))
    assert found(shop, "item_id") == [("a",), ("7",)]


@pytest.mark.parametrize("value", ["null", "NaN", "", "  ", "undefined", "\\N", None])
def test_a_spelling_of_nothing_is_no_value(shop, mapped, value):
    adapter = mapped(BASE.replace("$.user", "[$.user, $.visitor]"))
    shop.ingest(shop.write([LINE | {"user": value, "visitor": "v1"}]), adapter)
    assert found(shop, "user_id") == [("v1",)]


def test_the_shops_own_spelling_of_nothing(shop, mapped):
    adapter = mapped(with_fields("brand: $.brand") + "nothing: ['-', '0']\n")
    shop.ingest(shop.write([LINE | {"brand": "-"}, LINE | {"id": "e2", "sku": "0"}]), adapter)
    assert found(shop, "brand") == [(None,)]
    assert shop.rules() == [["item_event_needs_item_id"]]


@pytest.mark.parametrize("value", [{"x": 1}, [1], []])
def test_a_nested_value_is_not_taken_for_a_text_or_for_nothing(shop, mapped, value):
    shop.ingest(shop.write([LINE | {"user": value}]), mapped(BASE))
    assert shop.rules() == [["user_id_is_nested"]]


@pytest.mark.parametrize("line", ["nope", "[1]", '"text"', '{"id": '])
def test_a_line_that_is_no_object_is_quarantined(shop, mapped, line):
    shop.ingest(shop.write([line]), mapped(BASE))
    assert shop.rules()[0][0] in ("not_json", "not_an_object")


NAMES = [
    "it's",
    'a "b"',
    "$now",
    "a.b",
    "a/b~c",
    "é ☃",
    "x" * 10_000,
    "'; DROP TABLE staged; --",
    "{0}",
    "[1]",
    "\\",
]


@pytest.mark.parametrize("name", NAMES, ids=[name[:12] for name in NAMES])
@pytest.mark.parametrize("input_kind", ["json", "csv"])
def test_any_name_is_only_a_name(shop, mapped, name, input_kind):
    """Nothing from the file reaches SQL as SQL: names, constants, event names and separators."""
    quoted = json.dumps(name, ensure_ascii=False)
    key = json.dumps(name[:900], ensure_ascii=False)  # YAML allows no longer key
    text = f"""
name: my_shop
input: {input_kind}
fields:
  event_id: {{join: [id, at], separator: {quoted}}}
  event_type: action
  occurred_at: at
  user_id: {{column: {quoted}}}
  brand: {{constant: {json.dumps(name[:200], ensure_ascii=False)}}}
  category: {{column: {quoted}, values: {{{key}: {json.dumps(name[:200], ensure_ascii=False)}}}}}
events: {{{key}: item_viewed, view: page_viewed}}
ignored: [{json.dumps(name + "!", ensure_ascii=False)}]
"""
    line = {"id": "e1", "action": "view", "at": LINE["at"], name: "u1"}
    if input_kind == "json":
        lines = [json.dumps(line)]
    else:
        lines = [
            ",".join('"' + key.replace('"', '""') + '"' for key in line),
            ",".join(map(str, line.values())),
        ]
    report = shop.ingest(shop.write(lines), mapped(text))
    if len(name) < 1000:
        assert report.rows_quarantined == 0
        assert found(shop, "user_id", "brand", "event_type") == [("u1", name, "page_viewed")]
    else:
        assert shop.rules() == [["event_id_has_length"]]


CSV = """
name: my_shop
input: csv
fields:
  event_type: Ereignis
  occurred_at: {column: Zeit, time: '%d.%m.%Y %H:%M', zone: Europe/Berlin}
  user_id: Kundennr.
  item_id: Artikel
  price: {column: Preis, decimal: ','}
events: {Ansicht: item_viewed, Korb: item_added}
ignored: [Newsletter]
"""
HEADER = "Kundennr.;Zeit;Ereignis;Artikel;Preis;Notiz"
ROWS = [
    '7;09.10.2025 14:00;Ansicht;"M-1";9,90;"a;b"',
    "7;09.10.2025 14:01;Korb;M-1;1.009,90;",
    "8;09.10.2025 14:02;Newsletter;;;",
]
EVENTS = [
    ("item_viewed", "2025-10-09T12:00:00+00:00", "7", "M-1", 9.9),
    ("item_added", "2025-10-09T12:01:00+00:00", "7", "M-1", 1009.9),
]
COLUMNS = ("event_type", "occurred_at", "user_id", "item_id", "price")


def test_columns_by_their_header(shop, mapped):
    report = shop.ingest(shop.write([HEADER, *ROWS]), mapped(CSV))
    assert found(shop, *COLUMNS) == EVENTS
    assert report.ignored_by_reason == {"Newsletter": 1}


def test_columns_in_a_given_order(shop, mapped):
    columns = "columns: [Kundennr., Zeit, Ereignis, Artikel, Preis, Notiz]\n"
    shop.ingest(shop.write(ROWS), mapped(CSV + columns))
    assert found(shop, *COLUMNS) == EVENTS


def test_columns_of_parquet(shop, mapped):
    names = HEADER.split(";")
    rows = [
        dict(zip(names, row.replace('"a;b"', "x").replace('"', "").split(";"), strict=True)) for row in ROWS
    ]
    pq.write_table(pa.Table.from_pylist(rows), shop.folder / "log.parquet")
    shop.ingest(str(shop.folder / "log.parquet"), mapped(CSV))
    assert found(shop, *COLUMNS) == EVENTS


def test_tabs(shop, mapped):
    lines = [text.replace('"a;b"', "").replace('"', "").replace(";", "\t") for text in (HEADER, *ROWS)]
    shop.ingest(shop.write(lines), mapped(CSV.replace("input: csv", "input: tsv")))
    assert found(shop, *COLUMNS) == EVENTS


@pytest.mark.parametrize("lines", [ROWS, [HEADER.replace("Artikel", "SKU"), *ROWS], ["a;b;c", *ROWS]])
def test_a_file_without_the_needed_header_is_refused(shop, mapped, lines):
    report = shop.ingest(shop.write(lines), mapped(CSV))
    (reason,) = report.files_failed.values()
    assert "Artikel" in reason
    assert shop.rows("quarantine") == []


def test_messages_of_a_topic_have_no_header(mapped):
    """They are objects with the names of the columns, or columns in the given order."""
    objects = fitted(mapped(CSV), ['{"Zeit": "09.10.2025 14:00"}'], header=False)
    assert objects.layout is not None
    assert objects.layout.separator is None
    columns = "columns: [Kundennr., Zeit, Ereignis, Artikel, Preis, Notiz]\n"
    in_order = fitted(mapped(CSV + columns), ROWS, header=False)
    assert in_order.layout is not None
    assert (in_order.layout.separator, in_order.layout.header) == (";", None)


def test_a_changed_mapping_reads_a_known_file_again(shop, mapped):
    path = shop.write([LINE | {"other": "i9"}])
    first = shop.ingest(path, mapped(BASE))
    same = shop.ingest(path, mapped(BASE.replace("name: my_shop", "name: my_shop  # as before")))
    assert (same.files_skipped, same.batches) == (1, first.batches)
    changed = shop.ingest(
        path, mapped(BASE.replace("$.id", "{join: [$.id, $.other]}").replace("$.sku", "$.other"))
    )
    assert changed.files_skipped == 0
    assert changed.batches != first.batches
    assert sorted(row["item_id"] for row in shop.rows("raw_events")) == ["i1", "i9"]


def test_every_field_of_the_contract_can_be_mapped(mapped):
    fields = "".join(f"  {field.name}: $.{field.name}\n" for field in RAW.fields)
    assert set(mapped(f"name: all_of_it\nfields:\n{fields}").fields) == {field.name for field in RAW.fields}


def test_all_problems_are_told_at_once(refused):
    problems = refused("""
name: yoochoose
input: xml
colour: red
rows: $.items
fields:
  evnt_type: x
  event_type: {path: x}
  received_at: {column: t, time: '%Q'}
  price: {constant: abc}
  currency: {constant: E1}
  item_id: '@.x'
  user_id: $.a[*]
  session_id: {join: [a]}
  category: {}
  region: ''
  brand: {column: a, time: ms}
  device_type: {column: d, values: {phone: mobil}}
  quantity: {column: d, only: [sold]}
events: {a: item_veiwed}
""")
    assert set(problems) == {
        *("name", "input", "colour", "rows", "fields", "events.a", "fields.evnt_type", "fields.event_type"),
        *(
            "fields.received_at.time",
            "fields.price.constant",
            "fields.currency.constant",
            "fields.user_id",
            "fields.item_id",
        ),
        *("fields.session_id.join", "fields.category", "fields.region", "fields.brand.time"),
        *("fields.device_type.values.phone", "fields.quantity.only"),
    }
    assert problems["fields.evnt_type"].endswith("do you mean event_type?")
    assert "occurred_at" in problems["fields"]
    assert "event_type_is_allowed" in problems["events.a"]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "document", "nothing"),
        ("[1]", "document", "a list"),
        ("a: [", "line 1, column 5", "YAML"),
        ("name: x\nname: y", "line 2, column 1", "'name' stands twice"),
        ("name: &a x\nfields: *a", "line 2, column 9", "alias"),
        ("? [a]\n: b", "line 1, column 3", "text"),
        ("a: " + "[" * 5000, "document", "deeply"),
        ("x: 1" + " " * (1 << 20), "file", "longer"),
        (BASE.replace("my_shop", "My Shop"), "name", "My Shop"),
        (BASE.replace("my_shop", "canonical"), "name", "packaged"),
        (BASE.replace("my_shop", "sessions"), "name", "packaged"),
        (
            BASE.replace("$.at", "{constant: '2025-10-09T12:00:00Z'}"),
            "fields.occurred_at.constant",
            "same time",
        ),
        (
            BASE.replace("$.at", "{path: $.at, time: ms, zone: UTC}"),
            "fields.occurred_at.zone",
            "no time zone",
        ),
        (BASE.replace("$.at", "{path: $.at, zone: Berlin}"), "fields.occurred_at.zone", "Europe/Berlin"),
        (BASE.replace("$.at", "{path: $.at, time: days}"), "fields.occurred_at.time", "'days'"),
        (BASE.replace("$.sku", "'@.sku'"), "fields.item_id", "rows"),
        (BASE + "separator: ;\n", "document", "csv and tsv"),
        (CSV + "rows: $.a[*]\n", "document", "input json"),
        (CSV.replace("Artikel", "$.a"), "fields.item_id", "column"),
        (CSV + "columns: [Zeit, Ereignis]\n", "fields.price", "not among the columns"),
        (CSV + "columns: [Zeit, Zeit]\n", "document", "twice"),
        (BASE + "events: {a: item_viewed}\nignored: [a]\n", "document", "a"),
        (BASE + 'nothing: ["\\0"]\n', "nothing.0", "NUL"),
        ("name: x\nfields:\n", "fields", "keys and values"),
    ],
)
def test_what_has_no_meaning_is_refused_by_its_place(refused, text, place, words):
    assert words in refused(text)[place]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path, reason in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "directory")):
        with pytest.raises(MappingError, match=reason):
            read_mapping(path, RAW)
    (tmp_path / "latin.yaml").write_bytes("name: caf\xe9".encode("latin-1"))
    with pytest.raises(MappingError, match="UTF-8"):
        read_mapping(tmp_path / "latin.yaml", RAW)


@pytest.mark.parametrize(
    "path", ["$", "$..a", "$.a[*]", "$.a[-1]", "$.a b", "$a", "$.", "$[", "$.a[01]", "$" + ".a" * 33]
)
def test_a_json_path_that_is_none(path):
    with pytest.raises(ValueError, match="JSON path"):
        json_pointer(path)


def test_the_json_schema_on_the_page_is_that_of_the_code():
    page = Path(__file__).parents[2] / "docs" / "mapping.schema.json"
    assert page.read_text(encoding="utf-8") == json_schema()
