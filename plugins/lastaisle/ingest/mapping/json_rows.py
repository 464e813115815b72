"""The SQL that takes the texts of a mapping from lines of JSON, and from the elements of a list in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from data_contracts.privacy import literal
from lastaisle.ingest.mapping.json_path import json_pointer
from lastaisle.ingest.sources.adapter import present
from lastaisle.ingest.sources.json_lines import not_json, twice
from lastaisle.ingest.sources.pointer import pointer_of

_NOT_JSON = not_json("_document", twice("_document")).removesuffix("END")


@dataclass
class _Texts:
    """The texts that a SELECT takes from a JSON value, each place once.

    Attributes:
        column: the SQL column that holds the texts as a list.
        places: the JSON pointer of each place, and whether its text is free text.
    """

    column: str
    places: list[tuple[str, bool]] = field(default_factory=list)

    def text(self, pointer: str, *, free: bool) -> tuple[str, str]:
        """Return the SQL of the text at a place, and whether the place holds an object or a list."""
        if (pointer, free) not in self.places:
            self.places.append((pointer, free))
        position = self.places.index((pointer, free)) + 1
        return f"{self.column}[{position}]", self._is_nested(position)

    def _is_nested(self, position: int) -> str:
        return f"coalesce({self.column}_kinds[{position}] IN ('OBJECT', 'ARRAY'), false)"

    def select(self, document: str, relation: str, nothing: Sequence[str]) -> str:
        """Return a SELECT that adds to a relation the texts, and the kinds of their JSON values."""
        raw, kinds = f"{self.column}_raw", f"{self.column}_kinds"
        if not self.places:
            return f"SELECT * FROM {relation}"
        pointers = f"[{', '.join(literal(pointer) for pointer, _ in self.places)}]"
        missing = ", ".join(["''", *map(literal, nothing)])
        texts = []
        for position, (_, free) in enumerate(self.places, 1):
            text = f"{raw}[{position}]"
            no_value = f"{self._is_nested(position)} OR trim({text}) IN ({missing})"
            texts.append(f"CASE WHEN {no_value} THEN NULL ELSE {text if free else present(text)} END")
        return f"""
SELECT * EXCLUDE ({raw}), [{", ".join(texts)}] AS {self.column}
FROM (SELECT *, json_type({document}, {pointers}) AS {kinds},
        json_extract_string({document}, {pointers}) AS {raw}
      FROM {relation})"""


class JsonRows:
    """The texts of lines of JSON objects.

    Args:
        rows: the JSON path of the list whose elements are rows, ending in [*]; None if a line is one row.
        nothing: texts that stand for a missing value.
    """

    #: The content of a row, from which an event id may be made.
    content = ("_line", "_sub_row")

    def __init__(self, rows: str | None, nothing: Sequence[str]) -> None:
        self.rows = rows
        self.nothing = nothing
        self.line = _Texts("_texts")
        self.element = _Texts("_element_texts")

    def text(self, place: str, is_column: bool, *, free: bool) -> tuple[str, str]:
        """Return the SQL of the text at a place of a mapping, and of whether it is an object or a list."""
        if is_column:
            return self.line.text(pointer_of(place), free=free)
        if place[0] == "@":
            return self.element.text("" if place == "@" else json_pointer(place), free=free)
        return self.line.text(json_pointer(place), free=free)

    def prepare(self) -> str:
        """Return the SELECT that takes the texts from a line, and from each element of `rows`."""
        parsed = "(SELECT *, TRY_CAST(_text AS JSON) AS _document FROM lines)"
        line = self.line.select("_document", parsed, self.nothing)
        if not self.rows:
            return f"SELECT *, 0 AS _sub_row FROM ({line})"
        pointer = literal(json_pointer(self.rows.removesuffix("[*]")))
        elements = f"""
(SELECT * EXCLUDE (_elements), unnest(_elements) AS _element, unnest(range(len(_elements))) AS _sub_row,
    json_type(_element) AS _element_kind
 FROM (SELECT *, json_extract(_document, {pointer}) AS _list, json_type(_list) AS _list_kind,
     coalesce(_list_kind = 'ARRAY' AND json_array_length(_list) > 0, false) AS _expanded,
     CASE WHEN _expanded THEN _list::JSON[] ELSE [NULL]::JSON[] END AS _elements
   FROM ({line})))"""
        return self.element.select("_element", elements, self.nothing)

    def malformed(self, ignored: str, tests: Sequence[str]) -> str:
        """Return the SQL of the reason why a row is unusable; an ignored row may have any form.

        Args:
            ignored: the SQL of the reason why a row is ignored.
            tests: further tests, each WHEN … THEN.
        """
        given = ["" if ignored == "NULL" else f"WHEN ({ignored}) IS NOT NULL THEN NULL"]
        if self.rows:
            given.append("WHEN _list_kind NOT IN ('ARRAY', 'NULL') THEN 'rows_is_no_list'")
            given.append("WHEN _expanded AND coalesce(_element_kind, 'NULL') = 'NULL' THEN 'row_is_null'")
            if any(pointer for pointer, _ in self.element.places):
                given.append("WHEN _expanded AND _element_kind <> 'OBJECT' THEN 'row_is_no_object'")
        return f"{_NOT_JSON} {' '.join((*given, *tests))} END"
