"""Compile a mapping into an adapter: every text of the YAML file enters SQL as a string literal."""

from __future__ import annotations

from data_contracts.contract import Contract
from data_contracts.privacy import literal
from lastaisle.ingest.mapping.column_rows import ColumnRows
from lastaisle.ingest.mapping.document import TIME_UNITS, Mapping, Source
from lastaisle.ingest.mapping.json_rows import JsonRows
from lastaisle.ingest.sources.adapter import Adapter, content_id

_MICROSECONDS = dict(zip(TIME_UNITS, ("1000000", "1000", "1", "0.001"), strict=True))
#: Text in the shop's own words: a brand may be named None.
_FREE_TEXT = ("brand", "category")
_ZONE_IN_TEXT = r"(?i)[0-9:.]\s*(z|utc|gmt)\s*$|:[0-9.]+\s*[+-][0-9]{2}(:?[0-9]{2})?\s*$"


def compile_adapter(mapping: Mapping, contract: Contract, version: str) -> Adapter:
    """Return the adapter of a checked mapping.

    Args:
        mapping: the mapping.
        contract: the contract of raw_events.
        version: a text that changes with the mapping.
    """
    if mapping.input != "json":
        columns = ColumnRows(mapping, _FREE_TEXT)
        compiled = _Fields(mapping, contract, columns)
        return Adapter(
            mapping.name,
            fields=compiled.fields,
            ignored=compiled.ignored,
            columns=columns.columns(),
            version=version,
        )
    rows = JsonRows(mapping.rows, mapping.nothing)
    compiled = _Fields(mapping, contract, rows)
    return Adapter(
        mapping.name,
        fields=compiled.fields,
        prepare=rows.prepare(),
        malformed=rows.malformed(compiled.ignored, compiled.tests),
        ignored=compiled.ignored,
        version=version,
    )


class _Fields:
    """The SQL of the fields of one mapping.

    Attributes:
        fields: the SQL of each field's text.
        ignored: the SQL of the name of an event of no interest, else NULL.
        tests: the tests that make a row unusable, each WHEN … THEN.
    """

    def __init__(self, mapping: Mapping, contract: Contract, rows: JsonRows | ColumnRows) -> None:
        self.mapping = mapping
        self.rows = rows
        self.tests: list[str] = []
        types = {known.name: known.logical_type for known in contract.fields}
        self.fields = {name: self._field(name, types[name]) for name in mapping.fields}
        event = self.fields["event_type"]
        self.ignored = _ignored(mapping, event)
        if mapping.events:
            self.fields["event_type"] = _case(event, mapping.events)
        for name in mapping.fields:
            if kinds := mapping.source(name).only:
                listed = " OR ".join(f"({self.fields['event_type']}) = {literal(kind)}" for kind in kinds)
                self.fields[name] = f"CASE WHEN {listed} THEN {self.fields[name]} END"
        # Where the list holds events, not items, an element may have no item.
        if self._is_of_element("item_id") and not self._is_of_element("event_type"):
            no_item = f"_expanded AND ({self.fields['item_id']}) IS NULL"
            self.tests.append(f"WHEN {no_item} THEN 'row_without_item_id'")
        self.fields["event_id"] = self._event_id()

    def _field(self, name: str, logical_type: str) -> str:
        """Return the SQL of a field's text."""
        source = self.mapping.source(name)
        if source.constant is not None:
            return literal(source.constant)
        # The adapter's frame judges a single text; of several, those that spell no value must not count here.
        free = len(source.places()) == 1 or name in _FREE_TEXT
        found = [self.rows.text(place, is_column, free=free) for place, is_column in source.places()]
        texts = [text for text, _ in found]
        text = f" || {literal(source.separator)} || ".join(texts) if source.join else _first(texts)
        if nested := [test for _, test in found if test != "false"]:
            self.tests.append(f"WHEN ({' OR '.join(nested)}) AND ({text}) IS NULL THEN '{name}_is_nested'")
        if source.values:
            text = _case(text, source.values)
        if logical_type == "timestamp":
            return _time_sql(text, source)
        return _number_sql(text, source) if logical_type in ("integer", "number") else text

    def _event_id(self) -> str:
        """Return the SQL of the id: without one in the log, it is made from the line and the position."""
        if "event_id" not in self.fields:
            return content_id(literal(self.mapping.name), *self.rows.content)
        given = self.fields["event_id"]
        if not self.mapping.rows or self._is_of_element("event_id"):
            return given
        return f"({given}) || CASE WHEN _expanded THEN ':' || _sub_row ELSE '' END"

    def _is_of_element(self, name: str) -> bool:
        """Tell whether a field comes from the elements of `rows`."""
        if name not in self.mapping.fields:
            return False
        places = self.mapping.source(name).places()
        return any(not is_column and place[0] == "@" for place, is_column in places)


def _first(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"coalesce({', '.join(texts)})"


def _case(text: str, words: dict[str, str]) -> str:
    cases = " ".join(f"WHEN {literal(word)} THEN {literal(value)}" for word, value in words.items())
    return f"CASE {text} {cases} ELSE {text} END"


def _time_sql(text: str, source: Source) -> str:
    """Return the SQL of a time as ISO text. A text that breaks the format becomes no time."""
    if source.time in TIME_UNITS:
        micros = f"floor(TRY_CAST({text} AS DECIMAL(38, 9)) * {_MICROSECONDS[source.time]})::BIGINT"
        return f"coalesce(try(make_timestamp({micros}))::VARCHAR, {text})"
    if source.time != "iso":
        parsed = f"try_strptime({text}, {literal(source.time)})"
        if source.zone:
            parsed = f"timezone({literal(source.zone)}, {parsed})"
        return f"coalesce(try({parsed})::VARCHAR, 'not in this format: ' || {text})"
    if source.zone:
        local = f"try(timezone({literal(source.zone)}, TRY_CAST({text} AS TIMESTAMP)))::VARCHAR"
        return (
            f"CASE WHEN regexp_matches({text}, {literal(_ZONE_IN_TEXT)}) THEN {text} "
            f"ELSE coalesce({local}, {text}) END"
        )
    return text


def _number_sql(text: str, source: Source) -> str:
    """Return the SQL of a number with a decimal point. A text that is no number stays unchanged."""
    if source.decimal == ",":
        grouped = r"\s*[+-]?([0-9]{1,3}(\.[0-9]{3})+|[0-9]+)(,[0-9]+)?\s*"
        text = (
            f"CASE WHEN regexp_full_match({text}, {literal(grouped)}) "
            f"THEN replace(replace({text}, '.', ''), ',', '.') ELSE {text} END"
        )
    if source.divide != "1":
        text = f"coalesce(try(TRY_CAST({text} AS DOUBLE) / {int(source.divide)})::VARCHAR, {text})"
    return text


def _ignored(mapping: Mapping, event: str) -> str:
    """Return the SQL of the event's name if the event is of no interest, else NULL."""
    if mapping.ignored == "others":
        names = ", ".join(map(literal, mapping.events))
        return f"CASE WHEN {event} NOT IN ({names}) THEN {event} END" if names else "NULL"
    if not mapping.ignored:
        return "NULL"
    return f"CASE WHEN {event} IN ({', '.join(map(literal, mapping.ignored))}) THEN {event} END"
