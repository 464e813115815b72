"""One field of a contract: its type, its default, and how sensitive it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pyarrow as pa
from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject, SchemaProperty

from data_contracts.document import custom_values
from data_contracts.errors import Problems
from data_contracts.names import check_name
from data_contracts.privacy import Treatment, literal, parse_treatment, quote
from data_contracts.scans import Scan, choose_scan
from data_contracts.spellings import SPELLINGS, check_spelling
from data_contracts.types import accepts, column_type, parse_sql

_FIELD_OPTIONS = ("default", "jsonPath", "scan", "spelling", "treatment", "unreadable")
Unreadable = Literal["refuse", "drop"]
UNREADABLE: tuple[str, ...] = get_args(Unreadable)
_CONTRACT_OPTIONS = ("treatments", "features", "quasiIdentifiers")
#: The treatments of a contract that has none of its own.
_DEFAULTS = {
    "public": Treatment("keep"),
    "internal": Treatment("keep"),
    "restricted": Treatment("pseudonymize"),
    "confidential": Treatment("drop"),
}


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
        scan: the kinds of personal data that are searched in the values: text, identifier or none.
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
    scan: Scan = "none"

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


def compile_treatments(problems: Problems, document: OpenDataContractStandard) -> dict[str, Treatment] | None:
    """Return the treatment of each classification of a contract; None if the contract has no treatments.

    Args:
        problems: collects an unknown custom property of the contract, or a treatment that is none.
        document: the contract.
    """
    values = custom_values(document.customProperties)
    unknown = set(values) - set(_CONTRACT_OPTIONS)
    with problems.at("customProperties"):
        if unknown:
            raise ValueError(f"unknown property {', '.join(sorted(unknown))}")
    if "treatments" not in values:
        return None
    treatments = values["treatments"]
    with problems.at("customProperties.treatments"):
        if not isinstance(treatments, dict):
            raise ValueError(f"should map each classification to a treatment, received {treatments!r}")
        return {str(name): parse_treatment(value) for name, value in treatments.items()}
    return dict(_DEFAULTS)


def compile_fields(
    problems: Problems, table: SchemaObject, treatments: Mapping[str, Treatment] | None
) -> tuple[Field, ...]:
    """Compile the fields of a table, in the order of the YAML.

    Args:
        problems: collects a field that cannot be compiled, a name that stands twice, and a table without
            fields.
        table: the table as the YAML describes it.
        treatments: the treatment of each classification; None for the default treatments.

    Returns:
        The fields that could be compiled.
    """
    fields: list[Field] = []
    for entry in table.properties or []:
        where = f"schema.{table.name}.properties.{entry.name}"
        with problems.at(where):
            if any(entry.name == field.name for field in fields):
                raise ValueError(f"the field {entry.name!r} stands twice")
            check_name(str(entry.name), str(table.name))
            fields.append(_field(entry, treatments))
    with problems.at(f"schema.{table.name}.properties"):
        if not table.properties:
            raise ValueError("should name at least one field")
    for position, field in enumerate(fields):
        with problems.at(f"schema.{table.name}.properties.{field.name}.customProperties"):
            if problem := _path_problem(field, fields[:position]):
                raise ValueError(problem)
    lost = [field.name for field in fields if _is_lost(field)]
    if treatments is None and lost:
        problems.warnings.append(
            f"schema.{table.name}: anonymize would drop {', '.join(lost)}: only a string becomes a "
            "pseudonym. Give the field a treatment, or the contract customProperties.treatments"
        )
    return tuple(fields)


def _is_lost(field: Field) -> bool:
    """Tell whether a field is dropped only because its type can be no pseudonym."""
    return field.treatment.action == "drop" and field.classification == "restricted"


def _path_problem(field: Field, earlier: Sequence[Field]) -> str | None:
    """Return the reason why a line cannot hold the jsonPath of a field beside the earlier ones, or None."""
    own = field.json_path.casefold().split(".")
    for other in earlier:
        known = other.json_path.casefold().split(".")
        shared = min(len(own), len(known))
        if own[:shared] == known[:shared] and len(own) != len(known):
            return f"jsonPath {field.json_path} and that of {other.name}, {other.json_path}, overlap"
        if own == known and field.json_path != other.json_path:
            return f"jsonPath {field.json_path} differs from that of {other.name} only in its capitals"
    return None


def _field(entry: SchemaProperty, treatments: Mapping[str, Treatment] | None) -> Field:
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
    treatment = _treatment(entry, custom, treatments)
    classification = entry.classification or ""
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
        classification=classification,
        description=" ".join((entry.description or "").split()),
        default=default,
        json_path=json_path,
        treatment=treatment,
        spelling=spelling,
        unreadable=unreadable,
        scan=choose_scan(custom.get("scan"), str(entry.logicalType), spelling, classification, treatment),
    )


def _treatment(
    entry: SchemaProperty, custom: Mapping[str, Any], treatments: Mapping[str, Treatment] | None
) -> Treatment:
    """Return the treatment of a field.

    Raises:
        ValueError: the classification is missing or unknown, so nothing says how sensitive the field is; or
            its treatment does not fit the type.
    """
    known, classification = _DEFAULTS if treatments is None else treatments, entry.classification or ""
    if not classification:
        raise ValueError(
            "classification is missing, so nothing says how sensitive the field is: it should be one of "
            f"{', '.join(known)}"
        )
    if classification not in known:
        raise ValueError(
            f"classification should be one of {', '.join(known)}; received {entry.classification!r}"
        )
    treatment = known[classification]
    if "treatment" in custom:
        treatment = parse_treatment(custom["treatment"])
    needed = "timestamp" if "truncate" in treatment.options else "string"
    if treatment.action in ("coarsen", "pseudonymize") and entry.logicalType != needed:
        if treatments is None and "treatment" not in custom:
            return Treatment("drop")
        how = ", ".join(treatment.options) or treatment.action
        raise ValueError(f"treatment: {how} needs a {needed}, this field is a {entry.logicalType}")
    return treatment
