"""Guess which place of a log holds which field."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lastaisle.ingest.mapping.guess.places import Place
from lastaisle.ingest.mapping.guess.times import is_date, is_time_of_day, time_form
from lastaisle.ingest.mapping.guess.words import FIELD_WORDS, event_type, letters

_NUMBER = re.compile(r"\s*[+-]?([0-9]+([.,][0-9]+)?|[0-9]{1,3}([.,][0-9]{3})+([.,][0-9]+)?)\s*")
_CURRENCY = re.compile(r"\s*[A-Za-z]{3}\s*")
_MAX_EVENT_NAMES = 200
_MAX_DEVICES = 20


def guess_fields(places: Sequence[Place], connection: Any) -> dict[str, list[Place]]:
    """Return the place of each field that was found, or two places of a date and a time of day.

    Args:
        places: the places with their values.
        connection: a DuckDB connection.
    """
    fits: Mapping[str, Callable[[Place], bool]] = {
        "event_id": _is_unique,
        "event_type": _is_event_name,
        "occurred_at": lambda place: bool(time_form(place.values, connection)),
        "received_at": lambda place: bool(time_form(place.values, connection)),
        "user_id": _is_id,
        "session_id": _is_id,
        "item_id": _is_id,
        "order_id": _is_id,
        "price": _is_number,
        "quantity": _is_number,
        "dwell_ms": _is_number,
        "device_type": lambda place: _is_text(place) and len(set(place.values)) <= _MAX_DEVICES,
        "currency": lambda place: _share(place, _CURRENCY) > 0.9,
    }
    found: dict[str, list[Place]] = {}
    for name in FIELD_WORDS:
        place = _best(name, places, fits.get(name, _is_text), found)
        if place is not None:
            found[name] = [place]
    if "event_type" not in found:
        named = [place for place in places if _is_event_name(place) and _speaks_of_events(place)]
        found |= {"event_type": named[:1]} if named else {}
    if "occurred_at" not in found:
        unnamed = [place for place in places if not place.names and time_form(place.values, connection)]
        found |= {"occurred_at": unnamed[:1]} if unnamed else {}
    return _with_time_of_day(found, places, connection)


def _best(
    name: str, places: Sequence[Place], fits: Callable[[Place], bool], found: Mapping[str, list[Place]]
) -> Place | None:
    """Return the place whose name is the surest word for a field, and whose values fit."""
    words = FIELD_WORDS[name].split()
    taken = {id(place) for key, given in found.items() for place in given if not key.startswith("consent")}
    ranked = []
    for position, place in enumerate(places):
        if id(place) in taken or not place.values or not place.names:
            continue
        rank = _rank(place, words)
        if rank is not None:
            ranked.append((rank, not place.text.startswith("@"), len(place.names), position, place))
    return next((place for *_, place in sorted(ranked, key=lambda one: one[:4]) if fits(place)), None)


def _rank(place: Place, words: Sequence[str]) -> int | None:
    """Return how sure the name of a place is, 0 for the surest; None if it is no name of the field."""
    whole, last = "".join(place.names[-2:]), place.names[-1]
    parent = place.names[-2] if len(place.names) > 1 else ""
    for candidate in (last, whole):
        if candidate in words:
            return words.index(candidate)
    if last in ("id", "name", "code", "key") and parent in words:
        return words.index(parent)
    if last.endswith("id") and not any(word.endswith("id") for word in words):
        return None
    for at, word in enumerate(words):
        if len(word) > 4 and (last.startswith(word) or last.endswith(word)):
            return len(words) + at
    return None


def _share(place: Place, pattern: re.Pattern[str]) -> float:
    return sum(bool(pattern.fullmatch(text)) for text in place.values) / max(1, len(place.values))


def _is_number(place: Place) -> bool:
    return _share(place, _NUMBER) > 0.9


def _is_text(place: Place) -> bool:
    return not any(text.startswith(("{", "[")) for text in place.values[:20])


def _is_id(place: Place) -> bool:
    return _is_text(place) and all(len(text) <= 200 for text in place.values)


def _is_unique(place: Place) -> bool:
    return _is_id(place) and len(set(place.values)) == len(place.values)


def _is_event_name(place: Place) -> bool:
    """Tell whether values look like names of events: few different ones, of which one is known."""
    names = set(place.values)
    few = len(names) <= min(_MAX_EVENT_NAMES, max(3, len(place.values) // 2 + 1))
    return few and all(len(name) <= 100 for name in names) and any(event_type(name) for name in names)


def _speaks_of_events(place: Place) -> bool:
    """Tell whether most names tell the type of an event, so that the values alone are enough."""
    names = set(place.values)
    return 2 * sum(bool(event_type(name)) and not letters(name).isdigit() for name in names) > len(names) > 1


def _with_time_of_day(
    found: dict[str, list[Place]], places: Sequence[Place], connection: Any
) -> dict[str, list[Place]]:
    """Add the column of the time of day to a column of days."""
    day = found.get("occurred_at", [])
    if not day or not is_date(day[0].values):
        return found
    for place in places:
        if place is not day[0] and is_time_of_day(place.values) and len(place.values) == len(day[0].values):
            joined = [f"{left} {right}" for left, right in zip(day[0].values, place.values, strict=True)]
            if time_form(joined, connection):
                return found | {"occurred_at": [day[0], place]}
    return found
