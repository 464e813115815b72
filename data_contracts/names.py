"""The names that a field may have."""

from __future__ import annotations

#: The columns that the pipeline adds to the fields of a table, or to the rows that it makes of them. The
#: fields of raw_events become columns of the table events, too.
ADDED_COLUMNS: dict[str, tuple[str, ...]] = {
    "raw_events": (
        *(
            "batch_id",
            "source_file",
            "source_row",
            "sub_row",
            "ingested_at",
            "contract_version",
            "event_date",
        ),
        *("sequence", "key_version", "raw", "rules"),
    ),
    "items": ("batch_id",),
    "events": ("source_file", "source_row", "sub_row", "ingested_at", "raw", "rules"),
}
#: A name that DuckDB itself gives to the number of a row.
_ROW_NUMBER = "rowid"


def check_name(name: str, table: str) -> None:
    """Refuse a name that a field of a table cannot have.

    The columns that the pipeline's SQL adds for itself begin with an underscore, so they meet no field.

    Raises:
        ValueError: the name is not lower_snake_case, begins with an underscore, or is the name of a column
            that the pipeline adds.
    """
    if not (name.isascii() and name.isidentifier() and name == name.lower()):
        raise ValueError(f"a field name is lower_snake_case, received {name!r}")
    if name.startswith("_"):
        raise ValueError(f"a name with a leading underscore belongs to the pipeline, received {name!r}")
    if name == _ROW_NUMBER:
        raise ValueError(f"DuckDB numbers rows under the name {name!r}: choose another name")
    if name in ADDED_COLUMNS.get(table, ()):
        raise ValueError(f"the pipeline adds a column {name!r} to the rows of {table}: choose another name")
