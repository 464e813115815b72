"""What ids of our service say: of a list, its version, its policy and the consent; of a row, who wrote it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

MODEL: Final = "m"
POPULAR: Final = "p"
MODEL_DRAWN: Final = "r"
POPULAR_DRAWN: Final = "q"
NO_CONSENT: Final = "n"
Policy = Literal["model", "popular"]
#: The letters of lists with a slot that a rule got by chance. Nobody knows their propensities.
_DRAWN: Final = (MODEL_DRAWN, POPULAR_DRAWN)
_OF_MODEL: Final = (MODEL, MODEL_DRAWN)
#: The version, the letter, and 24 random hexadecimal digits, as a regular expression of Python and of DuckDB.
ID: Final = "(?s)(.{1,100})-([mprqn])-([0-9a-f]{24})"
_ID: Final = re.compile(ID)


@dataclass(frozen=True)
class ListOrigin:
    """What the id of a list says about the list.

    Attributes:
        version: the version that made it.
        policy: model or popular.
        consent: whether its shopper agreed to be remembered.
        propensity: the probability of each item at its position: 1, since the same request gets the same
            list; None if chance decided whether a rule got a slot more.
    """

    version: str
    policy: Policy
    consent: bool
    propensity: float | None


def origin_of(recommendation_id: str) -> ListOrigin | None:
    """Read the id of a list; None if the service did not make the id."""
    match = _ID.fullmatch(recommendation_id)
    if match is None:
        return None
    version, letter, _ = match.groups()
    policy: Policy = "model" if letter in _OF_MODEL else "popular"
    return ListOrigin(version, policy, letter != NO_CONSENT, None if letter in _DRAWN else 1.0)


def list_id(version: str, policy: Policy, digits: str, *, consent: bool, is_drawn: bool) -> str:
    """Return the id of a list.

    Args:
        version: the version that made the list.
        policy: model or popular.
        digits: 24 random hexadecimal digits.
        consent: whether the shopper agreed to be remembered.
        is_drawn: whether chance decided whether a rule got a slot more.
    """
    if not consent:
        letter = NO_CONSENT
    elif policy == "model":
        letter = MODEL_DRAWN if is_drawn else MODEL
    else:
        letter = POPULAR_DRAWN if is_drawn else POPULAR
    return f"{version}-{letter}-{digits}"


def row_id(*parts: str) -> str:
    """Return the id that the service gives a row of feedback: the same for the same feedback sent again.

    Args:
        parts: the id of the list, the kind, the item, the position, and the time that the sender gave, as the
            service writes it; the time is empty if the sender gave none.
    """
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def is_row_sql(row: str, *parts: str) -> str:
    """Return SQL that tells whether the service gave a row its id.

    Args:
        row: the SQL of the id of the row.
        parts: the SQL of the texts of `row_id`; an unknown position is NULL.
    """
    *fixed, moment = (f"coalesce({part}, 'None')" for part in parts)
    made = (f"left(sha256(to_json([{', '.join((*fixed, given))}])::VARCHAR), 32)" for given in (moment, "''"))
    return f"coalesce({row} IN ({', '.join(made)}), false)"


def version_sql(text: str) -> str:
    """Return SQL of the version in the id of a list; NULL if the service did not make the id."""
    return f"CASE WHEN {is_ours_sql(text)} THEN regexp_extract({text}, '^{ID}$', 1) END"


def policy_sql(text: str) -> str:
    """Return SQL of the policy in the id of a list; NULL if the service did not make the id."""
    return f"CASE WHEN {is_ours_sql(text)} THEN if({_letter_in(text, _OF_MODEL)}, 'model', 'popular') END"


def propensity_sql(text: str) -> str:
    """Return SQL of the propensity of the items of a list, as text; see `ListOrigin`."""
    return f"CASE WHEN {is_ours_sql(text)} AND NOT {_letter_in(text, _DRAWN)} THEN '1.0' END"


def is_ours_sql(text: str) -> str:
    """Return SQL that tells whether our service made the id of a list."""
    return f"regexp_full_match({text}, '{ID}')"


def refuses_sql(text: str) -> str:
    """Return SQL that tells whether the id of a list says that its shopper does not consent."""
    return f"coalesce({is_ours_sql(text)} AND {_letter_in(text, (NO_CONSENT,))}, false)"


def _letter_in(text: str, letters: Sequence[str]) -> str:
    """Return SQL that tells whether the letter in the id of a list is one of some letters."""
    return f"left(right({text}, 26), 1) IN ({', '.join(map(repr, letters))})"
