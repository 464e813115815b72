"""The table `consents`: what shoppers decided about a purpose elsewhere than in the flags of their events.

A shopper, or a visit without a shopper, refuses a purpose if the newest decision refuses it; among decisions
of equal times a refusal counts. A decision that comes late has the time at which it was made. So a decision
that is older than the newest changes nothing, and neither does one that is recorded twice.

The flags of events are asked beside this table, and never outweigh it: an event whose sender says nothing of
consent has a flag that says yes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import Dataset

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.lake.lake import Lake
from lastaisle.lake.reader import LakeReader
from lastaisle.lake.tables import CONSENTS, CONSENTS_SCHEMA
from lastaisle.lake.workspace import read_tables

Purpose = Literal["analytics", "personalization", "sale"]
Source = Literal["event", "gpc", "do_not_sell", "request", "switch"]
PURPOSES: Final[tuple[Purpose, ...]] = get_args(Purpose)
SOURCES: Final[tuple[Source, ...]] = get_args(Source)
CLOCK_ERROR: Final = timedelta(minutes=5)
"""How far the clock of a sender may run ahead."""
NO_TABLE: Final = -1
"""The version of the table before its first row."""

_PSEUDONYM: Final = re.compile(r"[0-9a-f]{32}")
_SHOPPERS: Final = pa.schema([pa.field("user_id", pa.string()), pa.field("session_id", pa.string())])

# A row of a visit without a shopper has no user_id, and a row of a shopper has no session_id.
REFUSED: Final = """
SELECT user_id, session_id
FROM consents
WHERE purpose = $purpose AND "at" <= $until
GROUP BY user_id, session_id
HAVING max("at") = max("at") FILTER (WHERE NOT granted)
"""


class ConsentError(LastaisleError):
    """A decision about a purpose cannot be recorded. The message never names a shopper."""

    exit_code = ExitCode.WRONG_REQUEST


@dataclass(frozen=True)
class Decision:
    """What a shopper decided about a purpose.

    Attributes:
        user_id: the pseudonym of the shopper; None for a visit without a shopper.
        session_id: the pseudonym of the visit, where there is no shopper.
        purpose: what data may be used for; one of PURPOSES.
        granted: whether the shopper agrees.
        at: when the shopper decided, UTC.
        source: how the shopper decided; one of SOURCES.
    """

    user_id: str | None = field(repr=False)
    session_id: str | None = field(repr=False)
    purpose: Purpose
    granted: bool
    at: datetime
    source: Source

    def __post_init__(self) -> None:
        """Refuse what nobody could read later.

        Raises:
            ConsentError: a value is none of those that the attributes allow.
        """
        given = [each for each in (self.user_id, self.session_id) if each is not None]
        if len(given) != 1:
            raise ConsentError(
                f"a decision is of a shopper or of a visit, received {len(given)} of user_id and session_id"
            )
        if _PSEUDONYM.fullmatch(given[0]) is None:
            raise ConsentError(
                "a decision names a shopper or a visit by the pseudonym, 32 hexadecimal digits in small "
                f"letters; received {len(given[0])} characters that are none"
            )
        if self.purpose not in PURPOSES:
            raise ConsentError(f"purpose should be one of {', '.join(PURPOSES)}; received {self.purpose!r}")
        if self.source not in SOURCES:
            raise ConsentError(f"source should be one of {', '.join(SOURCES)}; received {self.source!r}")
        if self.at.tzinfo is None:
            raise ConsentError(f"at should carry its time zone, received {self.at.isoformat()}")


def record(lake: Lake, decisions: Iterable[Decision], key_version: int) -> bool:
    """Record decisions in one commit, exactly once.

    Args:
        lake: where the table is.
        decisions: the decisions. The same decisions again, in any order, are not written again.
        key_version: the version of the key that made the pseudonyms.

    Returns:
        True if the decisions were written, False if there are none, or if they were written before.

    Raises:
        ConsentError: a decision lies in the future. It would outweigh all decisions until then.
        LakeConflictError: other writers won every attempt.
        LakeUnusableError: the lake cannot be written.
    """
    rows = rows_of(decisions, key_version)
    if not rows.num_rows:
        return False
    return lake.append(CONSENTS, rows, key=f"decisions-{_digest(rows)}")


def rows_of(decisions: Iterable[Decision], key_version: int | None) -> pa.Table:
    """Return decisions as rows of the table, recorded now.

    Raises:
        ConsentError: a decision lies in the future.
    """
    now = datetime.now(UTC)
    rows = []
    for each in decisions:
        if each.at > now + CLOCK_ERROR:
            ahead = f"{each.at.isoformat()}, and now is {now.isoformat(timespec='seconds')}"
            raise ConsentError(f"at lies in the future: {ahead}")
        rows.append({**asdict(each), "key_version": key_version, "recorded_at": now})
    return pa.Table.from_pylist(rows, schema=CONSENTS_SCHEMA)


def refused(
    lake: LakeReader, purpose: Purpose, at: datetime | None = None, *, version: int | None = None
) -> pa.Table:
    """Return the shoppers and the visits whose newest decision refuses a purpose.

    Args:
        lake: where the table is.
        purpose: one of PURPOSES.
        at: decisions after this moment do not count; by default all decisions count.
        version: the version of the table; NO_TABLE: nobody refuses; None = the newest.

    Returns:
        the pseudonyms, as user_id and session_id; one of the two is null in each row.

    Raises:
        ConsentError: the purpose is none of PURPOSES.
        LakeUnusableError: the table cannot be read.
    """
    if purpose not in PURPOSES:
        raise ConsentError(f"purpose should be one of {', '.join(PURPOSES)}; received {purpose!r}")
    stored = None if version == NO_TABLE else lake.dataset(CONSENTS, version)
    if stored is None:
        return _SHOPPERS.empty_table()
    parameters = {"purpose": purpose, "until": at or datetime.max.replace(tzinfo=UTC)}
    with read_tables(lake.url, consents=stored) as connection:
        return connection.sql(REFUSED, params=parameters).to_arrow_table().cast(_SHOPPERS)


def countable(events: Dataset | None) -> Dataset | None:
    """Return the events whose shopper agreed to be counted, for figures of the shop and of experiments.

    Args:
        events: the table `events`; None without the table. Rows that say nothing, as older rows do, count.
    """
    if events is None or "consent_analytics" not in events.schema.names:
        return events
    flag = pc.field("consent_analytics")
    return events.filter(flag.is_null() | flag)


def _digest(rows: pa.Table) -> str:
    """Return a digest of decisions in any order; the time of the record does not count."""
    names = [name for name in rows.column_names if name != "recorded_at"]
    texts = sorted(repr([row[name] for name in names]) for row in rows.select(names).to_pylist())
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]
