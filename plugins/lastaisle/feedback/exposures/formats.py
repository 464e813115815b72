"""The formats of exposures: the service's feedback, tables of any shop, and Segment's product lists.

A column of a table may stand under several names, in a header or in JSON objects; capitals, blanks, `-` and
`_` make no difference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from data_contracts.contract import Contract
from data_contracts.privacy import literal
from lastaisle.errors import SourceError
from lastaisle.feedback import origin
from lastaisle.feedback.exposures import segment
from lastaisle.feedback.exposures.shoppers import (
    NO_CONSENT,
    SESSION,
    USER,
    consent_names,
    consent_reasons,
    id_reasons,
    pseudonym_of,
    refuses,
    says_no,
)
from lastaisle.ingest.sources import canonical
from lastaisle.ingest.sources.adapter import Adapter, content_id, epoch_text, present
from lastaisle.ingest.sources.columns import Columns, HeaderError
from lastaisle.ingest.sources.json_lines import json_object, not_json
from lastaisle.ingest.sources.layout import fitted
from lastaisle.settings.feedback import EXPOSURE_FORMATS

_NAMES: Final[dict[str, Sequence[str]]] = {
    "exposure_id": ("exposure_id", "impression_id", "event_id"),
    "kind": ("kind", "event_type", "event", "action"),
    "recommendation_id": ("recommendation_id", "list_id", "request_id"),
    "occurred_at": ("occurred_at", "timestamp", "event_time", "shown_at", "time", "at"),
    "received_at": ("received_at",),
    "user_id": ("user_id", "customer_id", "shopper_id", "visitor_id"),
    "pseudonym": ("pseudonym", "user_pseudonym"),
    "session_id": ("session_id", "visit_id"),
    "session_pseudonym": ("session_pseudonym",),
    "item_id": ("item_id", "product_id", "article_id", "sku"),
    "position": ("position", "rank"),
    "placement": ("placement", "slot", "widget"),
    "model_version": ("model_version", "version"),
    "policy": ("policy", "strategy", "algorithm"),
    "experiment": ("experiment", "experiment_id"),
    "arm": ("arm", "variant", "variation"),
    "propensity": ("propensity", "probability"),
    "key_version": ("key_version",),
    "consent": ("consent",),
}
#: How logs name what happened to an item; the contract refuses any other word.
_KINDS: Final = {
    "shown": ("shown", "show", "impression", "exposure", "displayed", "display", "seen"),
    "clicked": ("clicked", "click"),
    "added": ("added", "add", "add_to_cart", "added_to_cart", "item_added"),
    "bought": ("bought", "buy", "purchase", "purchased", "ordered", "order_completed"),
}
_TEXTS: Final = frozenset({"placement", "policy", "experiment", "arm"})


def _kind(text: str) -> str:
    cases = " ".join(
        f"WHEN {literal(word)} THEN {literal(kind)}" for kind, words in _KINDS.items() for word in words
    )
    return f"CASE regexp_replace(lower(trim({text})), '[ -]+', '_', 'g') {cases} ELSE {text} END"


def _moment(text: str) -> str:
    """Return SQL of a time: seconds or milliseconds since 1970 become a UTC time, other texts stay."""
    return f"""CASE WHEN regexp_full_match({text}, '[0-9]{{13}}') THEN {epoch_text(text, 1000)}
      WHEN regexp_full_match({text}, '[0-9]{{9,10}}([.][0-9]+)?') THEN {epoch_text(text, 1)}
      ELSE {text} END"""


_OURS: Final = "c.recommendation_id"
_VERSION: Final = f"coalesce(c.model_version, {origin.version_sql(_OURS)})"
_POLICY: Final = f"coalesce(c.policy, {origin.policy_sql(_OURS)})"
_OF_LIST: Final = ("model_version", "policy", "experiment", "arm", "propensity")
_CONTRADICTS: Final = f"""CASE WHEN {
    origin.says_otherwise_sql(_OURS, {name: f"c.{name}" for name in _OF_LIST})
} THEN 'recommendation_id_says_otherwise' END"""

# The ids of shoppers in these rows are pseudonyms already, and would become pseudonyms of pseudonyms.
_OF_SERVICE: Final = f"""CASE WHEN {
    origin.is_row_sql(
        "c.exposure_id",
        *(f"c.{name}" for name in ("recommendation_id", "kind", "item_id", "position", "occurred_at")),
    )
} THEN 'feedback_of_the_service' END"""


def _exposures() -> Adapter:
    users = ("c.user_id", "c.pseudonym")
    sessions = ("c.session_id", "c.session_pseudonym")
    content = ("recommendation_id", "kind", "item_id", "position", "occurred_at")
    made_id = content_id("'exposures'", *(f"coalesce(c.{name}, '')" for name in content))
    # The column consent speaks for all purposes; it is asked beside the columns of each purpose.
    consents = [(name, text) for name in consent_names() for text in (f"c.{name}", "c.consent")]
    reasons = [
        _OF_SERVICE,
        _CONTRADICTS,
        *consent_reasons(consents),
        *id_reasons(USER, *users),
        *id_reasons(SESSION, *sessions),
    ]
    # The key in use makes the pseudonyms of the shop's own ids.
    own_absent = (f"({present(own)}) IS NULL" for own, _ in (users, sessions))
    columns = (name for name in _NAMES if not name.startswith("consent") and "pseudonym" not in name)
    return Adapter(
        "exposures",
        fields={
            **{name: f"c.{name}" for name in columns},
            "exposure_id": f"coalesce(c.exposure_id, {made_id})",
            "kind": _kind("c.kind"),
            "occurred_at": _moment("c.occurred_at"),
            "received_at": _moment("c.received_at"),
            "user_id": pseudonym_of(USER, *users),
            "session_id": pseudonym_of(SESSION, *sessions),
            "model_version": _VERSION,
            "policy": _POLICY,
            "experiment": f"coalesce(c.experiment, {origin.experiment_sql(_OURS)})",
            "arm": f"coalesce(c.arm, {origin.arm_sql(_OURS)})",
            "propensity": f"coalesce(c.propensity, {origin.propensity_sql(_OURS)})",
            "key_version": f"CASE WHEN {' AND '.join(own_absent)} THEN c.key_version END",
        },
        malformed=f"coalesce({', '.join(reasons)})",
        ignored=f"CASE WHEN {refuses(consents)} OR {origin.refuses_sql(_OURS)} THEN '{NO_CONSENT}' END",
        columns=Columns(
            names={**_NAMES, **{name: (name,) for name in consent_names()}},
            orders=[],
            needed=("kind", "recommendation_id", "occurred_at", "item_id", "placement"),
            time="occurred_at",
            texts=_TEXTS,
        ),
    )


def _names_of_feedback(contract: Contract) -> list[str]:
    return [*canonical.known_names(contract), "consent", *consent_names()]


def _feedback() -> Adapter:
    # The service asks for consent itself, and stores no row without consent. Lines of others may say it.
    consents = [(name, present(f"doc.{place}")) for name in consent_names() for place in (name, "consent")]
    refused = f"{origin.refuses_sql('doc.recommendation_id')} OR {says_no([text for _, text in consents])}"
    return replace(
        canonical.ADAPTER,
        name="feedback",
        keys=_names_of_feedback,
        prepare=lambda contract: json_object(dict.fromkeys(_names_of_feedback(contract), "VARCHAR")),
        malformed=f"coalesce({', '.join((not_json(), *consent_reasons(consents)))})",
        ignored=f"CASE WHEN {refused} THEN '{NO_CONSENT}' END",
    )


#: The lines of the service, named as in the contract; their ids of shoppers are pseudonyms already.
FEEDBACK: Final = _feedback()
_USE: Final = "use --format {0} (LASTAISLE_EXPOSURES_FORMAT for DAGs)"
_TRIED_LINES: Final = 100


def exposure_adapter(name: str) -> Adapter:
    """Return the adapter of a format of exposures.

    Raises:
        SourceError: the format is unknown; the message names the known formats.
    """
    makers = {"feedback": lambda: FEEDBACK, "exposures": _exposures, "segment": segment.adapter}
    if name not in makers:
        raise SourceError(
            f"there is no format of exposures {name!r}; formats are {', '.join(EXPOSURE_FORMATS)}"
        )
    return makers[name]()


def makes_pseudonyms(form: Adapter) -> bool:
    """Tell whether a format holds the shop's own ids, so that the key of the lake is needed."""
    return form.name != FEEDBACK.name


