"""What the lake says of privacy: the versions of the pseudonym key, the oldest rows, and consent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from data_contracts.retention import retention_of
from lastaisle.dashboard.charts import Chart, Series
from lastaisle.lake.expiry import Expiry
from lastaisle.lake.maintenance import MaintenancePolicy
from lastaisle.lake.tables import BATCHES, EVENTS, EXPOSURES, PARTITIONS
from lastaisle.lake.workspace import read_tables
from lastaisle.privacy.consents import PURPOSES
from lastaisle.privacy.domains import made_by

if TYPE_CHECKING:
    from lastaisle.dashboard.source import Source
    from lastaisle.lake.lake import Lake

CONSENT_DAYS: Final = 28
_FLAGS: Final[dict[str, str]] = {f"consent_{purpose}": purpose for purpose in PURPOSES}


@dataclass(frozen=True)
class KeyVersion:
    """A version of the pseudonym key, as far as rows were made with it.

    Attributes:
        version: its number.
        fingerprint: tells keys apart, and says no more; None if the lake does not have it.
        first: the oldest day of its events and exposures.
        last: the newest day of them.
        events: the number of its events.
        exposures: the number of its exposures.
    """

    version: int
    fingerprint: str | None
    first: date
    last: date
    events: int
    exposures: int


@dataclass(frozen=True)
class Kept:
    """How long the rows of a table are kept.

    Attributes:
        table: its name.
        limit: the days for which rows are kept; None for ever.
        rows: the number of its rows.
        oldest: the day (`event_date`) of its oldest rows.
        overdue_since: when rows were ingested that maintenance should have deleted, for the oldest of them;
            None if there are none. The age of a row counts from its ingestion.
    """

    table: str
    limit: int | None
    rows: int
    oldest: date
    overdue_since: datetime | None


def read_keys(source: Source) -> list[KeyVersion]:
    """Return the versions of the key, the newest first. No key is read."""
    return source.once("keys", [EVENTS, EXPOSURES], lambda: _read_keys(source.lake))


def _read_keys(lake: Lake) -> list[KeyVersion]:
    found: dict[int, dict[str, tuple[date, date, int]]] = {}
    for table in (EVENTS, EXPOSURES):
        dataset = lake.dataset(table)
        if dataset is None or "key_version" not in dataset.schema.names:
            continue
        with read_tables(lake.url, **{table: dataset}) as connection:
            counted = connection.execute(
                f"SELECT key_version, min(event_date), max(event_date), count(*) FROM {table} "
                "WHERE key_version IS NOT NULL GROUP BY key_version"
            ).fetchall()
        for version, first, last, count in counted:
            found.setdefault(version, {})[table] = (first, last, count)
    keys = []
    for version in sorted(found, reverse=True):
        own, made = found[version], made_by(lake, version)
        keys.append(
            KeyVersion(
                version=version,
                fingerprint=None if made is None else made.fingerprint,
                first=min(first for first, _, _ in own.values()),
                last=max(last for _, last, _ in own.values()),
                events=own[EVENTS][2] if EVENTS in own else 0,
                exposures=own[EXPOSURES][2] if EXPOSURES in own else 0,
            )
        )
    return keys


def read_kept(source: Source, today: date) -> list[Kept]:
    """Return for each table with days how long its rows are kept, and the oldest rows."""
    now = datetime.combine(today, time(), UTC)
    return source.once(("kept", today), (*PARTITIONS, BATCHES), lambda: _read_kept(source, now))


def _read_kept(source: Source, now: datetime) -> list[Kept]:
    policy, found = MaintenancePolicy.from_settings(source.settings), []
    for table in PARTITIONS:
        rows, version = source.lake.rows_by_day(table), source.lake.version(table)
        if rows and version is not None:
            limit, overdue = policy.days_of(table), None
            if limit is not None:
                # Maintenance runs once a day, so that rows may stay for a day more.
                ages = Expiry.of(retention_of(table), limit + 1, now, version).ages(source.lake)
                overdue = ages.oldest if ages.expired else None
            found.append(Kept(table, limit, sum(rows.values()), min(rows), overdue))
    return found


def read_consent(source: Source) -> list[tuple[date, dict[str, float | None]]]:
    """Return for each of the newest days the share of events whose shopper agreed, by purpose."""
    return source.once("consent", [EVENTS], lambda: _read_consent(source.lake))


def _read_consent(lake: Lake) -> list[tuple[date, dict[str, float | None]]]:
    dataset = lake.dataset(EVENTS)
    if dataset is None:
        return []
    flags = [flag for flag in _FLAGS if flag in dataset.schema.names]
    days = lake.rows_by_day(EVENTS)
    if not flags or not days:
        return []
    since = max(days) - timedelta(days=CONSENT_DAYS - 1)
    shares = ", ".join(f"avg({flag}::DOUBLE)" for flag in flags)
    with read_tables(lake.url, events=dataset) as connection:
        rows = connection.execute(
            f"SELECT event_date, {shares} FROM events WHERE event_date >= $since GROUP BY event_date "
            "ORDER BY event_date",
            {"since": since},
        ).fetchall()
    names = [_FLAGS[flag] for flag in flags]
    return [(day, dict(zip(names, values, strict=True))) for day, *values in rows]


def consent_chart(consent: Sequence[tuple[date, dict[str, float | None]]]) -> Chart | None:
    """Return the shares of consent as a chart; None without days."""
    if not consent:
        return None
    _, newest = consent[-1]
    words = ", ".join(f"{name} {share:.1%}" for name, share in newest.items() if share is not None)
    return Chart(
        name="consent",
        title="Consent: share of the events of each day whose shopper agreed",
        x=[datetime.combine(day, time(), UTC) for day, _ in consent],
        series=[Series(name, [shares[name] for _, shares in consent]) for name in newest],
        unit="share",
        summary=f"On the newest day: {words}.",
        origin="consent",
    )
