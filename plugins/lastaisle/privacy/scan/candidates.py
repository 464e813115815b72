"""The SQL that finds the few texts that may hold personal data, so that libraries see only these."""

from __future__ import annotations

from typing import Final

from data_contracts.privacy import literal
from data_contracts.scans import Scan
from lastaisle.privacy.scan.kinds import KINDS, Kind

#: For each kind, a regular expression (RE2) that matches every text that `kinds_in` finds, and few others.
_LOOKS: Final[dict[Kind, str]] = {
    "email": "@",
    "phone": r"(?:\+|00).{0,4}(?:\p{Nd}.{0,4}){5}",
    "card": r"\d(?:[ -]?\d){13}",
    "ip": r"\d\.\d{1,3}\.\d{1,3}\.\d|[0-9A-Fa-f]:[0-9A-Fa-f]{0,4}:",
    "iban": r"[A-Za-z]{2}\d\d(?:[ -]?[A-Za-z0-9]){11}",
}
_NATIONAL: Final = r"(?:^|\P{Nd})[0\x{0660}\x{06F0}].{0,4}(?:\p{Nd}.{0,4}){3}|\p{Nd}\P{Nd}{1,4}\p{Nd}"
#: Texts that `kinds_in` decodes first: percent-encoding, character references, wide forms.
_ENCODED: Final = r"%[0-9A-Fa-f]{2}|&#?\w+;?|[\x{FF01}-\x{FF5E}]"


def may_hold(column: str, scan: Scan, *, national: bool = False) -> str:
    """Return DuckDB SQL of the condition that a text may hold personal data.

    Every text in which `kinds_in` finds something meets the condition.

    Args:
        column: the SQL of the text.
        scan: the kinds that count.
        national: whether national telephone numbers count.
    """
    looks = [_LOOKS[kind] for kind in KINDS[scan]]
    if national and "phone" in KINDS[scan]:
        looks.append(_NATIONAL)
    return f"regexp_matches({column}, {literal('|'.join([*looks, _ENCODED]))})"
