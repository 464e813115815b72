"""Canonical JSON Lines: the fields of the raw_events contract by their own names; the contract alone lists them.

Consent stands in an object, `"consent": {"analytics": true, "personalization": true}`, or flat as in the contract.
DuckDB's reader is lenient where JSON is strict: NaN as a number and a comma before a closing brace are accepted here
and judged by the contract's rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from lastaisle.ingest.sources.adapter import NOT_JSON, Adapter, json_object

_PREFIX = "consent_"


def _prepare(names: Sequence[str]) -> str:
    nested = {name.removeprefix(_PREFIX): "VARCHAR" for name in names if name.startswith(_PREFIX)}
    return json_object(json.dumps({name: "VARCHAR" for name in names} | {"consent": nested}))


def _fields(names: Sequence[str]) -> Mapping[str, str]:
    return {
        name: f"coalesce(doc.{name}, doc.consent.{name.removeprefix(_PREFIX)})"
        if name.startswith(_PREFIX)
        else f"doc.{name}"
        for name in names
    }


ADAPTER = Adapter("canonical", fields=_fields, prepare=_prepare, malformed=NOT_JSON)
