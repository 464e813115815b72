"""Compare two versions of a contract: the changes, their effect, and whether the version number fits.

A change is **breaking** if an accepted row may now be refused, if readers lose a column or its meaning, or if
a value becomes less private:

* a field, or the table, removed or renamed; another type (a wider type, too: an existing Delta table keeps
  the type of the column, and rounds or refuses values that do not fit); another jsonPath; other partitions
* a field newly required without a default, or newly unique; a default changed or removed
* a rule added or tightened, or not provably looser (another pattern); a warning that became an error
* privacy: a treatment that lets more through, a classification that is less sensitive
* a context feature removed, or read from another column or as another kind

A change is an **addition** if every accepted row is still accepted: an optional field, wider bounds, a
loosened or removed rule, a new warning, more privacy, a new context feature. Any other change is
**documentation**.

A breaking change needs the next major version, an addition the next minor version (https://semver.org).

    >>> from data_contracts import load_contract
    >>> compare(load_contract("events"), load_contract("events")).changes
    ()
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from open_data_contract_standard.model import OpenDataContractStandard

from data_contracts.contract import Contract
from data_contracts.document import read_document
from data_contracts.features import Feature
from data_contracts.field import Field
from data_contracts.loosening import is_looser
from data_contracts.privacy import TRUNCATIONS, Treatment
from data_contracts.rules import Rule

Level = Literal["breaking", "addition", "documentation"]
#: For each treatment, the treatments that protect a value at least as well.
_PROTECTS_AS_WELL = {
    "keep": {"keep", "coarsen", "pseudonymize", "surrogate", "drop"},
    "coarsen": {"coarsen", "surrogate", "drop"},
    "pseudonymize": {"pseudonymize", "surrogate", "drop"},
    "surrogate": {"surrogate", "drop"},
    "drop": {"drop"},
}
#: The classifications, from the least to the most sensitive.
_CLASSIFICATIONS = ("public", "internal", "pseudonymous", "restricted")


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes:
        where: the field, the rule or the feature; `table` for a change of the whole table.
        what: the kind of change.
        level: breaking, addition or documentation.
        old: the old value, or None.
        new: the new value, or None.
        why: the effect on writers or readers of the table.
    """

    where: str
    what: str
    level: Level
    old: Any
    new: Any
    why: str


