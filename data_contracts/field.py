"""One field of a contract: its type, its default, and how sensitive it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject, SchemaProperty

from data_contracts.document import custom_values
from data_contracts.errors import ContractError
from data_contracts.names import check_name
from data_contracts.privacy import Treatment, literal, parse_treatment, quote
from data_contracts.spellings import SPELLINGS, check_spelling
from data_contracts.types import accepts, column_type, parse_sql

_FIELD_OPTIONS = ("default", "jsonPath", "spelling", "treatment", "unreadable")
Unreadable = Literal["refuse", "drop"]
UNREADABLE: tuple[str, ...] = get_args(Unreadable)
_CONTRACT_OPTIONS = ("treatments", "features")


@dataclass(frozen=True)
class Field:
    """One column.

    Attributes:
        name: the name of the column.
        logical_type: the ODCS type: string, integer, number, boolean, timestamp or date.
        arrow_type: the type in Arrow and Delta.
        sql_type: the type in DuckDB.
        required: whether every row must have a value.
        classification: the sensitivity of the field; `treatments` in the contract maps it to a treatment.
        description: the meaning of the field.
        default: the value of an absent field, or None.
        json_path: the place of the field in a line of canonical JSON.
        treatment: the treatment of the field by anonymize.
        spelling: the way to read a text before its type: of `data_contracts.spellings`, or None.
        unreadable: the fate of a value that breaks a rule of this field. `refuse` sends the row to
            quarantine; `drop` leaves the value out, keeps the row, and counts the rule as a warning.
    """

    name: str
    logical_type: str
    arrow_type: pa.DataType
    sql_type: str
    required: bool
    classification: str
    description: str
    default: Any | None
    json_path: str
    treatment: Treatment
    spelling: str | None = None
    unreadable: Unreadable = "refuse"

    @property
    def type_rule(self) -> str:
        """The name of the rule that a text breaks if it cannot become this type."""
        return f"{self.name}_is_{self.logical_type}"

    @property
    def is_plain_text(self) -> bool:
        """Whether every text is a value of this field, so that no text breaks its type."""
        return self.logical_type == "string" and self.spelling != "identifier"

    def parse_sql(self, column: str | None = None) -> str:
        """Return DuckDB SQL that turns a text column into this type; NULL if the text is of another type."""
        text = quote(column or self.name)
        if self.spelling:
            text = f"({SPELLINGS[self.spelling][0](text)})"
        return parse_sql(text, self.logical_type, self.sql_type)

    def default_sql(self) -> str:
        """Return the default as an SQL literal of this type."""
        return f"{literal(str(self.default))}::{self.sql_type}"


def compile_treatments(path: Path, document: OpenDataContractStandard) -> dict[str, Treatment]:
    """Return the treatment of each classification of a contract.

    Raises:
        ContractError: an unknown custom property of the contract, or a treatment that is none.
    """
    values = custom_values(document.customProperties)
    where = "customProperties.treatments"
    unknown = set(values) - set(_CONTRACT_OPTIONS)
    if unknown:
        raise ContractError(path, "customProperties", f"unknown property {', '.join(sorted(unknown))}")
    treatments = values.get("treatments")
    if not isinstance(treatments, dict):
        raise ContractError(
            path, where, f"should map each classification to a treatment, received {treatments!r}"
        )
    try:
        return {str(name): parse_treatment(value) for name, value in treatments.items()}
    except ValueError as error:
        raise ContractError(path, where, str(error)) from error


def compile_fields(path: Path, table: SchemaObject, treatments: Mapping[str, Treatment]) -> tuple[Field, ...]:
    """Compile the fields of a table, in the order of the YAML.

    Args:
        path: the YAML file, for error messages.
        table: the table as the YAML describes it.
        treatments: the treatment of each classification.

    Raises:
        ContractError: a field that cannot be compiled, a name that stands twice, or a table without fields.
    """
    fields: list[Field] = []
    for entry in table.properties or []:
        where = f"schema.{table.name}.properties.{entry.name}"
        if any(entry.name == field.name for field in fields):
            raise ContractError(path, where, f"the field {entry.name!r} stands twice")
        try:
            check_name(str(entry.name), str(table.name))
            fields.append(_field(entry, treatments))
        except ValueError as error:
            raise ContractError(path, where, str(error)) from error
    if not fields:
        raise ContractError(path, f"schema.{table.name}.properties", "should name at least one field")
    if table.customProperties:
        unknown = ", ".join(sorted(custom_values(table.customProperties)))
        raise ContractError(
            path, f"schema.{table.name}.customProperties", f"a table takes none, received {unknown}"
        )
    for field in fields:
        problem = _path_problem(field, fields)
        if problem:
            raise ContractError(
                path, f"schema.{table.name}.properties.{field.name}.customProperties", problem
            )
    return tuple(fields)


def _path_problem(field: Field, fields: Sequence[Field]) -> str | None:
    """Return the reason why a line cannot hold the jsonPath of a field beside the others', or None."""
    for other in fields:
        longer, shorter = (path.casefold().split(".") for path in (field.json_path, other.json_path))
        if longer[: len(shorter)] == shorter and len(longer) > len(shorter):
            return f"jsonPath {field.json_path} lies inside the value of {other.name}, {other.json_path}"
        if longer == shorter and field.json_path != other.json_path:
            return f"jsonPath {field.json_path} differs from that of {other.name} only in its capitals"
    return None


