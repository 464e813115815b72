"""An adapter: one SELECT from lines of text to rows of canonical fields, still as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from data_contracts.contract import Contract
from data_contracts.field import Field
from data_contracts.privacy import literal, quote
from data_contracts.spellings import BLANKS, SPELLINGS_OF_NOTHING
from lastaisle.ingest.sources.columns import Columns, Layout

#: Added to every adapter's columns: one row, with sub_row 0.
ONE_ROW = "SELECT *, 0 AS _sub_row FROM lines"


@dataclass(frozen=True)
class Adapter:
    """The translation of one log format into canonical fields.

    Attributes:
        name: the value of --format.
        fields: the SQL of each canonical field of the format, as text, over the columns of `prepare`; or a
            function that returns these for a contract.
        prepare: a SELECT over `lines` (_source_row, _line, _text, _reason, _payload) that parses a line and
            adds _sub_row. `_text` is the line with its line end; it is not copied. Every line gives one row
            with _sub_row 0; further events of the line give further rows.
        malformed: SQL that returns the reason why a line as a whole is unusable, or NULL; or a function that
            returns this SQL for a contract.
        ignored: SQL that returns the reason why a sound row is of no interest to the tables, or NULL. The
            rules do not judge such a row; it is counted by its reason.
        keys: a function that returns the known field names for a contract, if a line is one JSON object with
            the names of the contract. Other names are reported, since their values are not kept.
        columns: the columns of a format that has columns. Such an adapter reads no line before
            `lastaisle.ingest.sources.layout.fitted` adapted it to the layout of a file.
        layout: the layout of the file, from `fitted`.
        version: a text that changes when the same lines give other rows, if a user may change the adapter.
    """

    name: str
    fields: Mapping[str, str] | Callable[[Contract], Mapping[str, str]]
    prepare: str | Callable[[Contract], str] = ONE_ROW
    malformed: str | Callable[[Contract], str] = "NULL"
    ignored: str = "NULL"
    keys: Callable[[Contract], Collection[str]] | None = None
    columns: Columns | None = None
    layout: Layout | None = None
    version: str = ""

    @property
    def identity(self) -> str:
        """The name and the version. Under another identity the same lines have other batch ids."""
        return f"{self.name} {self.version}".rstrip()

    def select(self, contract: Contract, lines: str = "source_lines") -> str:
        """Return the SELECT over the relation `lines` of `lastaisle.ingest.reading.lines.LINES`.

        Args:
            contract: the contract of raw_events; fields that the format does not have are NULL.
            lines: the relation to read; it is read once.

        Returns:
            SQL with the columns _source_row, _sub_row, _payload, _malformed (text or NULL), _ignored (text or
            NULL) and the fields as VARCHAR. No field's name begins with an underscore, so these columns meet
            no field.
        """
        fields = self.fields(contract) if callable(self.fields) else self.fields
        texts = ",\n  ".join(
            f"({fields.get(field.name, 'NULL')})::VARCHAR AS {quote(field.name)}" for field in contract.fields
        )
        given = ",\n  ".join(f"{_given(field)} AS {quote(field.name)}" for field in contract.fields)
        return f"""{self._prepared(contract, lines)}
, texts AS (
SELECT _source_row, _sub_row::INTEGER AS _sub_row, _payload,
  {self._reason_of_line(contract)} AS _malformed,
  ({self.ignored})::VARCHAR AS _reason_to_ignore,
  {texts}
FROM prepared
)
SELECT _source_row, _sub_row, _payload, _malformed,
  CASE WHEN _malformed IS NULL THEN _reason_to_ignore END AS _ignored,
  {given}
FROM texts"""

    def usable(self, contract: Contract, lines: str = "source_lines") -> str:
        """Return a SELECT over the relation `lines` of the number of each row that is not malformed."""
        return f"""{self._prepared(contract, lines)}
SELECT _source_row FROM prepared WHERE {self._reason_of_line(contract)} IS NULL"""

    def _prepared(self, contract: Contract, lines: str) -> str:
        prepare = self.prepare(contract) if callable(self.prepare) else self.prepare
        return f"""
WITH lines AS (
  SELECT source_row AS _source_row, payload AS _payload, reason AS _reason,
         CASE WHEN reason IS NULL THEN payload END AS _text,
         CASE WHEN reason IS NULL THEN rtrim(payload, chr(13) || chr(10)) END AS _line
  FROM {lines}
), prepared AS ({prepare}
)"""

    def _reason_of_line(self, contract: Contract) -> str:
        malformed = self.malformed(contract) if callable(self.malformed) else self.malformed
        return f"coalesce(_reason, {malformed})"


#: Texts that are no text: an empty one, and the numbers that JSON and Parquet write for a missing value.
NO_TEXT = ("", "NaN", "nan", "Infinity", "-Infinity")


def _given(field: Field) -> str:
    """Return SQL of a field's text, or NULL if the text only spells the absence of a value.

    A default stands for an absent value only: any text of a field with a default is a value.
    """
    text = quote(field.name)
    if field.spelling == "identifier":
        return present(text)
    if field.default is not None:
        return text
    nothing = NO_TEXT if field.logical_type == "string" else NO_TEXT[:1]
    return f"CASE WHEN {text} NOT IN ({', '.join(map(literal, nothing))}) THEN {text} END"


def epoch_text(text: str, per_second: int) -> str:
    """Return SQL that turns a number since 1970 into a UTC time; any other text stays unchanged.

    Args:
        text: the SQL of the text.
        per_second: 1 for seconds (with a fraction or without), 1000 for milliseconds.
    """
    micros = f"(TRY_CAST({text} AS DECIMAL(24, 6)) * {1_000_000 // per_second})::BIGINT"
    return f"coalesce(try(make_timestamp({micros}))::VARCHAR, {text})"


def content_id(*parts: str) -> str:
    """Return the SQL of an event id made from the content of the row, so the same row has the same id."""
    return f"md5(concat_ws(chr(31), {', '.join(parts)}))"


def present(text: str) -> str:
    """Return SQL that is the text, or NULL if the text only spells the absence of a value.

    It is meant for ids, numbers and times: two shoppers must not share a session named `NULL`. It is not
    meant for free text: a brand may be named None.

    Args:
        text: the SQL of the text.
    """
    # A regular expression, since DuckDB makes a join of every long list.
    spellings = "|".join(re.escape(spelling) for spelling in SPELLINGS_OF_NOTHING if spelling)
    spelled = f"NOT regexp_full_match({text}, '(?i)[{BLANKS}]*({spellings})?[{BLANKS}]*')"
    # Most ids end with a digit; the comparison spares them the rest.
    return f"CASE WHEN {text}[-1] BETWEEN '0' AND '9' THEN {text} WHEN {spelled} THEN {text} END"
