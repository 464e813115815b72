"""Texts that programs write for a missing value are no value."""

from __future__ import annotations

import duckdb
import pytest

from lastaisle.ingest.sources.adapter import present

NOTHING = [
    "",
    " ",
    "\t",
    "\u00a0",
    "NULL",
    "null",
    " Null ",
    "\\N",
    "None",
    "NaN",
    "-nan",
    "NaT",
    "N/A",
    "NA",
]
NOTHING += ["#N/A", "<NA>", "undefined", "(null)", "nil", "\ufeffnull"]


def read(text: str | None) -> str | None:
    query = f"SELECT {present('x')} FROM (SELECT $1::VARCHAR AS x)"
    return duckdb.execute(query, [text]).fetchall()[0][0]


@pytest.mark.parametrize("text", [*NOTHING, None])
def test_a_spelling_of_nothing_is_no_value(text):
    assert read(text) is None


@pytest.mark.parametrize(
    "text", ["0", "5", " 5", "nullable", "Nancy", "none-1", "N", "\\", "é", "-", ":", "null0", " 5 ", "é9"]
)
def test_any_other_text_stays_unchanged(text):
    assert read(text) == text
