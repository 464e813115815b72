"""The body of a decision about purposes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from lastaisle.privacy.consents import CLOCK_ERROR, PURPOSES, Decision, Purpose
from lastaisle.serve.questions import SESSIONS, USERS, Pseudonym, Text, decoded, wrong

_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)


class ConsentBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a shopper decided about purposes.

    Attributes:
        user_id: the shop's own id of the shopper; it becomes a pseudonym before it is stored.
        pseudonym: the shopper's pseudonym, in place of `user_id`.
        session_id: the shop's own id of the visit, where there is no shopper; it becomes a pseudonym, too.
        session_pseudonym: the pseudonym of the visit, in place of `session_id`.
        purposes: what the shopper decided about.
        granted: whether the shopper agrees.
        at: when the shopper decided, with a time zone; by default now. The newest decision counts, and among
            equal times a refusal.
        source: how the shopper decided: by a `switch` of the shop's pages, by Global Privacy Control (`gpc`),
            by Do Not Sell (`do_not_sell`), or by a `request` to the shop.
    """

    user_id: Text | int | None = None
    pseudonym: Pseudonym | None = None
    session_id: Text | int | None = None
    session_pseudonym: Pseudonym | None = None
    purposes: Annotated[list[Purpose], Meta(min_length=1, max_length=len(PURPOSES))]
    granted: bool
    at: Annotated[datetime, Meta(tz=True)] | None = None
    source: Literal["switch", "gpc", "do_not_sell", "request"] = "switch"


class Recorded(Struct):
    """The decisions are durable, and this worker honours them.

    Attributes:
        recorded: how many decisions were recorded, one for each purpose.
    """

    recorded: int


_BODY: Final = msgspec.json.Decoder(ConsentBody)


def read_decisions(body: bytes, pseudonym_of: Callable[[str, str | int], str]) -> tuple[list[Decision], bool]:
    """Read a decision about purposes: one for each purpose, and whether the service made the pseudonym.

    Args:
        body: the body.
        pseudonym_of: makes a pseudonym of USERS or SESSIONS, and of the shop's own id.

    Raises:
        RefusedError: as `read_question` does.
    """
    given: ConsentBody = decoded(_BODY, body)
    named: dict[str, Any] = {
        name: value
        for name in ("user_id", "pseudonym", "session_id", "session_pseudonym")
        if (value := getattr(given, name)) is not None
    }
    if len(named) != 1:
        raise wrong(
            "give one of user_id, pseudonym, session_id and session_pseudonym; received "
            f"{' and '.join(named) or 'none'}"
        )
    now = datetime.now(UTC)
    if given.at is not None and not _EARLIEST <= given.at <= now + CLOCK_ERROR:
        raise wrong(
            f"at should be between the year 2000 and now, received {given.at.isoformat()}, and now is "
            f"{now.isoformat(timespec='seconds')}"
        )
    [(name, value)] = named.items()
    domain = USERS if name in {"user_id", "pseudonym"} else SESSIONS
    is_raw = name in {USERS, SESSIONS}
    who = pseudonym_of(domain, value) if is_raw else value
    user, session = (who, None) if domain == USERS else (None, who)
    at = (given.at or now).astimezone(UTC)
    purposes = dict.fromkeys(given.purposes)
    return [Decision(user, session, each, given.granted, at, given.source) for each in purposes], is_raw
