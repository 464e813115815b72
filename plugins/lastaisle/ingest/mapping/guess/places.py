"""The places of values in the first lines of a file: columns, keys of JSON, and elements of a list."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lastaisle.ingest.mapping.guess.words import FIELD_WORDS, letters

SEPARATORS = (",", ";", "\t", "|")
MAX_PLACES = 500
_PLAIN_STEP = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*")
_ITEM_WORDS = frozenset(FIELD_WORDS["item_id"].split())
_EVENT_WORDS = frozenset((*FIELD_WORDS["event_type"].split(), *FIELD_WORDS["occurred_at"].split()))


@dataclass
class Place:
    """One place of values.

    Attributes:
        text: the place as a mapping writes it: $.a.b, @.a, or the name of a column.
        names: the names on the way to the value, in the form of `letters`.
        values: the values of the first lines that have one.
    """

    text: str
    names: tuple[str, ...]
    values: list[str] = field(default_factory=list)


@dataclass
class Found:
    """What the first lines hold.

    Attributes:
        input: json, csv or tsv.
        places: the places of values, in their order.
        rows: the JSON path of the list whose elements are rows; empty if a line is one row.
        columns: the invented names of columns without a header.
        separator: the sign between columns, where it is not the usual one.
        lines: how many lines were read.
    """

    input: str
    places: list[Place]
    rows: str = ""
    columns: tuple[str, ...] = ()
    separator: str = ""
    lines: int = 0


def find_places(lines: Sequence[str]) -> Found:
    """Return the places of the values in lines of JSON or of columns."""
    objects = [document for line in lines if isinstance(document := _object(line), dict)]
    if 2 * len(objects) > len(lines):
        return _places_of_objects(objects)
    return _places_of_columns(lines)


def _object(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _places_of_objects(objects: Sequence[dict[str, Any]]) -> Found:
    places: dict[str, Place] = {}
    lists: Counter[str] = Counter()
    elements: dict[str, list[Any]] = {}

    def walk(value: Any, text: str, names: tuple[str, ...]) -> None:
        if len(places) > MAX_PLACES or len(names) > 8:
            return
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, text + _step(key), (*names, letters(key)))
        elif isinstance(value, list):
            inner = [element for element in value if isinstance(element, dict)]
            if inner and text[0] == "$":
                lists[text] += _weight(inner)
                elements.setdefault(text, []).extend(inner)
        elif value is not None:
            places.setdefault(text, Place(text, names)).values.append(_plain(value))

    for document in objects:
        walk(document, "$", ())
    rows = max(lists, key=lambda text: lists[text], default="")
    if rows and lists[rows]:
        for element in elements[rows]:
            walk(element, "@", ())
    else:
        rows = ""
    return Found("json", list(places.values()), rows=f"{rows}[*]" if rows else "", lines=len(objects))


def _weight(elements: Sequence[dict[str, Any]]) -> int:
    """Count the elements of a list that look like items or events."""
    wanted = _ITEM_WORDS | _EVENT_WORDS
    return sum(any(letters(key) in wanted for key in element) for element in elements)


def _step(key: str) -> str:
    if _PLAIN_STEP.fullmatch(key):
        return f".{key}"
    escaped = key.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{escaped}']"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _places_of_columns(lines: Sequence[str]) -> Found:
    split = {sign: list(csv.reader(lines, delimiter=sign)) for sign in SEPARATORS}

    def evenness(sign: str) -> tuple[int, int]:
        width, count = Counter(len(row) for row in split[sign]).most_common(1)[0]
        return (count if width > 1 else 0, width)

    sign = max(SEPARATORS, key=evenness)
    rows = split[sign]
    width = evenness(sign)[1]
    header = _is_header(rows)
    names = rows[0] if header else [f"column_{number}" for number in range(1, width + 1)]
    body = [row for row in (rows[1:] if header else rows) if len(row) == len(names)]
    places = [
        Place(name, (letters(name),) if header else (), [row[at] for row in body if row[at].strip()])
        for at, name in enumerate(names)
        if name.strip()
    ]
    kind = "tsv" if sign == "\t" else "csv"
    other_sign = sign if sign not in (",", "\t") else ""
    return Found(kind, places, columns=() if header else tuple(names), separator=other_sign, lines=len(body))


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first row names the columns: it holds words only, of which one is a known name."""
    if not rows:
        return False
    known = {word for words in FIELD_WORDS.values() for word in words.split()}
    first = [cell.strip() for cell in rows[0]]
    words_only = all(not cell or re.match(r"[^\W\d]", cell) for cell in first)
    return words_only and any(letters(cell) in known for cell in first)
