"""Record the files that were refused as a whole, so that the gate counts what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa

from lastaisle.errors import LastaisleError, SourceError
from lastaisle.ingest.checks.batch_quality import BatchRefusedError
from lastaisle.ingest.checks.changes import SchemaChangeError
from lastaisle.ingest.checks.gx_check import DisagreementError
from lastaisle.ingest.job import Ingestion
from lastaisle.ingest.reading.files import FileChangedError, SourceFile
from lastaisle.lake.tables import REFUSED_FILES, REFUSED_FILES_SCHEMA

REFUSALS: Final = (SourceError, SchemaChangeError, DisagreementError, BatchRefusedError)
"""The errors that refuse a file."""


@contextmanager
def recording_refusal(file: SourceFile, job: Ingestion, source: str) -> Iterator[None]:
    """Add a row to the table `refused_files` if the block refuses a file; the error goes on.

    A file that only changed while it was read is not refused. The same file in the same state has one row,
    however often it is refused.

    Args:
        file: the file.
        job: the settings of its ingestion.
        source: the name of the source, as the table `batches` has it.
    """
    try:
        yield
    except FileChangedError:
        raise
    except REFUSALS as error:
        _record(file, job, source, error)
        raise


def _record(file: SourceFile, job: Ingestion, source: str, error: LastaisleError) -> None:
    """Add the row. The reason is the kind of the error: its message may hold a line with ids of shoppers."""
    refused_at = datetime.now(UTC)
    row = {
        "url": file.url,
        "format": job.identity,
        "state": file.state,
        "size": file.size,
        "source": source,
        "reason": type(error).__name__,
        "began_at": (job.now or refused_at).astimezone(UTC),
        "refused_at": refused_at,
    }
    # A store that tells no state cannot say whether this is the same file: each refusal has a row then.
    key = f"{job.identity} {file.url} {file.state or refused_at.isoformat()}"
    job.lake.append(REFUSED_FILES, pa.Table.from_pylist([row], schema=REFUSED_FILES_SCHEMA), key=key)
