"""Compile the rules of a table: those of its fields, and every entry under a `quality`.

An entry is one of four types. Each is enforced on all rows, or refused with its place:

* `text` is documentation; it has a description, and nothing that could be measured
* `library` (or no type) is a metric: see metrics.py
* `sql` is a query over the batch: see sql_rules.py
* `custom` is `engine: lastaisle` (a rule across fields: see crossfield.py) or `engine: greatExpectations`
  (see gx_entries.py)

Some keys of an entry are documentation for people and other tools: description, dimension, businessImpact,
method, schedule, scheduler, tags, id, authoritativeDefinitions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from open_data_contract_standard.model import DataQuality, SchemaObject

from data_contracts.errors import Problems
from data_contracts.field import Field
from data_contracts.quality.batch_rules import OPERATORS, BatchRule
from data_contracts.quality.crossfield import cross_field_rule
from data_contracts.quality.gx_entries import ENGINES, gx_rule
from data_contracts.quality.metrics import field_metric, table_metric
from data_contracts.quality.sql_rules import sql_rule, try_query
from data_contracts.rules import Rule, field_rules, parse_severity

_MEASURED = ("metric", "rule", "arguments", "unit", "query", "engine", "implementation", *OPERATORS)
#: The keys, beside the documentation, that each type of entry uses; any other key of it is refused.
_USED = {
    "text": (),
    "library": ("metric", "arguments", "unit", *OPERATORS),
    "sql": ("query", "unit", *OPERATORS),
    "custom": ("engine", "implementation"),
}


def compile_rules(
    problems: Problems, table: SchemaObject, fields: Sequence[Field]
) -> tuple[tuple[Rule, ...], tuple[BatchRule, ...]]:
    """Compile every rule of a table, field by field and then across fields.

    Args:
        problems: collects the errors, each with its place.
        table: the table as the YAML describes it.
        fields: the fields that could be compiled.

    Returns:
        The rules of a row, and the rules of a batch.
    """
    rules: list[Rule | BatchRule] = []
    known = {field.name: field for field in fields}
    for entry in table.properties or []:
        field, where = known.pop(str(entry.name), None), f"schema.{table.name}.properties.{entry.name}"
        if field is None:
            continue
        with problems.at(where):
            rules.extend(field_rules(entry, field))
        for place, quality in _entries(where, entry.quality):
            with problems.at(place):
                rules.extend(_compile(quality, table, fields, field))
    for place, quality in _entries(f"schema.{table.name}", table.quality):
        with problems.at(place):
            rules.extend(_compile(quality, table, fields))
    with problems.at(f"schema.{table.name}.quality"):
        _refuse_names(rules, fields)
    return (
        tuple(rule for rule in rules if isinstance(rule, Rule)),
        tuple(rule for rule in rules if isinstance(rule, BatchRule)),
    )


def _entries(where: str, entries: Iterable[DataQuality] | None) -> Iterable[tuple[str, DataQuality]]:
    for position, quality in enumerate(entries or []):
        yield f"{where}.quality.{quality.name or position}", quality


def _compile(
    quality: DataQuality, table: SchemaObject, fields: Sequence[Field], field: Field | None = None
) -> Sequence[Rule | BatchRule]:
    """Compile one entry, under a field or under the table.

    Raises:
        ValueError: the entry cannot be enforced; the message holds the reason and the value received.
    """
    kind = quality.type or "library"
    given = [name for name in _MEASURED if getattr(quality, name, None) is not None]
    ignored = [name for name in given if name not in _USED.get(kind, ())]
    if ignored:
        raise ValueError(f"type: {kind} does not use {', '.join(ignored)}: leave it out or change the type")
    if kind == "text":
        return []
    if quality.name is not None and not re.fullmatch(r"[a-z][a-z0-9_]*", quality.name):
        raise ValueError(f"a rule has a lower_snake_case name, received {quality.name!r}")
    if quality.customProperties:
        raise ValueError("customProperties: an entry of quality has none here")
    if kind == "sql":
        rule = sql_rule(quality, str(table.name), field)
        if len(fields) == len(table.properties or []):  # a field with an error has no column to read
            try_query(rule, str(table.name), fields)
        return [rule]
    if kind == "library":
        return field_metric(quality, field) if field else [table_metric(quality, fields)]
    if quality.engine in ENGINES:
        return [gx_rule(quality, fields, field)]
    if quality.engine != "lastaisle":
        known = " or ".join(("lastaisle", ENGINES[0]))
        raise ValueError(f"{quality.engine!r} is not enforced here; use engine: {known}")
    if field is not None:
        raise ValueError("engine: lastaisle: a rule across fields stands under the table's quality")
    return [Rule(**cross_field_rule(quality, fields), severity=parse_severity(quality.severity))]


def _refuse_names(rules: Sequence[Rule | BatchRule], fields: Sequence[Field]) -> None:
    """Refuse a name that stands twice, since a report names a rule by its name alone.

    Raises:
        ValueError: two rules have one name, or a rule has the name of a check that every table has.
    """
    names = [rule.name for rule in rules] + [field.type_rule for field in fields] + ["columns_exist"]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the rule {name!r} stands twice")
