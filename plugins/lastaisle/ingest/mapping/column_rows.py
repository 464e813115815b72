"""The texts of a mapping in files of columns: under a header, in a given order, or as rows of Parquet."""

from __future__ import annotations

from collections.abc import Sequence

from data_contracts.privacy import literal
from lastaisle.ingest.mapping.document import Mapping
from lastaisle.ingest.sources.adapter import present
from lastaisle.ingest.sources.columns import SEPARATORS, Columns


class ColumnRows:
    """The texts of columns, each under a name of its own: c1, c2, ….

    Args:
        mapping: the mapping.
        free: the fields of free text.
    """

    #: The content of a row, from which an event id may be made.
    content = ("_line",)

    def __init__(self, mapping: Mapping, free: Sequence[str]) -> None:
        self.mapping = mapping
        used = [
            place
            for name in mapping.fields
            for place, is_column in mapping.source(name).places()
            if is_column
        ]
        self.names = {
            name: f"c{number}"
            for number, name in enumerate(dict.fromkeys((*(mapping.columns or ()), *used)), 1)
        }
        self.free = free

    def text(self, place: str, is_column: bool, *, free: bool) -> tuple[str, str]:
        """Return the SQL of the text of a column; a column is never nested."""
        text = f'c."{self.names[place]}"'
        if self.mapping.nothing:
            missing = ", ".join(map(literal, self.mapping.nothing))
            text = f"CASE WHEN {text} NOT IN ({missing}) THEN {text} END"
        return text if free else present(text), "false"

    def columns(self) -> Columns:
        """Return the columns for `lastaisle.ingest.sources.layout.fitted`."""
        mapping = self.mapping
        given = mapping.columns or ()
        needed = [
            self.names[place]
            for name in mapping.fields
            if not (source := mapping.source(name)).first or len(source.first) == 1
            for place, _ in source.places()
        ]
        time = mapping.source("occurred_at").places()[0][0]
        free = [
            {place for place, _ in mapping.source(name).places()}
            for name in self.free
            if name in mapping.fields
        ]
        return Columns(
            names={short: (name,) for name, short in self.names.items()},
            orders=[tuple(self.names[name] for name in given)] if given else [],
            needed=list(dict.fromkeys(needed)),
            time=self.names[time],
            texts=frozenset(self.names[place] for places in free for place in places),
            separators=_separators(mapping),
        )


def _separators(mapping: Mapping) -> tuple[str, ...]:
    if mapping.separator:
        return (mapping.separator,)
    return ("\t",) if mapping.input == "tsv" else SEPARATORS