def _field(entry: SchemaProperty, treatments: Mapping[str, Treatment]) -> Field:
    name = str(entry.name)
    arrow_type, sql_type = column_type(entry.logicalType, entry.logicalTypeOptions or {})
    custom = custom_values(entry.customProperties)
    unknown = set(custom) - set(_FIELD_OPTIONS)
    if unknown:
        raise ValueError(f"customProperties: unknown property {', '.join(sorted(unknown))}")
    if entry.enum:
        raise ValueError("enum belongs to ODCS 3.2: list the values under quality, as arguments.validValues")
    json_path = custom.get("jsonPath", f"$.{name}")
    if not re.fullmatch(r"\$(\.[A-Za-z_][A-Za-z0-9_]*)+", str(json_path)):
        raise ValueError(
            f"customProperties.jsonPath should look like $.consent.analytics, received {json_path!r}"
        )
    default = custom.get("default")
    if default is not None and not accepts(str(entry.logicalType), default):
        raise ValueError(f"customProperties.default: {default!r} is no {entry.logicalType}")
    spelling, unreadable = custom.get("spelling"), custom.get("unreadable", "refuse")
    if spelling is not None:
        check_spelling(spelling, entry.logicalType)
    if unreadable not in UNREADABLE:
        raise ValueError(f"customProperties.unreadable is {' or '.join(UNREADABLE)}, received {unreadable!r}")
    required = bool(entry.required or entry.primaryKey)
    if unreadable == "drop" and (required or entry.unique or default is not None):
        raise ValueError(
            "customProperties.unreadable: drop needs a field without required, unique and default"
        )
    return Field(
        name=name,
        logical_type=str(entry.logicalType),
        arrow_type=arrow_type,
        sql_type=sql_type,
        required=required,
        classification=str(entry.classification),
        description=" ".join((entry.description or "").split()),
        default=default,
        json_path=json_path,
        treatment=_treatment(entry, custom, treatments),
        spelling=spelling,
        unreadable=unreadable,
    )


def _treatment(
    entry: SchemaProperty, custom: Mapping[str, Any], treatments: Mapping[str, Treatment]
) -> Treatment:
    classification = entry.classification or ""
    if classification not in treatments:
        known = ", ".join(treatments)
        raise ValueError(f"classification should be one of {known}; received {entry.classification!r}")
    treatment = parse_treatment(custom["treatment"]) if "treatment" in custom else treatments[classification]
    needed = "timestamp" if "truncate" in treatment.options else "string"
    if treatment.action in ("coarsen", "pseudonymize") and entry.logicalType != needed:
        how = ", ".join(treatment.options) or treatment.action
        raise ValueError(f"treatment: {how} needs a {needed}, this field is a {entry.logicalType}")
    return treatment
