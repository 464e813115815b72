"""What may be set about ingestion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from lastaisle.lake.workspace import MEMORY_LIMIT

#: Called as progress(share done from 0 to 1, what is being done).
Progress: TypeAlias = Callable[[float, str], None]


@dataclass(frozen=True)
class IngestOptions:
    """Settings of one ingestion.

    Attributes:
        allowed_lateness: a row received longer than this after it occurred counts as late, and where no time
            of receipt is known, one that occurred longer than this before its source's newest row. Late rows
            are kept all the same.
        gx_sample_rows: how many rows of each batch Great Expectations judges beside the compiled rules, which
            judge all of them; 0 leaves it out.
        memory_limit: what DuckDB may hold before it writes to a temporary folder.
        batch_rows: lines that one batch takes in; a longer file becomes several batches. More need more
            memory, fewer make more and smaller files in the lake.
        shards: into how many parts, by a hash of the user, a batch's way to `events` is split, so that
            several tasks share it.
        accept_schema_change: take in a batch whose fields vanished or changed their type.
    """

    allowed_lateness: timedelta = timedelta(hours=1)
    gx_sample_rows: int = 1000
    memory_limit: str = MEMORY_LIMIT
    batch_rows: int = 2_000_000
    shards: int = 1
    accept_schema_change: bool = False
