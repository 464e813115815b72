"""The SQL that reads the columns of a format from the layout of one file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from data_contracts.privacy import literal, quote
from lastaisle.ingest.sources.adapter import Adapter, present
from lastaisle.ingest.sources.columns import ESCAPED, Columns, Layout, cell, plain
from lastaisle.ingest.sources.pointer import pointer_of

#: What databases and programs write for a missing text; any other word may be a brand.
_NO_TEXT = r"(NULL|null|\\N|NaN|nan|undefined)?"
_NO_OBJECT = """CASE WHEN doc IS NULL THEN 'not_json'
    WHEN NOT starts_with(ltrim(_text), '{') THEN 'not_an_object'
    WHEN list_has_any(kinds, ['OBJECT', 'ARRAY']) THEN 'nested_value' END"""


def fitted(adapter: Adapter, lines: Sequence[str], *, header: bool = True) -> Adapter:
    """Return the adapter for the layout of a file; an adapter without columns stays as it is.

    The SQL of the fields reads three columns: the struct `c` with each column of the format, as text, NULL if
    it is missing; `has`, the list of the columns that the row has; and `record`, which is the same text for
    the same values in every layout. The reasons of the adapter's own `malformed` and `ignored` stand after
    those of the layout.

    Args:
        adapter: of `Adapter.columns`.
        lines: the first lines.
        header: whether the first line may be a header.

    Raises:
        HeaderError: see `Columns.layout`.
    """
    if adapter.columns is None:
        return adapter
    layout = adapter.columns.layout(lines, header=header)
    if layout.separator is None:
        prepare, malformed = _objects(adapter.columns, layout), _NO_OBJECT
    else:
        prepare, malformed = _separated(adapter.columns, layout, layout.separator), _malformed(layout.width)
    malformed = f"coalesce({malformed}, {adapter.malformed})"
    ignored = f"coalesce({_header_again(adapter.columns)}, {adapter.ignored})"
    return replace(adapter, prepare=prepare, malformed=malformed, ignored=ignored, layout=layout)


def _separated(columns: Columns, layout: Layout, separator: str) -> str:
    """Return a `prepare` for lines of columns; only lines with quotes pay for the quotes."""
    values = {name: f"f[{place}]" for name, place in layout.places.items()}
    record = _record(columns, values)
    written = sorted(layout.places, key=layout.places.__getitem__)
    usual = separator == "," and written == list(columns.order(values)) and layout.width == len(written)
    return f"""
SELECT *, {_struct(columns, values)} AS c, {_list(values)} AS has,
  {f"CASE WHEN contains(_line, chr(34)) THEN {record} ELSE _line END" if usual else record} AS record
FROM (SELECT *, 0 AS _sub_row, {_split(separator)} AS f FROM lines)"""


def _split(separator: str) -> str:
    """Return SQL that splits a line into its columns; NULL if quotes stand where they may not.

    The cases stand in the order of their cost: most lines have neither quotes nor blanks beside a separator.
    """
    sign, before, after = (literal(text) for text in (separator, f" {separator}", f"{separator} "))
    pattern = literal(f"{ESCAPED[separator]}({cell(separator)})")
    texts = f"regexp_extract_all({sign} || _line, {pattern}, 1)"
    bare = """CASE WHEN starts_with(trim(x), '"') THEN replace(trim(x)[2:-2], '""', '"') ELSE trim(x) END"""
    # Where every column is quoted, no other quotes are there than those beside the separators.
    between = literal('"' + separator + '"')
    pieces = f"string_split(_line[2:-2], {between})"
    quotes = "strlen(_line) - strlen(replace(_line, chr(34), ''))"
    return f"""CASE
        WHEN contains(_line, chr(34)) THEN
          CASE WHEN starts_with(_line, chr(34)) AND ends_with(_line, chr(34)) AND {quotes} = 2 * len({pieces})
            THEN {pieces}
            WHEN array_to_string({texts}, {sign}) = _line THEN list_transform({texts}, lambda x: {bare}) END
        WHEN contains(_line, {before}) OR contains(_line, {after}) OR starts_with(_line, ' ')
            OR ends_with(_line, ' ')
          THEN list_transform(string_split(_line, {sign}), lambda x: trim(x))
        ELSE string_split(_line, {sign}) END"""


def _objects(columns: Columns, layout: Layout) -> str:
    """Return a `prepare` for lines of JSON objects; of several keys for a column, the first value counts."""
    keys = [key for keys in layout.keys.values() for key in keys]
    paths = ", ".join(literal(pointer_of(key)) for key in keys)
    place = {key: at for at, key in enumerate(keys, start=1)}
    values = {
        name: f"coalesce({', '.join(f'f[{place[key]}]' for key in keys)})"
        for name, keys in layout.keys.items()
    }
    has = ", ".join(
        f"CASE WHEN coalesce({', '.join(f'kinds[{place[key]}]' for key in keys)}) IS NOT NULL "
        f"THEN {literal(name)} END"
        for name, keys in layout.keys.items()
    )
    return f"""
SELECT *, {_struct(columns, values)} AS c, [{has}] AS has, {_record(columns, values)} AS record
FROM (SELECT *, json_extract_string(doc, [{paths}]) AS f, json_type(doc, [{paths}]) AS kinds
      FROM (SELECT *, 0 AS _sub_row, TRY_CAST(_text AS JSON) AS doc FROM lines))"""


def _struct(columns: Columns, values: Mapping[str, str]) -> str:
    """Return a struct with every column of the format; what only spells a missing value is NULL."""
    members = {}
    for name in columns.names:
        value = values.get(name, "NULL")
        members[name] = _present_text(value) if name in columns.texts else present(value)
    return "{" + ", ".join(f"{literal(name)}: ({value})::VARCHAR" for name, value in members.items()) + "}"


def _present_text(text: str) -> str:
    """Return SQL that is a free text, or NULL if the text only spells the absence of a value."""
    # The length spares most texts the comparison.
    return (
        f"CASE WHEN strlen({text}) > 9 OR NOT regexp_full_match({text}, {literal(_NO_TEXT)}) THEN {text} END"
    )


def _record(columns: Columns, values: Mapping[str, str]) -> str:
    """Return the text of a row: its columns in the order of a file without a header, with commas."""
    texts = (f"coalesce({values.get(name, 'NULL')}, '')" for name in columns.order(values))
    return f"concat_ws(',', {', '.join(texts)})"


def _malformed(width: int) -> str:
    return f"""CASE WHEN f IS NULL THEN 'misplaced_quote'
        WHEN len(f) <> {width} THEN 'wrong_number_of_columns' END"""


def _header_again(columns: Columns) -> str:
    """Return an `ignored` for the rows that hold names of columns, as headers of joined files do."""
    plain_text = "regexp_replace(lower(c.{}), '[-_ ]', '', 'g')".format
    named = " AND ".join(
        f"{plain_text(quote(name))} IN ({_texts(map(plain, columns.names[name]))})" for name in columns.needed
    )
    # Hardly any time begins with a letter; the comparison spares all others the rest.
    return f"CASE WHEN c.{quote(columns.time)} >= 'A' THEN CASE WHEN {named} THEN 'header' END END"


def _list(texts: Iterable[str]) -> str:
    return f"[{_texts(texts)}]"


def _texts(texts: Iterable[str]) -> str:
    return ", ".join(map(literal, texts))
