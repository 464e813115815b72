"""Compare two versions of a contract: the changes, their effect, and whether the version number fits.

A change is **breaking** for one side or more, and the comparison names the sides:

* **senders**, who write rows into the table, if an accepted row may now be refused or a value is no longer
  found: a field newly required without a default or newly unique; a rule added, tightened or not provably
  looser (another pattern); a warning that became an error; another type or jsonPath
* **readers**, who read the rows as anonymize leaves them (of raw_events: the table events), if they lose a
  column or its meaning, or meet values that were refused before: a field removed or dropped; another
  treatment (a pseudonym for a value); another type or default; a rule removed, loosened (a longer list of
  values, a wider range, a field no longer required) or made a warning; other partitions; a context feature
  removed or changed; rows that are kept shorter
* **privacy**, if a value becomes less private: a treatment that lets more through, a classification that is
  less sensitive or not known to be more, a scan for fewer kinds of personal data, other quasi-identifiers,
  rows that are kept longer

A wider type is breaking, too: an existing Delta table keeps the type of the column, and rounds or refuses
values that do not fit. A rule on a field that anonymize drops, or on the spelling of a field that it
pseudonymizes, breaks no reader.

A change is an **addition** if every accepted row is still accepted and no reader notices it: an optional
field, a default where there was none, a warning, a more sensitive classification, a new context feature, a
retention where none was stated. Any
other change is **documentation**.

A breaking change needs the next major version, an addition the next minor version (https://semver.org).

    >>> from data_contracts import load_contract
    >>> compare(load_contract("events"), load_contract("events")).changes
    ()
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from open_data_contract_standard.model import OpenDataContractStandard

from data_contracts.changes.change import Change, Level, Side, change, documented
from data_contracts.changes.field_changes import field_changes
from data_contracts.changes.rule_changes import batch_rule_changes, rule_changes
from data_contracts.contract import Contract
from data_contracts.document import read_document
from data_contracts.errors import ContractError
from data_contracts.features import Feature
from data_contracts.retention import Retention, retentions_in


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
        """Whether any change breaks senders, readers or privacy."""
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
        *field_changes(old, new),
        *rule_changes(old, new),
        *batch_rule_changes(old, new),
        *_feature_changes(old, new),
        *_quasi_identifier_changes(old, new),
    ]
    order = ("breaking", "addition", "documentation")
    changes.sort(key=lambda change: order.index(change.level))
    return Comparison(new.name, old.version, new.version, tuple(changes))


def _table_changes(old: Contract, new: Contract) -> Iterator[Change]:
    if old.name != new.name:
        why = "senders and readers ask for the old name"
        yield change("table", "renamed", old.name, new.name, why, "senders", "readers")
    before, after = read_document(old.path), read_document(new.path)
    if _partition_keys(before) != _partition_keys(after):
        why = "a table cannot be partitioned anew in place: it has to be written again"
        keys = _partition_keys(before), _partition_keys(after)
        yield change("table", "partitioning changed", *keys, why, "readers")
    yield from _retention_changes(_retention(old, before), _retention(new, after))
    if _about(before) != _about(after):
        yield documented("table", None, None)


def _retention(contract: Contract, document: OpenDataContractStandard) -> Retention | None:
    """Return the retention of a contract's table; None if it states none, or states it in other words."""
    with suppress(ContractError):  # contracts of the pipeline were checked when they were loaded
        stated = (one for one in retentions_in(contract.path, document) if one.table == contract.name)
        return next(stated, None)
    return None


def _retention_changes(old: Retention | None, new: Retention | None) -> Iterator[Change]:
    if old is None and new is not None:
        yield change("retention", "stated", None, _kept(new), "the rows were kept without a statement")
    elif old is not None and new is None:
        yield change("retention", "removed", _kept(old), None, "the rows are kept for ever", "privacy")
    elif old is not None and new is not None and old.days != new.days:
        is_longer = new.days is None or (old.days is not None and new.days > old.days)
        side: Side = "privacy" if is_longer else "readers"
        why = "rows stay longer" if is_longer else "rows go earlier"
        yield change("retention", "changed", _kept(old), _kept(new), why, side)


def _kept(retention: Retention) -> str:
    return "for ever" if retention.days is None else f"{retention.days} days"


def _feature_changes(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = (
        {(feature.subject, feature.name): feature for feature in contract.features} for contract in (old, new)
    )
    for key in dict.fromkeys([*before, *after]):
        was, now = before.get(key), after.get(key)
        where = f"feature {key[1]} of {key[0]}"
        if was is None and now is not None:
            why = "models trained from now on read it"
            yield change(where, "feature added", None, _source(now), why)
        elif was is not None and now is None:
            why = "models trained from now on ignore it, and the packed model no longer names it"
            yield change(where, "feature removed", _source(was), None, why, "readers")
        elif was is not None and now is not None and _source(was) != _source(now):
            why = "models that are trained already read it as it was"
            yield change(where, "feature changed", _source(was), _source(now), why, "readers")


def _quasi_identifier_changes(old: Contract, new: Contract) -> Iterator[Change]:
    was, now = old.quasi_identifiers, new.quasi_identifiers
    if was == now:
        return
    old_shown, new_shown = (None if one is None else asdict(one) for one in (was, now))
    if was is None:
        why = "values of small groups are left out"
        yield change("quasi-identifiers", "added", old_shown, new_shown, why)
        return
    # A step that comes later, or never, leaves more values in small groups: no order says which is safer.
    why = "other values of small groups are left out, perhaps fewer"
    yield change("quasi-identifiers", "changed", old_shown, new_shown, why, "privacy")


def _source(feature: Feature) -> str:
    return f"{feature.kind} ({feature.column})"


def _partition_keys(document: OpenDataContractStandard) -> list[str]:
    properties = [entry for table in document.schema_ or [] for entry in table.properties or []]
    keys = [entry for entry in properties if entry.partitioned]
    return [str(entry.name) for entry in sorted(keys, key=lambda entry: entry.partitionKeyPosition or 0)]


def _about(document: OpenDataContractStandard) -> dict[str, Any]:
    """Return the descriptions of a document and its table, without parts that are compared elsewhere."""
    table = (document.schema_ or [])[0].model_dump(exclude={"name", "properties", "quality"})
    return {**document.model_dump(exclude={"schema_", "version", "customProperties"}), "table": table}


def _semver(version: str) -> tuple[int, int, int] | None:
    match = re.fullmatch(r"([0-9]+)\.([0-9]+)\.([0-9]+)", version)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None
