"""What ids of our service say: of a list, how it was made and in which trial; of a row, who wrote it.

The id of a list holds the version, a letter and 24 random hexadecimal digits. The id of a list of a trial (an
experiment, a bandit or a canary) goes on with the trial, the arm and the probability of the arm. The id of a
list of a bandit also holds the context that the policy read, and the arm that the policy would have drawn:

    7-m-0123456789abcdef01234567
    7-m-0123456789abcdef01234567~demo~new~0.5
    7-m-0123456789abcdef01234567~which-list~new~0.05~mobile.DE~control
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from data_contracts.spellings import spells_nothing

MODEL: Final = "m"
POPULAR: Final = "p"
MODEL_DRAWN: Final = "r"
POPULAR_DRAWN: Final = "q"
NO_CONSENT: Final = "n"
Policy = Literal["model", "popular"]
#: The letters of lists with a slot that a rule got by chance. Nobody knows their propensities.
_DRAWN: Final = (MODEL_DRAWN, POPULAR_DRAWN)
_OF_MODEL: Final = (MODEL, MODEL_DRAWN)
NAME: Final = "[a-z0-9][a-z0-9_-]{0,23}"
"""The names of trials and arms, as a regular expression."""
MAX_ID: Final = 200
"""The most characters of the id of a list."""
MAX_VALUE: Final = 16
"""The most characters of a value of context in the id of a list."""
_NOT_IN_VALUE: Final = re.compile("[^A-Za-z0-9_-]")
_VALUE: Final = f"[A-Za-z0-9_-]{{0,{MAX_VALUE}}}"
_PROPENSITY: Final = "1[.]0|0[.][0-9]{0,7}[1-9]|[1-9](?:[.][0-9]{1,3})?e-0[5-8]"
_BANDIT: Final = f"~({_VALUE}(?:[.]{_VALUE})*)~({NAME})"
#: The id of a list as a regular expression of Python and of DuckDB; its groups are the numbers below.
ID: Final = (
    f"(?s)(.{{1,100}})-([mprqn])-([0-9a-f]{{24}})(?:~({NAME})~({NAME})~({_PROPENSITY})(?:{_BANDIT})?)?"
)
_VERSION_GROUP, _LETTER_GROUP, _EXPERIMENT_GROUP, _ARM_GROUP, _PROPENSITY_GROUP = 1, 2, 4, 5, 6
_CONTEXT_GROUP, _CHOICE_GROUP = 7, 8
_ID: Final = re.compile(ID)
_NAME: Final = re.compile(NAME)


@dataclass(frozen=True)
class TrialLabel:
    """What the id of a list says about the trial that the list belongs to.

    Attributes:
        experiment: the name of the trial.
        arm: the arm.
        propensity: the probability of the arm, of the whole randomised step.
        context: of a bandit, the values that its policy read, in their order; an empty value is unknown.
            None for other trials.
        choice: of a bandit, the arm that its policy would have drawn; None for other trials.
    """

    experiment: str
    arm: str
    propensity: float
    context: tuple[str, ...] | None = None
    choice: str | None = None

    def __str__(self) -> str:
        """Return the end of the id of a list."""
        text = f"~{self.experiment}~{self.arm}~{propensity_text(self.propensity)}"
        return text if self.context is None else f"{text}~{'.'.join(self.context)}~{self.choice}"


@dataclass(frozen=True)
class ListOrigin:
    """What the id of a list says about the list.

    Attributes:
        version: the version that made it.
        policy: model or popular.
        consent: whether its shopper agreed to be remembered.
        propensity: the probability of each item at its position: 1, since the same request gets the same
            list; in a trial, the probability of the arm; None if chance decided whether a rule got a slot
            more.
        label: the trial; None for a list of no trial.
    """

    version: str
    policy: Policy
    consent: bool
    propensity: float | None
    label: TrialLabel | None = None


def origin_of(recommendation_id: str) -> ListOrigin | None:
    """Read the id of a list; None if the service did not make the id."""
    match = _ID.fullmatch(recommendation_id)
    if match is None:
        return None
    version, letter, _, experiment, arm, propensity, context, choice = match.groups()
    policy: Policy = "model" if letter in _OF_MODEL else "popular"
    label = None
    if experiment is not None:
        values = None if context is None else tuple(context.split("."))
        label = TrialLabel(experiment, arm, float(propensity), values, choice)
    known = 1.0 if label is None else label.propensity
    return ListOrigin(version, policy, letter != NO_CONSENT, None if letter in _DRAWN else known, label)


def is_name(text: str) -> bool:
    """Tell whether a trial or an arm can have this name: ids hold the name, and tables do not drop it."""
    return _NAME.fullmatch(text) is not None and not spells_nothing(text)


def propensity_text(propensity: float) -> str:
    """Return a probability as ids hold it: eight digits after the point, and never 0."""
    return repr(max(round(propensity, 8), 1e-8))


def context_value(given: object) -> str:
    """Return a value of context as ids hold it: at most 16 letters, digits, `_` and `-`; empty if unknown."""
    return "" if given is None else _NOT_IN_VALUE.sub("", str(given))[:MAX_VALUE]


def list_id(
    version: str,
    policy: Policy,
    digits: str,
    *,
    consent: bool,
    is_drawn: bool,
    label: TrialLabel | None = None,
) -> str:
    """Return the id of a list.

    Args:
        version: the version that made the list.
        policy: model or popular.
        digits: 24 random hexadecimal digits.
        consent: whether the shopper agreed to be remembered.
        is_drawn: whether chance decided whether a rule got a slot more.
        label: the trial that the list belongs to; None without one, as for every list without consent.
    """
    if not consent:
        letter = NO_CONSENT
    elif policy == "model":
        letter = MODEL_DRAWN if is_drawn else MODEL
    else:
        letter = POPULAR_DRAWN if is_drawn else POPULAR
    return f"{version}-{letter}-{digits}{label or ''}"


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
    return _group_sql(text, _VERSION_GROUP)


def policy_sql(text: str) -> str:
    """Return SQL of the policy in the id of a list; NULL if the service did not make the id."""
    return f"CASE WHEN {is_ours_sql(text)} THEN if({_letter_in(text, _OF_MODEL)}, 'model', 'popular') END"


def experiment_sql(text: str) -> str:
    """Return SQL of the trial in the id of a list; NULL without one."""
    return _group_sql(text, _EXPERIMENT_GROUP)


def arm_sql(text: str) -> str:
    """Return SQL of the arm in the id of a list; NULL without one."""
    return _group_sql(text, _ARM_GROUP)


def propensity_sql(text: str) -> str:
    """Return SQL of the propensity of the items of a list, as text; see `ListOrigin`."""
    known = f"coalesce({_group_sql(text, _PROPENSITY_GROUP)}, '1.0')"
    return f"CASE WHEN {is_ours_sql(text)} AND NOT {_letter_in(text, _DRAWN)} THEN {known} END"


def arm_propensity_sql(text: str) -> str:
    """Return SQL of the probability of the arm in the id of a list, as text; NULL without a trial.

    Unlike `propensity_sql`, it is also known where chance decided whether a rule got a slot more.
    """
    return _group_sql(text, _PROPENSITY_GROUP)


def context_sql(text: str) -> str:
    """Return SQL of the context in the id of a bandit's list, its values joined by points.

    It is empty for a policy without context, and NULL for a list of no bandit.
    """
    return f"CASE WHEN {choice_sql(text)} IS NOT NULL THEN {_extract_sql(text, _CONTEXT_GROUP)} END"


def choice_sql(text: str) -> str:
    """Return SQL of the arm that a bandit's policy would have drawn for a list; NULL for other lists."""
    return _group_sql(text, _CHOICE_GROUP)


