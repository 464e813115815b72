"""JSON paths of a mapping, such as $.cart.lines[0]['unit price'], as JSON pointers.

A JSON pointer can name every key, whatever signs the key holds; DuckDB's own paths cannot name a key with a
quotation mark.
"""

from __future__ import annotations

import re

from lastaisle.ingest.sources.pointer import pointer_of

MAX_STEPS = 32
_STEP = re.compile(
    r"""\.(?P<name>[^\s.\[\]'"*?@$()]+)
      | \[(?P<position>0|[1-9][0-9]{0,8})\]
      | \['(?P<single>(?:[^'\\]|\\.)+)'\]
      | \["(?P<double>(?:[^"\\]|\\.)+)"\]""",
    re.VERBOSE | re.DOTALL,
)


def json_pointer(path: str) -> str:
    """Return the JSON pointer of a JSON path.

    Args:
        path: $ or @, followed by steps: `.name`, `['any name']` or `[0]`. Inside quotes, a backslash stands
            before a quotation mark or a backslash.

    Raises:
        ValueError: the path has another form, or more than 32 steps.
    """
    position, steps = 1, []
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise ValueError(
                f"the JSON path {shorten(path)!r} cannot be read from {shorten(path[position:])!r} on; "
                "a step is like .name, ['any name'] or [0]"
            )
        quoted = step["single"] or step["double"]
        steps.append(
            re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted else step["name"] or step["position"]
        )
        position = step.end()
    if not steps:
        raise ValueError(f"the JSON path {path!r} names nothing: {path}.name is the value of a key")
    if len(steps) > MAX_STEPS:
        raise ValueError(f"the JSON path {shorten(path)!r} has {len(steps)} steps; {MAX_STEPS} are the most")
    return pointer_of(*steps)


def shorten(text: str, most: int = 60) -> str:
    """Return a text for a message; a long text is cut."""
    return text if len(text) <= most else f"{text[:most]}…"
