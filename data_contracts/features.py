"""The context features: the columns, beside the items themselves, that models may learn from.

A contract lists them under the custom property `features`. The sessions that are read, the models and the
signature of the packed model all take their columns from this list, in the order of the YAML.

    customProperties:
      - property: features
        value:
          - {of: session, name: user, column: user_id, kind: category}
          - {of: event, name: dwell_ms, kind: number}

`of` is session, event or item. `kind` is category (text with a limited set of values), number or time.
`column` is the column of the table; the default is the name of the feature.

    >>> [feature.name for feature in context_features("item")]
    ['category', 'brand', 'price']
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar, get_args

from open_data_contract_standard.model import OpenDataContractStandard

from data_contracts.document import choose_table, custom_values, find_contract, read_document
from data_contracts.errors import Problems, UnknownFieldError
from data_contracts.field import Field, compile_fields, compile_treatments
from data_contracts.names import check_name

Subject = Literal["session", "event", "item"]
Kind = Literal["category", "number", "time"]
_Name = TypeVar("_Name", bound=str)
SUBJECTS: tuple[Subject, ...] = get_args(Subject)
_KEYS = ("of", "name", "column", "kind")
#: The names that a session, an event and an item have in a log beside the features.
_OWN_NAMES: dict[Subject, tuple[str, ...]] = {
    "session": ("returning",),
    "event": ("item_id", "occurred_at", "added", "purchased"),
    "item": ("item_id",),
}
#: The columns that the pipeline computes for a session and its events.
_OWN_COLUMNS = (
    *("counts", "added", "purchased", "started_at", "ended_at", "n_events", "seconds_a_view"),
    *("events", "refused", "returning"),
)
#: The logical types that a feature of each kind can be read from.
_TYPES: dict[Kind, tuple[str, ...]] = {
    "category": ("string",),
    "number": ("integer", "number"),
    "time": ("timestamp",),
}


@dataclass(frozen=True)
class Feature:
    """One context feature.

    Attributes:
        subject: the session, the event or the item that the feature describes.
        name: the name by which models and services know it.
        column: the column of the table that holds it.
        kind: category, number or time.
        sql_type: the type of the column in DuckDB.
        required: whether every row of the table holds a value in the column.
    """

    subject: Subject
    name: str
    column: str
    kind: Kind
    sql_type: str
    required: bool


@cache
def context_features(subject: Subject | None = None) -> tuple[Feature, ...]:
    """Return the features of the packaged contract `events`, in the order of the YAML.

    This reads only the YAML: it neither compiles the rules nor imports DuckDB.

    Args:
        subject: return only the features of sessions, of events or of items; all by default.

    Raises:
        ContractError: a contract that is itself wrong.
    """
    path = find_contract("events")
    problems = Problems(path)
    document = read_document(path, problems)
    fields = compile_fields(problems, choose_table(path, document), compile_treatments(problems, document))
    features = compile_features(problems, document, fields)
    problems.refuse()
    return tuple(feature for feature in features if subject in (None, feature.subject))


def compile_features(
    problems: Problems, document: OpenDataContractStandard, fields: Sequence[Field]
) -> tuple[Feature, ...]:
    """Compile the custom property `features`; a contract without it has no features.

    Args:
        problems: collects an entry that names no column, has an unknown key or kind, or stands twice.
        document: the contract.
        fields: the fields of its table.
    """
    entries = custom_values(document.customProperties).get("features", [])
    where = "customProperties.features"
    columns = {field.name: field for field in fields}
    features: list[Feature] = []
    with problems.at(where):
        if not isinstance(entries, list):
            entries, received = [], entries
            raise ValueError(f"should be a list of features, received {received!r}")
    for entry in entries:
        with problems.at(where):
            feature = _feature(entry, columns)
            if any((feature.subject, feature.name) == (known.subject, known.name) for known in features):
                raise ValueError(f"the feature {feature.name!r} of {feature.subject} stands twice")
            features.append(feature)
    return tuple(features)


def _feature(entry: Any, columns: dict[str, Field]) -> Feature:
    if not isinstance(entry, dict) or not {"of", "name", "kind"} <= set(entry) <= set(_KEYS):
        raise ValueError(f"a feature has of, name, kind and perhaps column; received {entry!r}")
    name = str(entry["name"])
    subject, kind = _one_of(SUBJECTS, "of", entry["of"]), _one_of(tuple(_TYPES), "kind", entry["kind"])
    check_name(name, "features")
    if name in _OWN_NAMES[subject]:
        raise ValueError(
            f"the pipeline gives {subject}s a value {name!r}: choose another name for the feature"
        )
    column = str(entry.get("column", name))
    if column not in columns:
        raise UnknownFieldError(column, columns)
    if column in _OWN_COLUMNS and subject != "item":
        raise ValueError(f"{name}: the pipeline computes {column!r} of a session: rename the field")
    field = columns[column]
    if field.logical_type not in _TYPES[kind]:
        fitting = " or ".join(_TYPES[kind])
        raise ValueError(f"{name}: a {kind} is read from a {fitting}; {column} is a {field.logical_type}")
    return Feature(subject, name, column, kind, field.sql_type, field.required)


def _one_of(allowed: tuple[_Name, ...], key: str, received: Any) -> _Name:
    for name in allowed:
        if name == received:
            return name
    raise ValueError(f"{key} should be one of {', '.join(allowed)}; received {received!r}")
