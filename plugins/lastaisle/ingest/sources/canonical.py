"""Canonical JSON Lines: every field of the raw_events contract at its own jsonPath.

Only the contract lists the fields. DuckDB's reader accepts more than JSON: NaN as a number, and a comma
before a closing brace. The rules of the contract judge such values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from data_contracts.contract import Contract
from data_contracts.privacy import quote
from lastaisle.ingest.sources.adapter import NOT_JSON, Adapter, json_object


def _prepare(contract: Contract) -> str:
    """Return the SELECT that parses the fields of the contract."""
    return json_object(json.dumps(_keys(contract)))


def _keys(contract: Contract) -> dict[str, Any]:
    """Return a struct with every jsonPath of the contract, and with each field on its top level."""
    spec: dict[str, Any] = {}
    for field in contract.fields:
        *folders, leaf = _steps(field.json_path)
        place = spec
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = "VARCHAR"
    return dict.fromkeys(_names(contract), "VARCHAR") | spec


def _names(contract: Contract) -> list[str]:
    """Return the names under which a field may stand on the top level, as in a Parquet file."""
    taken = {_steps(field.json_path)[0].casefold() for field in contract.fields}
    return [field.name for field in contract.fields if field.name not in taken]


def _fields(contract: Contract) -> Mapping[str, str]:
    """Read a field at its jsonPath, or by its name on the top level."""
    names = _names(contract)
    places = {
        field.name: [_member(*_steps(field.json_path)), *[_member(field.name)] * (field.name in names)]
        for field in contract.fields
    }
    return {name: f"coalesce({', '.join(found)})" for name, found in places.items()}


def _member(*steps: str) -> str:
    return ".".join(("doc", *map(quote, steps)))


def _steps(json_path: str) -> list[str]:
    return json_path.removeprefix("$.").split(".")


ADAPTER = Adapter("canonical", fields=_fields, prepare=_prepare, malformed=NOT_JSON, keys=_keys)
