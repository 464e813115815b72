"""JSON pointers, which name the keys of a JSON document; unlike DuckDB's own paths, with any sign in them."""

from __future__ import annotations


def pointer_of(*keys: str) -> str:
    """Return the JSON pointer of keys, from the outermost to the innermost."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
