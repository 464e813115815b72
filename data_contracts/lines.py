"""The line of a place in a contract's file, so that an editor can jump to it."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

_NAMES = ("name", "property")


def line_of(content: bytes, where: str) -> int | None:
    """Return the line, from 1, of a place such as `schema.raw_events.properties.price.logicalTypeOptions`.

    A part of the place that the file does not hold, such as a missing key, gets the line of what should hold
    it.

    Args:
        content: the file; YAML that can be read.
        where: the names of `data_contracts.document.locate`, joined by points.

    Returns:
        The line; None if the file holds not even the beginning of the place.
    """
    node = yaml.compose(content.decode("utf-8"), Loader=yaml.CSafeLoader)
    line = None
    while node is not None and where:
        inner = max(
            (one for one in _inner(node) if f"{where}.".startswith(f"{one[0]}.")),
            key=lambda one: len(one[0]),
            default=None,
        )
        if inner is None:
            break
        name, line, node = inner
        where = where[len(name) + 1 :]
    return line


def _inner(node: yaml.Node) -> Iterator[tuple[str, int, yaml.Node]]:
    """Yield name, line and node of what a mapping or a list holds; entries of a list go by their names."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode):
        for position, entry in enumerate(node.value):
            named = {name: value for name, _, value in _inner(entry)} if _is_mapping(entry) else {}
            name = next((named[one].value for one in _NAMES if one in named), position)
            yield str(name), entry.start_mark.line + 1, entry


def _is_mapping(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode)
