"""The changes of the rules of a contract: stricter rules break senders, weaker rules break readers."""

from __future__ import annotations

from collections.abc import Iterator

from data_contracts.changes.change import Change, Side, change, documented
from data_contracts.changes.loosening import is_looser
from data_contracts.contract import Contract
from data_contracts.field import Field
from data_contracts.rules import Rule

_NOT_NULL = "expect_column_values_to_not_be_null"


def rule_changes(old: Contract, new: Contract) -> Iterator[Change]:
    """Compare the rules by name. Rules of an added or removed field belong to that field's change."""
    before, after = ({rule.name: rule for rule in contract.rules} for contract in (old, new))
    old_fields, new_fields = ({field.name: field for field in contract.fields} for contract in (old, new))
    for name in dict.fromkeys([*before, *after]):
        was, now = before.get(name), after.get(name)
        if was and not now and set(was.columns) <= new_fields.keys():
            readers = _readers_of(was, old_fields) if was.severity == "error" else None
            why = "readers meet rows that broke it" if readers else "rows that broke it are accepted"
            yield change(name, "rule removed", was.predicate, None, why, readers)
        elif now and not was and set(now.columns) & old_fields.keys():
            yield _added(now, new_fields)
        elif was and now:
            yield from _changes_of_rule(was, now, old_fields)


def batch_rule_changes(old: Contract, new: Contract) -> Iterator[Change]:
    """Compare the rules about a batch by name. A warning refuses no batch, so it breaks no side."""
    before, after = ({rule.name: rule for rule in contract.batch_rules} for contract in (old, new))
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        old_text, new_text = (
            rule and f"{rule.severity}: {rule.measure}: {rule.limits}" for rule in (was, now)
        )
        strict_before, strict_after = (rule is not None and rule.severity == "error" for rule in (was, now))
        senders: Side | None = "senders" if strict_after else None
        readers: Side | None = "readers" if strict_before else None
        if was is None:
            why = "a batch that breaks it is refused" if senders else "a batch that breaks it is reported"
            yield change(name, "batch rule added", old_text, new_text, why, senders)
        elif now is None:
            why = "batches that broke it are accepted"
            yield change(name, "batch rule removed", old_text, new_text, why, readers)
        elif old_text != new_text:
            why = "batches are judged in another way"
            yield change(name, "batch rule changed", old_text, new_text, why, senders, readers)


def _added(rule: Rule, fields: dict[str, Field]) -> Change:
    filled = rule.name.endswith("_is_required") and fields[rule.columns[0]].default is not None
    if filled:
        return change(rule.name, "rule added", None, rule.predicate, "the default stands in")
    if rule.severity == "warning":
        return change(rule.name, "rule added", None, rule.predicate, "rows that break it are counted")
    why = "rows that break it are refused from now on"
    return change(rule.name, "rule added", None, rule.predicate, why, "senders")


def _changes_of_rule(old: Rule, new: Rule, fields: dict[str, Field]) -> Iterator[Change]:
    if (old.predicate, old.severity) == (new.predicate, new.severity):
        if old.description != new.description:
            yield documented(old.name, old.description, new.description)
        return
    was, now = (f"{rule.severity}: {rule.predicate}" for rule in (old, new))
    looser, tighter = (
        old.predicate == new.predicate or is_looser(*pair) for pair in ((old, new), (new, old))
    )
    senders: Side | None = None
    readers: Side | None = None
    if new.severity == "error" and not (old.severity == "error" and looser):
        senders = "senders"
    if old.severity == "error" and not (new.severity == "error" and tighter):
        readers = _readers_of(old, fields)
    reasons = ["rows that passed may be refused from now on"] * bool(senders)
    reasons += ["readers meet values that were refused before"] * bool(readers)
    what = _kind(old, new, looser=looser, tighter=tighter)
    yield change(
        old.name, what, was, now, "; ".join(reasons) or "no reader sees a difference", senders, readers
    )


def _kind(old: Rule, new: Rule, *, looser: bool, tighter: bool) -> str:
    if old.severity != new.severity:
        return f"{old.severity} became {new.severity}"
    if looser or tighter:
        return "rule loosened" if looser else "rule tightened"
    return "rule changed, neither known to be looser nor to be tighter"


def _readers_of(rule: Rule, fields: dict[str, Field]) -> Side | None:
    """Return readers if they rely on a rule. A pseudonym keeps only whether a value is present."""
    presence = rule.expectation["type"] == _NOT_NULL
    kept = ("keep", "coarsen", "pseudonymize", "surrogate") if presence else ("keep", "coarsen")
    return "readers" if any(fields[name].treatment.action in kept for name in rule.columns) else None
