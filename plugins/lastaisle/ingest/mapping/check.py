"""Check what a mapping says about single values against the contract, before any row is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data_contracts.contract import Contract
from data_contracts.field import Field
from data_contracts.privacy import literal, quote
from lastaisle.ingest.mapping.document import TIME_UNITS, Source
from lastaisle.ingest.mapping.json_path import shorten
from lastaisle.lake.workspace import open_tables

_SCALARS = {"time": ("timestamp",), "zone": ("timestamp",), "decimal": ("integer", "number")}
_NEEDED_TYPES = _SCALARS | {"divide": ("integer", "number")}


def check_values(
    document: Mapping[str, Any], sources: Mapping[str, Any], contract: Contract
) -> Iterator[tuple[str, str]]:
    """Yield the place and the reason of every value that the contract could never accept.

    Args:
        document: the mapping as text.
        sources: the readable entries under `fields` for fields of the contract.
        contract: the contract of raw_events.
    """
    known = {field.name: field for field in contract.fields}
    has_rows, of_columns = bool(document.get("rows")), document.get("input", "json") != "json"
    with open_tables() as connection:
        for name, source in sources.items():
            where = f"fields.{name}"
            places = source if isinstance(source, list) else [source]
            if isinstance(source, Source):
                yield from _check_source(source, known[name], where, contract, connection)
                places = [place for place, is_column in source.places() if not is_column]
            if of_columns and any(place[0] in "$@" for place in places):
                yield where, "a JSON path has no meaning in columns: give the name of a column"
            elif any(place[0] == "@" for place in places) and not has_rows:
                yield where, "@ stands for an element of `rows`, which this mapping does not have"
        columns = document.get("columns")
        if of_columns and isinstance(columns, list):
            yield from _check_columns(columns, sources)
        events = document.get("events")
        for event, target in (events if isinstance(events, dict) else {}).items():
            if isinstance(target, str) and (
                rule := _broken(target, known["event_type"], contract, connection)
            ):
                yield f"events.{shorten(event)}", f"{shorten(target)!r} breaks the contract's rule {rule}"


def _check_columns(columns: Sequence[Any], sources: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, source in sources.items():
        given = source if isinstance(source, list) else [source]
        places = [place for place, _ in source.places()] if isinstance(source, Source) else given
        for place in places:
            if place not in columns:
                yield f"fields.{name}", f"{shorten(place)!r} is not among the columns"


def _check_source(
    source: Source, field: Field, where: str, contract: Contract, connection: Any
) -> Iterator[tuple[str, str]]:
    for option, types in _NEEDED_TYPES.items():
        if option in source.model_fields_set and field.logical_type not in types:
            yield (
                f"{where}.{option}",
                f"belongs to a {' or '.join(types)}, {field.name} is a {field.logical_type}",
            )
    if source.zone and source.time in TIME_UNITS:
        yield f"{where}.zone", f"a number of {source.time} since 1970 has no time zone"
    if "%" in source.time:
        yield from _check_format(source, where, connection)
    if source.constant and field.name == "occurred_at":
        yield f"{where}.constant", "every event would have the same time"
    if source.constant and (rule := _broken(source.constant, field, contract, connection)):
        yield f"{where}.constant", f"{shorten(source.constant)!r} breaks the contract's rule {rule}"
    if source.only and field.name == "event_type":
        yield f"{where}.only", "the type of an event cannot depend on itself"
    event_type = next(known for known in contract.fields if known.name == "event_type")
    for kind in source.only or ():
        if rule := _broken(kind, event_type, contract, connection):
            yield f"{where}.only", f"{shorten(kind)!r} breaks the contract's rule {rule}"
    for value, target in source.values.items():
        if rule := _broken(target, field, contract, connection):
            yield f"{where}.values.{shorten(value)}", f"{shorten(target)!r} breaks the contract's rule {rule}"


def _check_format(source: Source, where: str, connection: Any) -> Iterator[tuple[str, str]]:
    import duckdb

    try:
        connection.execute("SELECT try_strptime('2025', ?)", [source.time])
    except duckdb.Error as error:
        yield f"{where}.time", f"the format {source.time!r} is not usable: {str(error).splitlines()[0]}"
    if source.zone and ("%z" in source.time or "%Z" in source.time):
        yield f"{where}.zone", f"the format {source.time!r} reads the time zone already"


def _broken(text: str, field: Field, contract: Contract, connection: Any) -> str | None:
    """Return the name of the first rule of one field that a text breaks; None if it breaks none."""
    typed = f"SELECT {field.parse_sql('text')} AS {quote(field.name)} FROM (SELECT {literal(text)} AS text)"
    if connection.execute(f"SELECT {quote(field.name)} IS NULL FROM ({typed})").fetchone()[0]:
        return field.type_rule
    for rule in contract.rules:
        if (
            rule.columns == (field.name,)
            and not rule.uses_now
            and not rule.reference
            and rule.severity == "error"
        ):
            (passes,) = connection.execute(f"SELECT {rule.predicate} FROM ({typed})").fetchone()
            if passes is False:
                return rule.name
    return None
