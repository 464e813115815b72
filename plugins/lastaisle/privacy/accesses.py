"""Data of shoppers is shown to few accounts, and each request to see it is a row of the table `accesses`."""

from __future__ import annotations

import logging
import os
import pwd
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

import pyarrow as pa

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.lake import Lake
from lastaisle.lake.tables import ACCESSES, ACCESSES_SCHEMA
from lastaisle.privacy.keys import KeyFileError, PseudonymKeys

if TYPE_CHECKING:
    from lastaisle.settings import Settings

log = logging.getLogger(__name__)

Outcome = Literal["shown", "refused"]
SHOWN: Final = "shown"
REFUSED: Final = "refused"
LONGEST: Final = 500
"""A reason is cut to this number of characters."""


class NotARawReaderError(LastaisleError):
    """An account that may not see data of shoppers asked for it."""

    exit_code = ExitCode.WRONG_REQUEST


def account() -> str:
    """Return the account of the operating system that runs this process."""
    user = os.geteuid()  # a variable such as LOGNAME may lie
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:  # a container may run under a number that has no name
        return str(user)


def record(
    lake: Lake,
    actor: str,
    what: str,
    reason: str,
    outcome: Outcome,
    *,
    now: datetime | None = None,
) -> None:
    """Write one request to see data of shoppers; call it before the answer.

    Args:
        lake: holds the table.
        actor: who asks; see `account`.
        what: the data that is asked for, in words. It names no shopper.
        reason: why the data is needed, in the words of the actor.
        outcome: whether the data will be shown.
        now: the moment; the present by default.

    Raises:
        LakeUnusableError: the row cannot be written. Then nothing may be shown.
        LakeConflictError: other writers won every attempt.
    """
    row = {
        "at": (now or datetime.now(UTC)).astimezone(UTC),
        "actor": actor,
        "what": what,
        "reason": reason.strip()[:LONGEST],
        "outcome": outcome,
    }
    rows = pa.Table.from_pylist([row], schema=ACCESSES_SCHEMA)
    lake.append(ACCESSES, rows, key=f"access/{secrets.token_hex(8)}")


def require_reader(lake: Lake, settings: Settings, *, data: str, what: str, reason: str, hint: str) -> str:
    """Return the account of this process if it may see data of shoppers; write its request first.

    Args:
        lake: holds the table `accesses`.
        settings: name the accounts that may see the data, and the pseudonym key.
        data: the kind of data, for the message of a refusal.
        what: the data that is asked for, for the table.
        reason: why the data is needed.
        hint: what the account may do instead.

    Raises:
        NotARawReaderError: this account may not see the data, cannot read the pseudonym key, or gives no
            reason.
        LakeUnusableError: the request cannot be written.
    """
    actor = account()
    refusal = _refusal(actor, settings, lake.url, reason)
    if refusal:
        refusal = f"the account {actor} may not see {data}: {refusal}. {hint}".rstrip()
    record(lake, actor, what, reason, REFUSED if refusal else SHOWN)
    log.warning("%s asks for %s; the table %s has it", actor, data, ACCESSES)
    if refusal:
        raise NotARawReaderError(refusal)
    return actor


def _refusal(actor: str, settings: Settings, lake_url: str, reason: str) -> str:
    """Return why an account may not see data of shoppers; empty if it may."""
    if actor not in settings.privacy.may_read_raw:
        return "they hold personal data, and LASTAISLE_RAW_READERS does not name the account"
    if not reason.strip():
        return f"it needs a --reason, for the table {ACCESSES}"
    try:
        keys = PseudonymKeys.load(settings.privacy.key_file, lake_url=lake_url)
    except (KeyFileError, OSError) as error:
        return f"it cannot read the pseudonym key: {error}"
    return "" if keys else f"this machine has no pseudonym key ({settings.privacy.key_file})"
