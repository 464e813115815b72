"""Ignore the staged rows of shoppers whose data was erased: a log that is read again brings nobody back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastaisle.privacy.erased import FIELDS, REASON, USER, Form, Tombstones

if TYPE_CHECKING:
    from lastaisle.ingest.staging.staging import Staging
    from lastaisle.lake import Lake
    from lastaisle.privacy.keys import PseudonymKeys

_ROW = "_ignored = $reason, _rules = NULL, _payload = NULL, _warnings = NULL"
# A row whose time cannot be read may be of before the erasure.
_IN_TIME = "(occurred_at IS NULL OR occurred_at <= found.before)"


def ignore_erased(staging: Staging, lake: Lake, keys: PseudonymKeys | None, form: Form) -> None:
    """Ignore the rows of erased shoppers that occurred before their erasure; broken rows too.

    Rows of a session or an order count if they name no shopper. Call it before each attempt to commit: an
    erasure may begin meanwhile.

    Args:
        staging: holds the rows.
        lake: holds the tombstones.
        keys: the pseudonym keys; needed once anybody was erased.
        form: whether the rows hold the shop's own ids or pseudonyms.

    Raises:
        KeyFileError: shoppers were erased, and there is no key.
    """
    known = Tombstones.read(lake, keys)
    if known is None:
        return
    named = {field.name for field in staging.contract.fields}
    fields = [name for name in FIELDS if name in named]
    known.find(staging.connection, "staged", fields, form)
    for field in fields:
        same = f"staged.{field} = found.{field}"
        if field != USER and USER in fields:
            same = f"staged.user_id IS NULL AND {same}"
        staging.connection.execute(
            f"UPDATE staged SET {_ROW} FROM erased_{field} AS found "
            f"WHERE staged._ignored IS NULL AND {same} AND {_IN_TIME}",
            {"reason": REASON},
        )
