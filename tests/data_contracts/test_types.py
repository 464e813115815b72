"""Text becomes a typed value, or nothing."""

import duckdb
import pytest

from data_contracts import load_contract

CASES = {
    "quantity": {
        "3": 3,
        "+3": 3,
        " 3 ": 3,
        "3.0": 3,
        "-1": -1,
        "3.5": None,
        "1e3": None,
        "0x10": None,
        "1_000": None,
        "9999999999": None,
        "three": None,
        "": None,
    },
    "price": {
        "9.90": 9.9,
        "-1": -1.0,
        "1e3": 1000.0,
        "inf": float("inf"),
        "9,90": None,
        "EUR 9": None,
        "": None,
    },
    "consent_analytics": {
        "true": True,
        "False": False,
        "1": True,
        "0": False,
        "yes": True,
        "maybe": None,
        "": None,
    },
    "occurred_at": {
        "2025-10-09T12:00:00.120Z": "2025-10-09 12:00:00.12+00",
        "2025-10-09T14:00:00+02:00": "2025-10-09 12:00:00+00",
        "2025-10-09 12:00:00": "2025-10-09 12:00:00+00",
        "2025-13-09T12:00:00Z": None,
        "epoch": None,
        "infinity": None,
        "1760000000": None,
        "yesterday": None,
        "0001-01-01T00:00:00Z": "0001-01-01 00:00:00+00",
        "0001-01-01T00:00:00+14:00": None,
        "0000-00-00 00:00:00": None,
        "0000-01-01 00:00:00": None,
        "0044-03-15 (BC) 12:00:00": None,
        "1000-01-01 (BC) 00:00:00": None,
        "2025-10-09 (bc)": None,
        "1000-01-01T00:00:00Z": "1000-01-01 00:00:00+00",
        "2999-12-31T23:59:59-14:00": "3000-01-01 13:59:59+00",
        "1-01-1 00:00:00+14:00": None,
        "10-1-1 00:00:00": "0010-01-01 00:00:00+00",
        " 2025-10-09T12:00:00Z": "2025-10-09 12:00:00+00",
        "2025-02-29T12:00:00Z": None,
        "20250-01-01T00:00:00Z": None,
        "9999-12-31T23:59:59.999999Z": "9999-12-31 23:59:59.999999+00",
        "9999-12-31T23:59:59-14:00": None,
        "10000-01-01T00:00:00Z": None,
        "57820-07-05 10:13:20": None,
        "294247-01-10T04:00:54Z": None,
    },
    "item_id": {"": "", "i42": "i42"},
}


@pytest.mark.parametrize("name", CASES)
def test_text_is_parsed_strictly(name):
    field = load_contract("raw_events").field(name)
    shown = f"({field.parse_sql()})" + ("::VARCHAR" if field.logical_type == "timestamp" else "")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = {
            text: connection.execute(
                f'SELECT {shown} FROM (SELECT $text AS "{name}")', {"text": text}
            ).fetchone()[0]
            for text in CASES[name]
        }
    assert found == CASES[name]
