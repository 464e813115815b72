"""The options of ingestion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Self, TypeAlias

from lastaisle.lake.workspace import MEMORY_LIMIT
from lastaisle.privacy.k_anonymity import K
from lastaisle.settings import Settings

#: Called as progress(share done from 0 to 1, name of the present step).
Progress: TypeAlias = Callable[[float, str], None]


@dataclass(frozen=True)
class IngestOptions:
    """Settings of one ingestion.

    Attributes:
        allowed_lateness: a row that was received longer than this after its event counts as late. If the time
            of receipt is unknown, a row counts as late if its event is older than the newest row of its
            source by more than this. Late rows are kept.
        gx_sample_rows: the rows of each batch that Great Expectations checks; the compiled rules check all
            rows. 0 turns the check off.
        memory_limit: the memory of DuckDB; more data goes to a temporary folder.
        batch_rows: the lines of one batch; a longer file becomes several batches. Larger batches need more
            memory, smaller batches make more and smaller files in the lake.
        shards: the number of parts in which a batch is anonymized, so that several tasks share the work. A
            hash of the user decides the part.
        duplicate_reach: how many days before and after the days of a batch an event_id is looked up; None for
            all days of raw_events.
        k_anonymity: the least shoppers of an hour that share device and place in events; 0 = no such rule.
        phone_countries: the countries whose national telephone numbers are searched in texts, such as DE.
        accept_schema_change: ingest a batch whose fields disappeared or changed their type.
    """

    allowed_lateness: timedelta = timedelta(hours=1)
    gx_sample_rows: int = 1000
    memory_limit: str = MEMORY_LIMIT
    batch_rows: int = 2_000_000
    shards: int = 1
    duplicate_reach: timedelta | None = None
    k_anonymity: int = K
    phone_countries: tuple[str, ...] = ()
    accept_schema_change: bool = False

    @classmethod
    def from_settings(cls, settings: Settings, *, accept_schema_change: bool = False) -> Self:
        """Return the options that the settings name."""
        return cls(
            allowed_lateness=timedelta(minutes=settings.sources.lateness_minutes),
            gx_sample_rows=settings.ingest.gx_sample_rows,
            batch_rows=settings.ingest.batch_rows,
            shards=settings.ingest.shards,
            duplicate_reach=timedelta(days=settings.ingest.duplicate_days) or None,
            k_anonymity=settings.privacy.k_anonymity,
            phone_countries=settings.privacy.searched_countries,
            accept_schema_change=accept_schema_change,
        )
