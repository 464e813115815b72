"""Give tables beside the exposures the new pseudonyms after a rotation: consents and abandonments.

A pseudonym that no event knows stays as it is, since nothing leads from it to the new one, and a refusal must
not be lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from data_contracts.privacy import quote
from lastaisle.feedback.exposures.rotate import find_new_pseudonyms
from lastaisle.lake import Lake
from lastaisle.lake.retries import retry_conflicts
from lastaisle.lake.tables import ABANDONMENTS, CONSENTS
from lastaisle.lake.workspace import MEMORY_LIMIT, open_workspace
from lastaisle.privacy.anonymize import ATTEMPTS

#: The tables with their columns of pseudonyms.
RENEWED: Final = {CONSENTS: ("user_id", "session_id"), ABANDONMENTS: ("session_id",)}
_KEY_VERSION: Final = "key_version"


@dataclass(frozen=True)
class Renewal:
    """A table in a rotation.

    Attributes:
        rows_written: the rows that get a new pseudonym.
        rows_unknown: the rows of another key whose pseudonyms no event knows; they stay as they are. Of a
            table without versions of the key, all rows whose pseudonyms no event knows.
    """

    rows_written: int = 0
    rows_unknown: int = 0


def renew(
    lake: Lake, table: str, key_version: int, *, dry_run: bool = False, memory_limit: str = MEMORY_LIMIT
) -> Renewal:
    """Replace the old pseudonyms of a table by those of the events, in one commit; run again after a kill.

    Args:
        lake: holds events, which have the new key already unless this is a dry run; and the table.
        table: one of RENEWED.
        key_version: the version of the new key.
        dry_run: only count the rows that name another key and are known to events; change nothing.
        memory_limit: the memory of DuckDB; more data goes to a temporary folder.

    Raises:
        LakeConflictError: other writers kept changing the table meanwhile.
    """

    def attempt() -> Renewal:
        version = lake.version(table)
        rows = None if version is None else lake.dataset(table, version)
        if version is None or rows is None:
            return Renewal()
        with open_workspace(memory_limit, writes_to=lake.url) as connection:
            connection.register(table, rows)
            find_new_pseudonyms(connection, lake, table, RENEWED[table])
            renewed = connection.sql(_renewed(table, rows.schema, key_version)).to_arrow_table()
        counts = [renewed[name].to_pylist() for name in ("_known", "_changed", "_other")]
        unknown = sum(other and not known for known, _, other in zip(*counts, strict=True))
        if dry_run:
            return Renewal(sum(known and other for known, _, other in zip(*counts, strict=True)), unknown)
        changed = sum(counts[1])
        if changed:
            kept = renewed.select(rows.schema.names).cast(rows.schema)
            key = f"pseudonyms-{key_version}-from-{version}"
            lake.overwrite(table, kept, key=key, if_version=version)
        return Renewal(changed, unknown)

    return retry_conflicts(ATTEMPTS)(attempt)


def _renewed(table: str, schema: pa.Schema, key_version: int) -> str:
    """Return SQL of the rows after the rotation, with `_known`, `_changed` and `_other` (another key)."""
    names = RENEWED[table]
    known = " OR ".join(f"new_{name}.old IS NOT NULL" for name in names)
    changed = " OR ".join(f"coalesce(new_{name}.old <> new_{name}.new, false)" for name in names)
    new = {name: f"coalesce(new_{name}.new, {table}.{name})" for name in names}
    other = "true"
    if _KEY_VERSION in schema.names:
        other = f"{table}.{_KEY_VERSION} IS DISTINCT FROM {key_version}"
        changed = f"{changed} OR (({known}) AND {other})"
        new[_KEY_VERSION] = f"CASE WHEN {known} THEN {key_version} ELSE {table}.{_KEY_VERSION} END"
    columns = ", ".join(
        f"{new.get(name, f'{table}.{quote(name)}')} AS {quote(name)}" for name in schema.names
    )
    joins = " ".join(f"LEFT JOIN new_{name} ON {table}.{name} = new_{name}.old" for name in names)
    return (
        f"SELECT {columns}, ({known}) AS _known, ({changed}) AS _changed, ({other}) AS _other "
        f"FROM {table} {joins}"
    )
