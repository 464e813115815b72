"""Read and write JSON without changing its values.

A call is stored as its sender wrote it, so that ingestion judges it as it judges a line of a file: a number
keeps its digits, half a character stays half a character, and an object may name a key more than once.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import orjson

from lastaisle.web.refusal import RefusedError

MAX_DEPTH: Final = 254  # orjson writes no deeper values

_OPTIONS: Final = orjson.OPT_PASSTHROUGH_SUBCLASS


class Repeated(dict[str, Any]):
    """An object that names a key more than once: the last value is the value, and all values are written.

    Attributes:
        earlier: the keys and values that a later value of the same key replaces.
    """

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        last = {key: position for position, (key, _) in enumerate(pairs)}
        self.earlier = [(key, value) for at, (key, value) in enumerate(pairs) if last[key] != at]


def parse(body: bytes) -> Any:
    """Parse JSON; each number becomes an `orjson.Fragment`, which holds the number as it was written.

    Raises:
        RefusedError: 400, the body is not JSON.
    """
    try:
        return json.loads(
            body.decode(),
            parse_int=orjson.Fragment,
            parse_float=orjson.Fragment,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise RefusedError(400, "not_json", f"the body is not JSON: {error}") from None


def encode(value: Any, *, sort_keys: bool = False) -> bytes:
    """Return a value as JSON in one line.

    Raises:
        RefusedError: 400, the value is nested deeper than MAX_DEPTH.
    """
    try:
        options = _OPTIONS | orjson.OPT_SORT_KEYS if sort_keys else _OPTIONS
        return orjson.dumps(value, _repeated, options)
    except orjson.JSONEncodeError:
        return _encode(value, MAX_DEPTH)  # orjson refuses half a character, and a value that is too deep


def drop(value: dict[str, Any], name: str) -> None:
    """Remove a key and all its values from an object."""
    value.pop(name, None)
    if isinstance(value, Repeated):
        value.earlier = [pair for pair in value.earlier if pair[0] != name]


def values_of(value: dict[str, Any], name: str) -> list[Any]:
    """Return all values of a key, the one that counts last."""
    earlier = value.earlier if isinstance(value, Repeated) else []
    return [each for key, each in earlier if key == name] + ([value[name]] if name in value else [])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Repeated(pairs)


def _repeated(value: Any) -> orjson.Fragment:
    if isinstance(value, Repeated):
        return orjson.Fragment(_encode(value, MAX_DEPTH))
    raise TypeError(f"{type(value).__name__} is no JSON")


def _encode(value: Any, levels: int) -> bytes:
    """Encode a value that may hold half a character or a repeated key."""
    if levels < 0:
        raise _too_deep()
    if isinstance(value, dict):
        pairs = [*(value.earlier if isinstance(value, Repeated) else ()), *value.items()]
        return b"{%s}" % b",".join([_text(key) + b":" + _encode(each, levels - 1) for key, each in pairs])
    if isinstance(value, list):
        return b"[%s]" % b",".join([_encode(each, levels - 1) for each in value])
    return _text(value) if isinstance(value, str) else orjson.dumps(value)


def _text(text: str) -> bytes:
    """Encode a text; half a character becomes the escape that it was sent as."""
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _too_deep() -> RefusedError:
    return RefusedError(400, "not_json", f"the body is nested deeper than {MAX_DEPTH} levels")
