"""All files of a source, from logs to events."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from data_contracts.contract import Contract, load_contract
from lastaisle.errors import SourceError
from lastaisle.ingest.batch import ingest_file
from lastaisle.ingest.files import list_files
from lastaisle.ingest.options import IngestOptions, Progress
from lastaisle.ingest.report import IngestReport
from lastaisle.ingest.sources import adapter
from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS, RAW_EVENTS
from lastaisle.memory import peak_rss_mib
from lastaisle.privacy.anonymize import anonymize_batch
from lastaisle.privacy.keys import PseudonymKeys

log = logging.getLogger(__name__)


def ingest(
    source: str,
    format_name: str,
    lake: Lake,
    keys: PseudonymKeys,
    *,
    now: datetime | None = None,
    contract: Contract | None = None,
    events_contract: Contract | None = None,
    options: IngestOptions | None = None,
    source_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> IngestReport:
    """Bring every file of a source into raw_events, quarantine and events.

    A file that cannot be read is named in the report, and the others go on.

    Args:
        source: a file, a folder or a glob pattern; a path or any fsspec URL.
        format_name: which adapter reads the files.
        lake: where the tables are.
        keys: for the pseudonyms.
        now: the time of ingestion, aware; the clock's by default.
        contract: that of raw_events; the packaged one by default.
        events_contract: that of events; the packaged one by default.
        options: see there.
        source_options: what fsspec needs to open the source.
        progress: told the share of each file that was read.

    Raises:
        SourceError: there is nothing at the source, or the format is unknown.
        ReconciliationError: rows of a file that cannot be accounted for.
    """
    started = time.perf_counter()
    adapter(format_name)
    contract = contract or load_contract(RAW_EVENTS)
    events_contract = events_contract or load_contract(EVENTS)
    report = IngestReport()
    for file in list_files(source, source_options):
        try:
            batch = ingest_file(
                file, format_name, lake, now=now, contract=contract, options=options, progress=progress
            )
        except SourceError as error:
            log.error("left out: %s", error)
            report.files_failed[file.url] = str(error)
            continue
        done = anonymize_batch(batch.batch_id, lake, keys, contract=contract, events_contract=events_contract)
        report.add(batch, done.days)
    report.seconds = time.perf_counter() - started
    report.events_per_second = report.rows_in / max(report.seconds, 1e-9)
    report.peak_rss_mib = peak_rss_mib()
    return report