def is_ours_sql(text: str) -> str:
    """Return SQL that tells whether our service made the id of a list."""
    return f"regexp_full_match({text}, '{ID}')"


def refuses_sql(text: str) -> str:
    """Return SQL that tells whether the id of a list says that its shopper does not consent."""
    return f"coalesce({is_ours_sql(text)} AND {_letter_in(text, (NO_CONSENT,))}, false)"


def says_otherwise_sql(text: str, given: Mapping[str, str]) -> str:
    """Return SQL that tells whether a row contradicts the id of its list; NULL if nothing is to compare.

    Args:
        text: the SQL of the id of the list.
        given: the SQL of the texts of the row: model_version, policy, experiment, arm and propensity. The
            propensity of a list of no trial is not compared: the shop may have mixed its items.
    """
    made = {
        "model_version": version_sql(text),
        "policy": policy_sql(text),
        "experiment": experiment_sql(text),
        "arm": arm_sql(text),
    }
    tests = [f"{given[name]} <> {sql}" for name, sql in made.items()]
    known = f"CASE WHEN {made['experiment']} IS NOT NULL THEN {propensity_sql(text)} END"
    tests.append(f"abs(try_cast({given['propensity']} AS DOUBLE) - try_cast({known} AS DOUBLE)) > 1e-6")
    return f"({' OR '.join(tests)})"


def _letter_in(text: str, letters: Sequence[str]) -> str:
    """Return SQL that tells whether the letter in the id of a list is one of some letters."""
    return f"{_extract_sql(text, _LETTER_GROUP)} IN ({', '.join(map(repr, letters))})"


def _group_sql(text: str, group: int) -> str:
    """Return SQL of a part of the id of a list; NULL if the id has no such part."""
    return f"nullif({_extract_sql(text, group)}, '')"


def _extract_sql(text: str, group: int) -> str:
    return f"regexp_extract({text}, '^(?:{ID})$', {group})"
