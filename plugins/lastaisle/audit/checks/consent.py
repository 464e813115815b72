"""How many shoppers agree to which purpose, by the flags of events and by later decisions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lastaisle.audit.finding import Finding, State
from lastaisle.audit.scope import NotKnown, Scope, not_known
from lastaisle.lake.tables import CONSENTS, EVENTS
from lastaisle.privacy.consents import PURPOSES

FLAGS: Final = f"SELECT {', '.join(f'avg(consent_{name}::DOUBLE)' for name in PURPOSES)} FROM events"
DECISIONS: Final = "SELECT purpose, source, granted, count(*) FROM consents GROUP BY ALL"
_WITHIN: Final = "WHERE event_date >= $begin::DATE AND event_date < $end::DATE"


def flags(scope: Scope) -> Iterator[Finding]:
    """Tell the share of events whose shopper agreed, for each purpose."""
    for purpose in PURPOSES:
        name, flag = f"events with consent to {purpose}", f"consent_{purpose}"
        sql = f"SELECT avg({flag}::DOUBLE), count({flag}), count(*) FROM {EVENTS} {_WITHIN}"
        try:
            ((share, answered, count),) = scope.rows(EVENTS, sql, flag)
        except NotKnown as error:  # tables of before lack the newest purpose
            yield not_known("consent", name, error, FLAGS)
            continue
        told = "There were no events in these days."
        if share is not None:
            told = f"{share:.1%} of {answered} events came with consent to {purpose}."
        if count > answered:
            told = f"{told if answered else ''} {count - answered} events do not say.".strip()
        yield Finding("consent", name, State.OK, told, FLAGS, share)


def decisions(scope: Scope) -> Iterator[Finding]:
    """Tell how many decisions came in these days, by purpose and source."""
    sql = (
        f"SELECT purpose, source, count(*) FILTER (WHERE granted), count(*) FILTER (WHERE NOT granted) "
        f'FROM {CONSENTS} WHERE "at" >= $begin AND "at" < $end GROUP BY ALL ORDER BY ALL'
    )
    found = scope.rows(CONSENTS, sql, "purpose", "source", "granted", "at")
    if not found:
        yield Finding(
            "consent", "decisions", State.OK, "No shopper decided anew in these days.", DECISIONS, 0
        )
    for purpose, source, granted, refused in found:
        who = "shopper" if granted == 1 else "shoppers"
        told = f"{granted} {who} agreed to {purpose} and {refused} refused it, by {source}."
        name = f"{purpose} by {source}"
        yield Finding("consent", name, State.OK, told, DECISIONS, granted + refused)
