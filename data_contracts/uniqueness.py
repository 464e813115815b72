"""The unique keys of a table: fields, or tuples of fields, of which each value occurs once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from open_data_contract_standard.model import SchemaObject

from data_contracts.errors import ContractError

#: The fields of which each value occurs once, because of the way in which the pipeline makes the rows.
OWN_KEYS: Final = {"raw_events": "event_id", "events": "event_id", "exposures": "exposure_id"}


@dataclass(frozen=True)
class UniqueKey:
    """Fields whose values together occur once in a table. A row that lacks one of them is not compared.

    Attributes:
        name: the rule that a later row with the same values breaks.
        columns: the fields.
    """

    name: str
    columns: tuple[str, ...]


def compile_unique_keys(path: Path, table: SchemaObject) -> tuple[UniqueKey, ...]:
    """Compile `unique` and `primaryKey`; several fields with primaryKey are one key.

    The event id is the own key of raw_events, and the exposure id that of exposures: ingestion counts a later
    row with the same id as a duplicate. So that field must be unique alone. The rows of events follow
    from raw_events, so no other field can be unique there.

    Raises:
        ContractError: a key that is not enforced on all rows.
    """
    entries = {str(entry.name): entry for entry in table.properties or []}
    keys = [name for name, entry in entries.items() if entry.unique]
    primary = tuple(name for name, entry in entries.items() if entry.primaryKey)
    where = f"schema.{table.name}.properties"
    positions = [entries[name].primaryKeyPosition for name in primary]
    given = [position for position in positions if position not in (None, -1)]
    for name, entry in entries.items():
        if not entry.primaryKey and entry.primaryKeyPosition not in (None, -1):
            raise ContractError(
                path, f"{where}.{name}", "primaryKeyPosition belongs to a field with primaryKey"
            )
    if len(set(given)) < len(given):
        raise ContractError(path, where, f"two fields have one primaryKeyPosition, received {positions}")
    columns = dict.fromkeys([*((name,) for name in keys), *[primary] * bool(primary)])
    _check_own_key(path, str(table.name), list(columns))
    return tuple(UniqueKey(f"{'_and_'.join(key)}_is_unique", key) for key in columns)


def _check_own_key(path: Path, table: str, keys: Sequence[tuple[str, ...]]) -> None:
    own = OWN_KEYS.get(table)
    if own is None:
        return
    where = f"schema.{table}.properties"
    if (own,) not in keys:
        received = " and ".join(f"({', '.join(key)})" for key in keys) or "no key"
        reason = f"{own} alone is the key of {table}: give it unique: true; received {received}"
        raise ContractError(path, f"{where}.{own}", reason)
    others = [key for key in keys if own not in key]
    if table == "events" and others:
        reason = f"only {own} is unique in {table}, whose rows follow from raw_events: unique belongs there"
        raise ContractError(path, f"{where}.{others[0][0]}", reason)