@dataclass(frozen=True)
class Comparison:
    """All differences of two versions of a contract.

    Attributes:
        table: the table of the new contract.
        old_version: the version of the old contract.
        new_version: the version of the new contract.
        changes: the changes, breaking changes first.
    """

    table: str
    old_version: str
    new_version: str
    changes: tuple[Change, ...]

    @property
    def level(self) -> Level | None:
        """The most severe level among the changes; None if there is no change."""
        return self.changes[0].level if self.changes else None

    @property
    def breaking(self) -> bool:
        """Whether any change breaks a writer or a reader."""
        return self.level == "breaking"

    @property
    def version_problem(self) -> str | None:
        """The reason why the new version number does not fit the changes; None if it fits."""
        old, new = _semver(self.old_version), _semver(self.new_version)
        if old is None or new is None:
            wrong = self.old_version if old is None else self.new_version
            return f"a version is written MAJOR.MINOR.PATCH, received {wrong!r}"
        part = {"breaking": 1, "addition": 2}.get(str(self.level), 0)
        needed = (*old[: part - 1], old[part - 1] + 1, *[0] * (3 - part)) if part else old
        if new >= needed:
            return None
        kind = f"{self.level} changes need" if part else "a version never falls, so this needs"
        return f"{kind} version {'.'.join(map(str, needed))} or higher, received {self.new_version}"

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as a dictionary for JSON."""
        summary = {"level": self.level, "breaking": self.breaking, "version_problem": self.version_problem}
        return {**asdict(self), **summary}


def compare(old: Contract, new: Contract) -> Comparison:
    """List the changes from one version of a contract to another."""
    changes = [
        *_table_changes(old, new),
        *_field_changes(old, new),
        *_rule_changes(old, new),
        *_feature_changes(old, new),
    ]
    order = ("breaking", "addition", "documentation")
    changes.sort(key=lambda change: order.index(change.level))
    return Comparison(new.name, old.version, new.version, tuple(changes))


def _table_changes(old: Contract, new: Contract) -> Iterator[Change]:
    if old.name != new.name:
        yield Change("table", "renamed", "breaking", old.name, new.name, "readers ask for the old name")
    before, after = read_document(old.path), read_document(new.path)
    if _partition_keys(before) != _partition_keys(after):
        why = "a table cannot be partitioned anew in place: it has to be written again"
        yield Change(
            "table", "partitioning changed", "breaking", _partition_keys(before), _partition_keys(after), why
        )
    expected = [{item["meta"]["rule"]: item for item in contract.expectations} for contract in (old, new)]
    for name in sorted(expected[0].keys() | expected[1].keys()):
        was, now = expected[0].get(name), expected[1].get(name)
        if was != now:
            what, level = _came_or_went(was, now)
            yield Change(name, f"expectation {what}", level, was, now, "a batch that breaks it fails")
    if _about(before) != _about(after):
        yield Change("table", "description changed", "documentation", None, None, "nothing that is checked")


def _field_changes(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = ({field.name: field for field in contract.fields} for contract in (old, new))
    for name, field in before.items():
        if name not in after:
            yield Change(name, "field removed", "breaking", _type(field), None, "readers lose the column")
        else:
            yield from _changes_of_field(field, after[name])
    for name, field in after.items():
        if name in before:
            continue
        if field.required and field.default is None:
            why = "rows of those who do not send it yet are refused"
            yield Change(name, "required field added", "breaking", None, _type(field), why)
        else:
            yield Change(name, "field added", "addition", None, _type(field), "absent in older rows")


def _changes_of_field(old: Field, new: Field) -> Iterator[Change]:
    name = old.name
    if old.arrow_type != new.arrow_type:
        why = "an existing table keeps the column's type, and rounds or refuses what does not fit"
        yield Change(name, "type changed", "breaking", _type(old), _type(new), why)
    if old.json_path != new.json_path:
        why = "values under the old path are no longer found"
        yield Change(name, "jsonPath changed", "breaking", old.json_path, new.json_path, why)
    if old.default != new.default:
        level = "addition" if old.default is None else "breaking"
        yield Change(name, "default changed", level, old.default, new.default, "what an absent value means")
    yield from _privacy_changes(old, new)
    if old.description != new.description:
        yield Change(
            name,
            "description changed",
            "documentation",
            old.description,
            new.description,
            "nothing is checked",
        )


def _privacy_changes(old: Field, new: Field) -> Iterator[Change]:
    if old.treatment != new.treatment:
        weaker = not _protects_as_well(old.treatment, new.treatment)
        why = "lets more of the value through" if weaker else "see the contract of the table where it ends"
        level: Level = "breaking" if weaker else "addition"
        was, now = (asdict(field.treatment) for field in (old, new))
        yield Change(old.name, "privacy: treatment changed", level, was, now, why)
    if old.classification != new.classification:
        known = {old.classification, new.classification} <= set(_CLASSIFICATIONS)
        rank = _CLASSIFICATIONS.index
        safer = known and rank(new.classification) > rank(old.classification)
        why = "more sensitive" if safer else "less sensitive, or not known to be more: access may hang on it"
        level = "addition" if safer else "breaking"
        was_in, now_in = old.classification, new.classification
        yield Change(old.name, "privacy: classification changed", level, was_in, now_in, why)


def _protects_as_well(old: Treatment, new: Treatment) -> bool:
    if old.action == new.action == "coarsen" and old.options != new.options:
        unit, new_unit = old.options.get("truncate"), new.options.get("truncate")
        return bool(unit and new_unit) and TRUNCATIONS.index(new_unit) >= TRUNCATIONS.index(unit)
    return new.action in _PROTECTS_AS_WELL[old.action]


def _rule_changes(old: Contract, new: Contract) -> Iterator[Change]:
    """Compare the rules by name. Rules of an added or removed field belong to that field's change."""
    before, after = ({rule.name: rule for rule in contract.rules} for contract in (old, new))
    old_fields, new_fields = ({field.name: field for field in contract.fields} for contract in (old, new))
    for name in dict.fromkeys([*before, *after]):
        was, now = before.get(name), after.get(name)
        if was and not now and set(was.columns) <= new_fields.keys():
            level: Level = "addition"
            yield Change(name, "rule removed", level, was.predicate, None, "rows that broke it are accepted")
        elif now and not was and set(now.columns) & old_fields.keys():
            filled = name.endswith("_is_required") and new_fields[now.columns[0]].default is not None
            level = "addition" if filled or now.severity == "warning" else "breaking"
            why = "the default stands in" if filled else "rows that break it"
            why += "" if filled else " are counted" if level == "addition" else " are refused from now on"
            yield Change(name, "rule added", level, None, now.predicate, why)
        elif was and now:
            yield from _changes_of_rule(was, now)


