"""What the id of a list of our service says: the version and the policy that made it, and the consent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

MODEL: Final = "m"
POPULAR: Final = "p"
NO_CONSENT: Final = "n"
Policy = Literal["model", "popular"]
#: The version, the letter, and 24 random hexadecimal digits, as a regular expression of Python and of DuckDB.
ID: Final = "(?s)(.{1,100})-([mpn])-([0-9a-f]{24})"
_ID: Final = re.compile(ID)


@dataclass(frozen=True)
class ListOrigin:
    """What the id of a list says about the list.

    Attributes:
        version: the version that made it.
        policy: model or popular.
        consent: whether its shopper agreed to be remembered.
    """

    version: str
    policy: Policy
    consent: bool


def origin_of(recommendation_id: str) -> ListOrigin | None:
    """Read the id of a list; None if the service did not make the id."""
    match = _ID.fullmatch(recommendation_id)
    if match is None:
        return None
    version, letter, _ = match.groups()
    return ListOrigin(version, "model" if letter == MODEL else "popular", letter != NO_CONSENT)


def list_id(version: str, letter: str, number: int) -> str:
    """Return the id of a list that a version made, with a letter and a random number of 96 bits."""
    return f"{version}-{letter}-{number:024x}"


def version_sql(text: str) -> str:
    """Return SQL of the version in the id of a list; NULL if the service did not make the id."""
    return f"CASE WHEN {is_ours_sql(text)} THEN regexp_extract({text}, '^{ID}$', 1) END"


def policy_sql(text: str) -> str:
    """Return SQL of the policy in the id of a list; NULL if the service did not make the id."""
    letter = f"left(right({text}, 26), 1)"
    return f"CASE WHEN {is_ours_sql(text)} THEN if({letter} = '{MODEL}', 'model', 'popular') END"


def is_ours_sql(text: str) -> str:
    """Return SQL that tells whether our service made the id of a list."""
    return f"regexp_full_match({text}, '{ID}')"


def refuses_sql(text: str) -> str:
    """Return SQL that tells whether the id of a list says that its shopper does not consent."""
    return f"coalesce({is_ours_sql(text)} AND left(right({text}, 26), 1) = '{NO_CONSENT}', false)"
