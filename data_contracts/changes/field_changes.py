"""The changes of the fields of a contract: for those who send rows, for readers, and for privacy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from data_contracts.changes.change import Change, Side, change, documented
from data_contracts.contract import Contract
from data_contracts.field import Field
from data_contracts.privacy import TRUNCATIONS, Treatment
from data_contracts.scans import SCANS, choose_scan

#: For each treatment, the treatments that protect a value at least as well.
_PROTECTS_AS_WELL = {
    "keep": {"keep", "coarsen", "pseudonymize", "surrogate", "drop"},
    "coarsen": {"coarsen", "surrogate", "drop"},
    "pseudonymize": {"pseudonymize", "surrogate", "drop"},
    "surrogate": {"surrogate", "drop"},
    "drop": {"drop"},
}
#: The classifications, from the least to the most sensitive.
_CLASSIFICATIONS = ("public", "internal", "pseudonymous", "restricted", "confidential")


def field_changes(old: Contract, new: Contract) -> Iterator[Change]:
    """Compare the fields by name, and the unique keys."""
    before, after = ({field.name: field for field in contract.fields} for contract in (old, new))
    for name, field in before.items():
        if name not in after:
            why = (
                "readers lose the column"
                if reaches(field)
                else "anonymize dropped it, so readers never had it"
            )
            yield change(name, "field removed", _type(field), None, why, reaches(field))
        else:
            yield from _changes_of_field(field, after[name])
    for name, field in after.items():
        if name in before:
            continue
        if field.required and field.default is None:
            why = "rows of those who do not send it yet are refused"
            yield change(name, "required field added", None, _type(field), why, "senders")
        else:
            yield change(name, "field added", None, _type(field), "absent in older rows")
    yield from _key_changes(old, new)


def reaches(field: Field) -> Side | None:
    """Return readers if anonymize leaves the column of a field."""
    return None if field.treatment.action == "drop" else "readers"


def _changes_of_field(old: Field, new: Field) -> Iterator[Change]:
    name, readers = old.name, reaches(old)
    if old.arrow_type != new.arrow_type:
        why = "an existing table keeps the column's type, and rounds or refuses what does not fit"
        yield change(name, "type changed", _type(old), _type(new), why, "senders", readers)
    if old.json_path != new.json_path:
        why = "values under the old path are no longer found"
        yield change(name, "jsonPath changed", old.json_path, new.json_path, why, "senders")
    if old.default != new.default:
        given, removed = old.default is None, new.default is None
        senders: Side | None = "senders" if removed and new.required else None
        why = "an absent value means something else" if not given else "an absent value is filled"
        why += "; rows without it are refused" if senders else ""
        yield change(
            name, "default changed", old.default, new.default, why, senders, None if given else readers
        )
    yield from _reading_changes(old, new)
    yield from _privacy_changes(old, new)
    if old.description != new.description:
        yield documented(name, old.description, new.description)


def _reading_changes(old: Field, new: Field) -> Iterator[Change]:
    if old.spelling != new.spelling:
        sides: tuple[Side | None, ...] = ("senders", reaches(old)) if old.spelling else ()
        why = "more spellings are read" if not sides else "the same text gives another value"
        yield change(old.name, "spelling changed", old.spelling, new.spelling, why, *sides)
    if old.unreadable != new.unreadable:
        refuses = new.unreadable == "refuse"
        why = "rows are refused for this field" if refuses else "the value is left out, and the row stays"
        side: Side | None = "senders" if refuses else None
        yield change(old.name, "unreadable changed", old.unreadable, new.unreadable, why, side)


def _privacy_changes(old: Field, new: Field) -> Iterator[Change]:
    if old.treatment != new.treatment:
        weaker = not _protects_as_well(old.treatment, new.treatment)
        privacy: Side | None = "privacy" if weaker else None
        why = {
            (True, False): "readers lose the column",
            (True, True): "readers get other values",
            (False, True): "readers get the column",
        }[bool(reaches(old)), bool(reaches(new))]
        why += "; more of the value gets through" if weaker else ""
        was, now = (asdict(field.treatment) for field in (old, new))
        yield change(old.name, "privacy: treatment changed", was, now, why, reaches(old), privacy)
    if old.classification != new.classification:
        known = {old.classification, new.classification} <= set(_CLASSIFICATIONS)
        rank = _CLASSIFICATIONS.index
        safer = known and rank(new.classification) > rank(old.classification)
        why = "more sensitive" if safer else "less sensitive, or not known to be more: access may hang on it"
        was_in, now_in = old.classification, new.classification
        side: Side | None = None if safer else "privacy"
        yield change(old.name, "privacy: classification changed", was_in, now_in, why, side)
    if old.scan != new.scan and not _needs_no_scan(new):
        fewer = SCANS.index(new.scan) > SCANS.index(old.scan)
        why = f"{'fewer' if fewer else 'more'} kinds of personal data are searched in the values"
        yield change(old.name, "privacy: scan changed", old.scan, new.scan, why, "privacy" if fewer else None)


def _needs_no_scan(field: Field) -> bool:
    """Tell whether a field is not searched because of what it holds: the changes that say so are judged."""
    fits = choose_scan(None, field.logical_type, field.spelling, field.classification, field.treatment)
    return field.scan == fits == "none"


def _protects_as_well(old: Treatment, new: Treatment) -> bool:
    if old.action == new.action == "coarsen" and old.options != new.options:
        unit, new_unit = old.options.get("truncate"), new.options.get("truncate")
        return bool(unit and new_unit) and TRUNCATIONS.index(new_unit) >= TRUNCATIONS.index(unit)
    if old.action == new.action == "pseudonymize" and old.options != new.options:
        return "domain" not in new.options  # a named domain may be that of another field: they can be linked
    return new.action in _PROTECTS_AS_WELL[old.action]


def _key_changes(old: Contract, new: Contract) -> Iterator[Change]:
    """Compare the unique keys; keys of an added or removed field belong to that field's change."""
    before, after = ({key.columns for key in contract.unique_keys} for contract in (old, new))
    old_fields, new_fields = ({field.name: field for field in contract.fields} for contract in (old, new))
    for columns in sorted(after - before):
        if set(columns) <= old_fields.keys():
            why = "a later row with the same values is refused"
            yield change(", ".join(columns), "newly unique", None, list(columns), why, "senders")
    for columns in sorted(before - after):
        if set(columns) <= new_fields.keys():
            sides = {reaches(old_fields[name]) for name in columns}
            why = "the values may occur twice"
            yield change(", ".join(columns), "no longer unique", list(columns), None, why, *sides)


def _type(field: Field) -> str:
    return f"{field.logical_type} ({field.arrow_type})"
