"""Write a first mapping for a file, with comments where a person has to decide."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from lastaisle.errors import SourceError
from lastaisle.ingest.mapping.guess.fields import guess_fields
from lastaisle.ingest.mapping.guess.places import Found, Place, find_places
from lastaisle.ingest.mapping.guess.times import names_a_zone, time_form
from lastaisle.ingest.mapping.guess.words import FIELD_WORDS, event_type
from lastaisle.ingest.reading.files import list_files
from lastaisle.ingest.reading.lines import read_lines
from lastaisle.ingest.sources import ADAPTERS
from lastaisle.lake.workspace import open_tables

FIRST_LINES = 1000
_WANTED = ("event_id", "event_type", "occurred_at", "user_id", "session_id", "item_id", "price", "currency")
_COMMA_DECIMAL = re.compile(r"\s*[+-]?[0-9.]*,[0-9]{1,2}\s*")
_PLAIN = re.compile(r"[$@]?[A-Za-z_][A-Za-z0-9_.]*|[$@](\.[A-Za-z_][A-Za-z0-9_]*|\[[0-9]+\])+")
_YAML_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))


def first_lines(source: str) -> list[str]:
    """Return the first thousand lines of a source that are not blank; the rows of Parquet as JSON.

    Args:
        source: a file, a folder or a URL.

    Raises:
        SourceError: the source cannot be read, or it has no lines.
    """
    found = list_files(source)
    found.refuse_nothing(source)
    lines: list[str] = []
    for file in found.files:
        for batch in read_lines(file):
            texts = (text.rstrip("\r\n") for text in batch["payload"].to_pylist())
            lines += [text for text in texts if text.strip()]
            if len(lines) >= FIRST_LINES:
                return lines[:FIRST_LINES]
        if lines:
            return lines
    failed = "".join(f"; {error}" for error in found.failed.values())
    raise SourceError(f"{source} has no lines, so there is nothing to guess from{failed}")


def guess_mapping(source: str, lines: Sequence[str]) -> str:
    """Return a first mapping as YAML.

    Args:
        source: the file, whose name becomes the mapping's name.
        lines: from `first_lines`.
    """
    found = find_places(lines)
    with open_tables() as connection:
        fields = guess_fields(found.places, connection)
        return "\n".join(_write(_name(source), found, fields, connection)) + "\n"


def _name(source: str) -> str:
    """Return the name of the file in the form of a mapping's name."""
    plain = re.sub(r"[^a-z0-9]+", "_", source.rsplit("/", 1)[-1].split(".", maxsplit=1)[0].lower()).strip("_")
    name = plain if plain[:1].isalpha() else f"shop_{plain}".rstrip("_")
    return f"{name}_shop"[:40] if name in (*ADAPTERS, "sessions") else name[:40]


def _write(name: str, found: Found, fields: dict[str, list[Place]], connection: Any) -> Iterator[str]:
    """Yield the lines of the YAML file."""
    yield f"# A first mapping, guessed from {found.lines} rows. Read every line; correct what is wrong."
    yield f"name: {name}"
    yield f"input: {found.input}"
    if found.separator:
        yield f"separator: {_quoted(found.separator)}"
    if found.columns:
        yield "# The file has no header: give the columns their names, and use these names below."
        yield f"columns: [{', '.join(map(_quoted, found.columns))}]"
    if found.rows:
        yield f"rows: {_quoted(found.rows)}  # each element, which @ stands for, is a row of its own"
    yield "fields:"
    constant = _constant_event(fields)
    for field in FIELD_WORDS:
        if field in fields:
            yield from _field(field, fields[field], found, connection)
        elif field == "event_type" and constant:
            yield f"  event_type: {{constant: {constant}}}  # no column names events: are all rows orders?"
        elif field == "event_id":
            yield "  # event_id: the log names none, so it is made from the line"
        elif field == "order_id" and _has_orders(fields):
            yield from _made_order_id(fields)
        elif field in _WANTED:
            yield f"  # {field}: not found"
    if "user_id" not in fields and "session_id" not in fields:
        yield "  # Every row needs user_id or session_id: fill in one of them."
    if "event_type" in fields:
        yield from _events(fields["event_type"][0])


def _constant_event(fields: dict[str, list[Place]]) -> str:
    """Return the type of all rows where no column names it: rows with an order are orders."""
    return "order_completed" if "order_id" in fields else "item_viewed" if "item_id" in fields else ""


def _has_orders(fields: dict[str, list[Place]]) -> bool:
    places = fields.get("event_type", [])
    return any(event_type(name) == "order_completed" for place in places for name in set(place.values))


def _made_order_id(fields: dict[str, list[Place]]) -> Iterator[str]:
    """Yield an order id made from the shopper and the time, since every order needs an id."""
    shopper = next((fields[name][0].text for name in ("session_id", "user_id") if name in fields), None)
    times = [place.text for place in fields.get("occurred_at", [])]
    if shopper and times:
        parts = [shopper, *times]
        yield "  # The log names no orders: rows of one shopper at one time count as one order."
        yield f"  order_id: {{join: [{', '.join(map(_quoted, parts))}], only: [order_completed]}}"
    else:
        yield "  # order_id: not found; the contract requires it for orders"


def _field(field: str, places: Sequence[Place], found: Found, connection: Any) -> Iterator[str]:
    """Yield the lines of one field."""
    place = places[0]
    options: list[str] = []
    comment = ""
    if field in ("occurred_at", "received_at"):
        values = [" ".join(texts) for texts in zip(*(place.values for place in places), strict=False)]
        form = time_form(values, connection)
        options += [] if form == "iso" else [f"time: {_quoted(form)}"]
        comment = "" if names_a_zone(form, values) else "read as UTC; else add zone, such as Europe/Berlin"
        if form.startswith(("%d/%m", "%m/%d")):
            comment = f"{comment}; check the order of day and month".removeprefix("; ")
    elif field in ("price", "quantity") and any(_COMMA_DECIMAL.fullmatch(text) for text in place.values):
        options.append("decimal: ','")
    elif field.startswith("consent"):
        comment = f"values are {', '.join(repr(text) for text in sorted(set(place.values))[:4])}"
    texts = [_quoted(place.text) for place in places]
    if len(places) > 1:
        origin = [f"join: [{', '.join(texts)}]", "separator: ' '"]
    else:
        origin = [f"{'path' if place.text[0] in '$@' and found.input == 'json' else 'column'}: {texts[0]}"]
    value = f"{{{', '.join((*origin, *options))}}}" if options or len(places) > 1 else texts[0]
    yield f"  {field}: {value}{f'  # {comment}' if comment else ''}"


def _events(place: Place) -> Iterator[str]:
    """Yield the known names of events, and as comments the others."""
    counts = Counter(place.values)
    known = {name: event_type(name) for name, _ in counts.most_common(100)}
    yield "events:" if any(known.values()) else "events: {}"
    for name, kind in known.items():
        if kind:
            yield f"  {_quoted(name)}: {kind}  # {counts[name]} rows"
    others = [name for name, kind in known.items() if not kind]
    if others:
        yield "# Decide on the names below: move each under events with a type, or under ignored."
        yield "# The types are page_viewed, item_viewed, item_added, item_removed, checkout_started,"
        yield "# checkout_abandoned and order_completed. A name that stands nowhere goes to quarantine."
        yield "ignored: []"
        for name in others:
            yield f"#  - {_quoted(name)}  # {counts[name]} rows"


def _quoted(text: str) -> str:
    """Return a text as YAML."""
    if _PLAIN.fullmatch(text) and text[0] not in "@" and text.lower() not in _YAML_WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)
