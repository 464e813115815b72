"""Compile one ODCS contract into typed fields, rules, an Arrow schema and a privacy policy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_contracts.document import find_contract, only_table, read_document
from data_contracts.features import Feature, compile_features
from data_contracts.field import Field, compile_fields, compile_treatments
from data_contracts.privacy import Treatment
from data_contracts.rules import Rule, compile_expectations, compile_rules, refuse_broken_sql
from data_contracts.uniqueness import UniqueKey, compile_unique_keys


@dataclass(frozen=True)
class Contract:
    """A compiled contract.

    Attributes:
        name: the name of the table.
        version: the version of the contract.
        path: the YAML file.
        fields: in the order of the YAML.
        rules: the rules for a typed row (types and uniqueness are checked elsewhere).
        expectations: further Great Expectations configurations, for the whole table.
        features: the columns that models may learn from, in the order of the YAML.
        unique_keys: the fields whose values together occur once in the table.
    """

    name: str
    version: str
    path: Path
    fields: tuple[Field, ...]
    rules: tuple[Rule, ...]
    expectations: tuple[dict[str, Any], ...] = ()
    features: tuple[Feature, ...] = ()
    unique_keys: tuple[UniqueKey, ...] = ()

    def field(self, name: str) -> Field:
        """Return a field by its name.

        Raises:
            KeyError: there is no such field; the message names all fields.
        """
        for field in self.fields:
            if field.name == name:
                return field
        known = ", ".join(field.name for field in self.fields)
        raise KeyError(f"contract {self.name} has no field {name!r}; it has {known}")

    def rule(self, name: str) -> Rule:
        """Return a rule by its name.

        Raises:
            KeyError: there is no such rule; the message names all rules.
        """
        for rule in self.rules:
            if rule.name == name:
                return rule
        known = ", ".join(rule.name for rule in self.rules)
        raise KeyError(f"contract {self.name} has no rule {name!r}; it has {known}")

    def arrow_schema(self) -> pa.Schema:
        """Return the columns as Arrow fields. All are nullable, since rules check required fields."""
        return pa.schema([pa.field(field.name, field.arrow_type) for field in self.fields])

    def privacy_policy(self) -> dict[str, Treatment]:
        """Return the treatment of each field, in the order of the fields."""
        return {field.name: field.treatment for field in self.fields}


def load_contract(name_or_path: str | Path) -> Contract:
    """Load a packaged contract by its name (`raw_events`), or any other contract by its path.

    Raises:
        ContractError: the contract is wrong; the error names the file, the place and the reason.
    """
    path = find_contract(name_or_path)
    document = read_document(path)
    table = only_table(path, document)
    fields = compile_fields(path, table, compile_treatments(path, document))
    features = compile_features(path, document, fields)
    rules = compile_rules(path, table, fields)
    refuse_broken_sql(path, str(table.name), fields, rules)
    expectations = compile_expectations(path, table)
    keys = compile_unique_keys(path, table)
    name, version = str(table.name), str(document.version)
    return Contract(name, version, path, fields, rules, expectations, features, keys)
