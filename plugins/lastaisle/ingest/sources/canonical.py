"""Canonical JSON Lines: every field of the raw_events contract at its own jsonPath.

The contract alone lists the fields. DuckDB's reader is lenient where JSON is strict: NaN as a number and a
comma before a closing brace are accepted here and judged by the contract's rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from data_contracts.contract import Contract
from lastaisle.ingest.sources.adapter import NOT_JSON, Adapter, json_object


def _prepare(contract: Contract) -> str:
    """Return the parse of what the contract knows."""
    return json_object(json.dumps(_keys(contract)))


def _keys(contract: Contract) -> dict[str, Any]:
    """Return a struct with every jsonPath of the contract, and each field flat beside it."""
    spec: dict[str, Any] = {}
    for field in contract.fields:
        *folders, leaf = _steps(field.json_path)
        place = spec
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = "VARCHAR"
    return {field.name: "VARCHAR" for field in contract.fields} | spec


def _fields(contract: Contract) -> Mapping[str, str]:
    """Read a field at its jsonPath, or flat by its name as a Parquet file has it."""
    return {
        field.name: f"coalesce({'.'.join(('doc', *_steps(field.json_path)))}, doc.{field.name})"
        if field.json_path != f"$.{field.name}"
        else f"doc.{field.name}"
        for field in contract.fields
    }


def _steps(json_path: str) -> list[str]:
    return json_path.removeprefix("$.").split(".")


ADAPTER = Adapter("canonical", fields=_fields, prepare=_prepare, malformed=NOT_JSON, keys=_keys)