def guess_exposure_format(lines: Sequence[str], tried: str) -> tuple[str | None, str]:
    """Return another format under which most lines are exposures, and a sentence about it for the user.

    Args:
        lines: the first lines of a file.
        tried: the format that does not read them.
    """
    for name in EXPOSURE_FORMATS:
        if name != tried and _looks_like(name, lines[:_TRIED_LINES]):
            return name, f"The first lines look like {name}: {_USE.format(name)}"
    return None, "docs/feedback.md lists the fields of each format"


def _looks_like(name: str, lines: Sequence[str]) -> bool:
    """Tell whether most lines have the names of this format: of columns, or of Segment's calls."""
    if name == "exposures":
        try:
            layout = fitted(exposure_adapter(name), list(lines)).layout
        except HeaderError:
            return False
        if layout is not None and layout.header is not None:
            return True
    documents = [document for line in lines if isinstance(document := _document(line), dict)]
    tests: dict[str, Callable[[dict[str, Any]], bool]] = {
        "feedback": lambda one: (
            {"exposure_id", "kind", "recommendation_id"} <= one.keys()
            and all(_is_pseudonym(one.get(name)) for name in (USER, SESSION))
        ),
        "exposures": lambda one: {"recommendation_id", "item_id"} <= one.keys(),
        "segment": lambda one: one.get("type") == "track" and "properties" in one,
    }
    return 2 * sum(map(tests[name], documents)) > len(lines)


def _is_pseudonym(value: Any) -> bool:
    return value is None or (isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None)


def _document(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