def _changes_of_rule(old: Rule, new: Rule) -> Iterator[Change]:
    if (old.predicate, old.severity) == (new.predicate, new.severity):
        if old.description != new.description:
            why = "nothing that is checked"
            yield Change(
                old.name, "description changed", "documentation", old.description, new.description, why
            )
        return
    was, now = (f"{rule.severity}: {rule.predicate}" for rule in (old, new))
    if new.severity == "warning":
        yield Change(old.name, "rule changed", "addition", was, now, "a warning refuses no row")
    elif old.severity == "error" and (old.predicate == new.predicate or is_looser(old, new)):
        yield Change(old.name, "rule loosened", "addition", was, now, "all that passed still passes")
    else:
        why = "rows that passed may be refused from now on"
        yield Change(old.name, "rule tightened, or not known to be looser", "breaking", was, now, why)


def _feature_changes(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = (
        {(feature.subject, feature.name): feature for feature in contract.features} for contract in (old, new)
    )
    for key in dict.fromkeys([*before, *after]):
        was, now = before.get(key), after.get(key)
        where = f"feature {key[1]} of {key[0]}"
        if was is None and now is not None:
            why = "models trained from now on read it"
            yield Change(where, "feature added", "addition", None, _source(now), why)
        elif was is not None and now is None:
            why = "models trained from now on ignore it, and the packed model no longer names it"
            yield Change(where, "feature removed", "breaking", _source(was), None, why)
        elif was is not None and now is not None and _source(was) != _source(now):
            why = "models that are trained already read it as it was"
            yield Change(where, "feature changed", "breaking", _source(was), _source(now), why)


def _source(feature: Feature) -> str:
    return f"{feature.kind} ({feature.column})"


def _came_or_went(old: Any, new: Any) -> tuple[str, Level]:
    if new is None:
        return "removed", "addition"
    return ("added" if old is None else "changed"), "breaking"


def _partition_keys(document: OpenDataContractStandard) -> list[str]:
    properties = [entry for table in document.schema_ or [] for entry in table.properties or []]
    keys = [entry for entry in properties if entry.partitioned]
    return [str(entry.name) for entry in sorted(keys, key=lambda entry: entry.partitionKeyPosition or 0)]


def _about(document: OpenDataContractStandard) -> dict[str, Any]:
    """Return the descriptions of a document and its table, without parts that are compared elsewhere."""
    table = (document.schema_ or [])[0].model_dump(exclude={"name", "properties", "quality"})
    return {**document.model_dump(exclude={"schema_", "version", "customProperties"}), "table": table}


def _type(field: Field) -> str:
    return f"{field.logical_type} ({field.arrow_type})"


def _semver(version: str) -> tuple[int, int, int] | None:
    match = re.fullmatch(r"([0-9]+)\.([0-9]+)\.([0-9]+)", version)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None
