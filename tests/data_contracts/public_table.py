"""A contract of one table, whose classification `public` keeps all values."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from data_contracts.contract import Contract, load_contract

HEAD = """apiVersion: v3.1.0
kind: DataContract
id: t
name: t
version: 1.0.0
status: active
customProperties:
  - {property: treatments, value: {public: keep}}
schema:
  - name: t
    properties:
"""


def load_public_table(folder: Path, fields: Iterable[str]) -> Contract:
    """Write a contract of table t, and load it; each field is a name and further keys, as in YAML."""
    entries = (f"      - {{classification: public, name: {field}}}\n" for field in fields)
    path = folder / "t.odcs.yaml"
    path.write_text(HEAD + "".join(entries), encoding="utf-8")
    return load_contract(path)
