"""Compile one ODCS contract into typed fields, rules, an Arrow schema and a privacy policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject

from data_contracts.document import (
    choose_table,
    find_contract,
    packaged_tables,
    read_document,
    refuse_unknown_properties,
)
from data_contracts.errors import Problems
from data_contracts.features import Feature, compile_features
from data_contracts.field import Field, compile_fields, compile_treatments
from data_contracts.privacy import Treatment
from data_contracts.quality.batch_rules import BatchRule
from data_contracts.quality.compile import compile_rules
from data_contracts.quasi_identifiers import QuasiIdentifiers, compile_quasi_identifiers
from data_contracts.retention import retentions_in
from data_contracts.rules import Rule, refuse_broken_sql
from data_contracts.uniqueness import OWN_KEYS, UniqueKey, compile_unique_keys

#: The tables that are ingested in batches; the pipeline makes the others.
INGESTED = ("raw_events", "items", "exposures")


@dataclass(frozen=True)
class Contract:
    """A compiled contract.

    Attributes:
        name: the name of the table.
        version: the version of the contract.
        path: the YAML file.
        fields: in the order of the YAML.
        rules: the rules for a typed row (types and uniqueness are checked elsewhere).
        batch_rules: the rules for a batch as a whole.
        features: the columns that models may learn from, in the order of the YAML.
        unique_keys: the fields whose values together occur once in the table.
        quasi_identifiers: the columns that together single out a shopper; None if the contract names none.
    """

    name: str
    version: str
    path: Path
    fields: tuple[Field, ...]
    rules: tuple[Rule, ...]
    batch_rules: tuple[BatchRule, ...] = ()
    features: tuple[Feature, ...] = ()
    unique_keys: tuple[UniqueKey, ...] = ()
    quasi_identifiers: QuasiIdentifiers | None = None

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

    @property
    def row_id(self) -> str:
        """The field that names a row: the own key of the table, by default its first field that is unique.

        Raises:
            KeyError: no field alone is unique.
        """
        alone = (key.columns[0] for key in self.unique_keys if len(key.columns) == 1)
        found = OWN_KEYS.get(self.name) or next(alone, None)
        if found is None:
            raise KeyError(f"contract {self.name} has no field that is unique alone")
        return found

    def arrow_schema(self) -> pa.Schema:
        """Return the columns as Arrow fields. All are nullable, since rules check required fields."""
        return pa.schema([pa.field(field.name, field.arrow_type) for field in self.fields])

    def privacy_policy(self) -> dict[str, Treatment]:
        """Return the treatment of each field, in the order of the fields."""
        return {field.name: field.treatment for field in self.fields}


def load_contract(name_or_path: str | Path, table: str | None = None) -> Contract:
    """Load a packaged contract by its name (`raw_events`), or any other contract by its path.

    A text that was compiled before, from the same path, gives the same object again.

    Args:
        name_or_path: the name of a packaged contract, or the path of a YAML file.
        table: the table of a file with several tables; without it, the only table, or the table that is named
            as the file.

    Raises:
        ContractError: the contract is wrong; the error names the file, the place and the reason.
        ContractErrors: the contract has several errors; the error names all of them.
    """
    path = find_contract(name_or_path)
    return _compile(path, path.read_bytes(), table)


@lru_cache(maxsize=64)
def _compile(path: Path, content: bytes, table: str | None) -> Contract:
    """Compile one table of the content of a contract's file; only contracts without errors are remembered."""
    problems = Problems(path)
    document = read_document(path, problems, content)
    contract = compile_table(problems, document, choose_table(path, document, table))
    problems.refuse()
    return contract


def compile_table(problems: Problems, document: OpenDataContractStandard, table: SchemaObject) -> Contract:
    """Compile one table of a contract as far as possible, and collect its errors."""
    refuse_unknown_properties(problems, table)
    treatments = compile_treatments(problems, document)
    if treatments is None and str(table.name) in packaged_tables():
        with problems.at("customProperties.treatments"):
            raise ValueError(f"{table.name} should map each classification to a treatment, received none")
    if str(table.name) in packaged_tables():  # other contracts may state retention in words of their own
        with problems.at("slaProperties"):
            retentions_in(problems.path, document)
    fields = compile_fields(problems, table, treatments)
    features = compile_features(problems, document, fields)
    rules, batch_rules = compile_rules(problems, table, fields)
    with problems.at(f"schema.{table.name}.quality"):
        _refuse_unjudged(str(table.name), batch_rules)
    keys: tuple[UniqueKey, ...] = ()
    with problems.at(f"schema.{table.name}.properties"):
        keys = compile_unique_keys(problems.path, table)
    refuse_broken_sql(problems, str(table.name), fields, rules)
    return Contract(
        name=str(table.name),
        version=str(document.version),
        path=problems.path,
        fields=fields,
        rules=rules,
        batch_rules=batch_rules,
        features=features,
        unique_keys=keys,
        quasi_identifiers=compile_quasi_identifiers(problems, document, fields),
    )


def _refuse_unjudged(table: str, batch_rules: Sequence[BatchRule]) -> None:
    """Refuse rules about a batch in a table that is not ingested in batches.

    Raises:
        ValueError: the table is one that the pipeline makes of raw_events.
    """
    if batch_rules and table in packaged_tables() and table not in INGESTED:
        names = ", ".join(rule.name for rule in batch_rules)
        raise ValueError(
            f"{names}: a rule about a batch is judged while {INGESTED[0]} is ingested: "
            "write it in that contract"
        )
