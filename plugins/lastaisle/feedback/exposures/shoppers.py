"""The SQL of shoppers and consent in sources that hold the shop's own ids: no raw id reaches a table.

An id becomes the pseudonym that `anonymize` gives it, by the contract of raw_events. An id that breaks a rule
of raw_events sends its row to quarantine, as the event with that id would go.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from data_contracts.contract import load_contract
from data_contracts.privacy import literal, pseudonym_sql, quote
from data_contracts.spellings import consent_sql, identifier_sql
from lastaisle.ingest.sources.adapter import present
from lastaisle.ingest.sources.consent import consent_fields
from lastaisle.lake.tables import RAW_EVENTS

USER: Final = "user_id"
SESSION: Final = "session_id"
NO_CONSENT: Final = "no_consent"
"""The reason why the row of a shopper who does not consent is ignored."""


def domain_of(field: str) -> str:
    """Return the domain of the pseudonyms of a field of raw_events, USER or SESSION."""
    return load_contract(RAW_EVENTS).field(field).treatment.domain(field)


def pseudonym_of(field: str, raw: str, made: str = "NULL") -> str:
    """Return SQL of a pseudonym.

    Args:
        field: USER or SESSION.
        raw: the SQL of the shop's own id, as text.
        made: the SQL of the pseudonym itself, if the source holds it.
    """
    return f"coalesce({made}, {pseudonym_sql(_identifier(raw), domain_of(field))})"


def id_reasons(field: str, raw: str, made: str = "NULL") -> list[str]:
    """Return SQL of the reasons why an id cannot be used, each NULL for a usable id.

    The reasons are the rules of raw_events (such as user_id_is_string), and user_id_differs where the id and
    the pseudonym beside it belong to two shoppers.
    """
    contract = load_contract(RAW_EVENTS)
    given = present(raw)
    reasons = [
        f"CASE WHEN {given} IS NOT NULL AND {_identifier(raw)} IS NULL "
        f"THEN {literal(contract.field(field).type_rule)} END"
    ]
    for rule in contract.rules:
        if rule.columns == (field,) and rule.severity == "error" and not rule.name.endswith("_is_required"):
            broken = rule.predicate.replace(quote(field), f"({_identifier(raw)})")
            reasons.append(f"CASE WHEN ({broken}) IS FALSE THEN {literal(rule.name)} END")
    if made != "NULL":
        own = pseudonym_sql(_identifier(raw), domain_of(field))
        reasons.append(f"CASE WHEN {made} <> {own} THEN '{field}_differs' END")
    return reasons


def consent_reasons(values: Sequence[tuple[str, str]]) -> list[str]:
    """Return SQL of the reasons why a consent cannot be read, as the rules of raw_events name them.

    Args:
        values: the names of consent fields, each with the SQL of its text.
    """
    contract = load_contract(RAW_EVENTS)
    return [
        f"CASE WHEN {consent_sql(value)} NOT IN ('true', 'false') "
        f"THEN {literal(contract.field(name).type_rule)} END"
        for name, value in values
    ]


def refuses(values: Sequence[tuple[str, str]]) -> str:
    """Return SQL that tells whether any consent is refused.

    A consent that no text tells has the default of raw_events.

    Args:
        values: the names of consent fields, each with the SQL of a text that may tell it.
    """
    contract = load_contract(RAW_EVENTS)
    tests = [says_no([text for _, text in values])]
    for name in dict.fromkeys(name for name, _ in values):
        texts = [consent_sql(value) for field, value in values if field == name]
        absent = "'false'" if contract.field(name).default is False else "'true'"
        tests.append(f"coalesce({', '.join(texts)}, {absent}) = 'false'")
    return f"({' OR '.join(tests)})"


def says_no(texts: Sequence[str]) -> str:
    """Return SQL that tells whether any text refuses.

    Args:
        texts: the SQL of texts of consents.
    """
    tests = [f"coalesce({consent_sql(text)} = 'false', false)" for text in texts]
    return f"({' OR '.join(tests) or 'false'})"


@cache
def consent_names() -> Sequence[str]:
    """Return the names of the consent fields of raw_events that forbid to keep what a shopper saw.

    Who forbids the sale of data does not forbid the shop's own figures.
    """
    names = (field.name for field in consent_fields(load_contract(RAW_EVENTS)))
    return tuple(name for name in names if name != "consent_sale")


def _identifier(raw: str) -> str:
    return f"({identifier_sql(f'({present(raw)})')})"
