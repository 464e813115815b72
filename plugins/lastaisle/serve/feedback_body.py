"""The body of feedback: what a shopper saw of a list, or did with its items."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from data_contracts.spellings import identifier, spells_nothing
from lastaisle.serve.questions import MAX_ITEMS, NO_CONTROLS, Label, Pseudonym, Text, decoded, wrong

_CLOCK_ERROR: Final = timedelta(minutes=5)
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_ITEM_NUMBERS: Final = 10**199
"""An item's number lies below this, so that its text has at most 200 characters."""
_NO_ID: Final = "is empty, spells a missing value, or is a truth value, a list, an object or a rounded number"


class Feedback(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a shopper saw or did of a list.

    Attributes:
        recommendation_id: the id of the list. A service that makes lists itself sends an id of its own, with
            `version` and `policy`.
        kind: what happened.
        items: the ids that it happened to; for `shown`, the ids on the screen in their order.
        positions: the position of each id in the list, 1 at the top; for `shown`, by default 1, 2, 3, …
        placement: where the list was shown.
        session_id: the shop's own id of the visit; it becomes a pseudonym before it is stored.
        session_pseudonym: the pseudonym of the visit, in place of `session_id`.
        user_id: the shop's own id of the shopper; it becomes a pseudonym before it is stored.
        pseudonym: the shopper's pseudonym, in place of `user_id`.
        at: when it happened; by default now.
        consent: whether the shopper agrees to be remembered. Without consent, the feedback is counted and not
            stored.
        version: the version that made the list, if the id is not one of this service.
        policy: the policy that made the list, if the id is not one of this service.
        propensities: for each id, the probability with which the policy put the id at its position, if the id
            of the list is not one of this service.
        experiment: the experiment that the list was part of, together with `arm`.
        arm: the arm of the experiment that the shopper belongs to.
    """

    recommendation_id: Text
    kind: Literal["shown", "clicked", "added", "bought"]
    items: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_CONTROLS)] | int],
        Meta(min_length=1, max_length=MAX_ITEMS),
    ]
    positions: (
        Annotated[list[Annotated[int, Meta(ge=1, le=MAX_ITEMS)]], Meta(min_length=1, max_length=MAX_ITEMS)]
        | None
    ) = None
    placement: Label = "checkout"
    session_id: Text | int | None = None
    session_pseudonym: Pseudonym | None = None
    user_id: Text | int | None = None
    pseudonym: Pseudonym | None = None
    at: Annotated[datetime, Meta(tz=True)] | None = None
    consent: bool = True
    version: Text | None = None
    policy: Label | None = None
    propensities: (
        Annotated[list[Annotated[float, Meta(gt=0, le=1)]], Meta(min_length=1, max_length=MAX_ITEMS)] | None
    ) = None
    experiment: Label | None = None
    arm: Label | None = None


class Stored(Struct):
    """The feedback is durable.

    Attributes:
        stored: how many rows were stored, one for each item; feedback without consent is only counted.
    """

    stored: int


FeedbackBody = Feedback | Annotated[list[Feedback], Meta(min_length=1, max_length=MAX_ITEMS)]
_FEEDBACK: Final = msgspec.json.Decoder(FeedbackBody)


def read_feedback(body: bytes) -> list[Feedback]:
    """Read feedback, one or a list.

    Raises:
        RefusedError: as `read_question` does.
    """
    given = decoded(_FEEDBACK, body)
    listed: list[Feedback] = given if isinstance(given, list) else [given]
    for number, feedback in enumerate(listed):
        try:
            _check(feedback, datetime.now(UTC))
        except ValueError as error:
            place = f" - at `$[{number}]`" if isinstance(given, list) else ""
            raise wrong(f"{error}{place}") from None
    return listed


def _check(feedback: Feedback, now: datetime) -> None:
    """Raise a ValueError for fields that do not fit each other, or a time that cannot be."""
    for raw, made in (("user_id", "pseudonym"), ("session_id", "session_pseudonym")):
        if getattr(feedback, raw) is not None and getattr(feedback, made) is not None:
            raise ValueError(f"give {raw} or {made}, not both")
    for at, item in enumerate(feedback.items):
        if isinstance(item, str) and not _is_id(item):
            raise ValueError(f"items[{at}] is no id: {item!r} {_NO_ID}")
        if isinstance(item, int) and not -_ITEM_NUMBERS < item < _ITEM_NUMBERS:
            raise ValueError(f"items[{at}] is no id: it has more than 200 characters")
    for name in ("positions", "propensities"):
        given = getattr(feedback, name)
        if given is not None and len(given) != len(feedback.items):
            raise ValueError(
                f"expected {name} to hold one value per item, received {len(given)} for "
                f"{len(feedback.items)} items"
            )
    _check_labels(feedback)
    if feedback.at is not None and not _EARLIEST <= feedback.at <= now + _CLOCK_ERROR:
        raise ValueError(
            f"at should be between the year 2000 and now, received {feedback.at.isoformat()}, and now is "
            f"{now.isoformat(timespec='seconds')}"
        )


def _check_labels(feedback: Feedback) -> None:
    """Raise a ValueError for an id or a name that says nothing, and for an experiment without its arm."""
    for name in ("recommendation_id", "version"):
        given = getattr(feedback, name)
        if given is not None and not _is_id(given):
            raise ValueError(f"{name} is no id: {given!r} {_NO_ID}")
    for name in ("placement", "policy", "experiment", "arm"):
        label = getattr(feedback, name)
        if label is not None and spells_nothing(label):
            raise ValueError(f"{name} is no name: {label!r} is empty or spells a missing value")
    if (feedback.experiment is None) != (feedback.arm is None):
        raise ValueError("give experiment and arm together: an arm is of an experiment")


def _is_id(text: str) -> bool:
    """Tell whether ingestion reads an id in a text."""
    return not spells_nothing(identifier(text) or "")
