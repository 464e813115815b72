"""Ingest all files of a catalogue into the table `items`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.catalogue.batch import CatalogueBatch, take_in_items
from lastaisle.catalogue.formats import GOOGLE_MERCHANT, guess_catalogue_format
from lastaisle.catalogue.job import CatalogueJob
from lastaisle.catalogue.merchant_xml import is_xml, merchant_lines
from lastaisle.catalogue.report import CatalogueBatchReport, CatalogueReport
from lastaisle.ingest.checks.changes import SchemaChangeError
from lastaisle.ingest.job import OvertakenError
from lastaisle.ingest.listing import list_source, record_file
from lastaisle.ingest.options import Progress
from lastaisle.ingest.reading.files import SourceFile
from lastaisle.ingest.records import read_records
from lastaisle.ingest.run import ATTEMPTS, LEFT_OUT, note_listing, note_pace, take_in_file
from lastaisle.ingest.slices import Slice
from lastaisle.ingest.sources.adapter import Adapter
from lastaisle.ingest.sources.columns import FIRST_LINES
from lastaisle.ingest.sources.layout import fitted
from lastaisle.lake import Lake
from lastaisle.lake.tables import CATALOGUE_BATCHES

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


def ingest_catalogue(
    source: str,
    job: CatalogueJob,
    *,
    source_options: Mapping[str, Any] | None = None,
    settle: timedelta = timedelta(0),
    progress: Progress | None = None,
) -> CatalogueReport:
    """Bring every new file of a catalogue into the table items, the oldest file first.

    Each full file lists the whole catalogue. A file that cannot be read, or that is refused, is named in the
    report, and the other files are ingested. A file that was ingested before and is unchanged is not opened.

    Args:
        source: a file, a folder or a glob pattern; a path or any fsspec URL.
        job: the settings of the ingestion.
        source_options: the options of fsspec for this source.
        settle: a file that was changed less than this ago is left for the next run.
        progress: called with the share of the files that were read.

    Raises:
        NothingFoundError: the source has no file that can be read.
        SourceError: the source cannot be reached.
        ReconciliationError: the row counts of a file do not add up.
    """
    started = time.perf_counter()
    report = CatalogueReport()
    listing = list_source(source, job.lake, format_name=job.identity, options=source_options, settle=settle)
    note_listing(report, listing)
    new = sorted(listing.new, key=lambda file: (file.modified or 0.0, file.url))
    for position, file in enumerate(new):
        if progress:
            progress(position / len(new), file.shown)
        take = partial(_take_in_file, file, job, f"{job.form.name} {job.content} {source}")
        take_in_file(file, take, report, (*LEFT_OUT, SchemaChangeError))
    note_pace(report, started)
    return report


def _take_in_file(file: SourceFile, job: CatalogueJob, source: str) -> list[CatalogueBatchReport]:
    return [ingest_catalogue_file(file, job, source=source)]


def ingest_catalogue_file(file: SourceFile, job: CatalogueJob, *, source: str) -> CatalogueBatchReport:
    """Ingest one file of the catalogue as one batch.

    Args:
        file: a file of `list_files`.
        job: the settings of the ingestion.
        source: the name of the source. The fields of the file are compared with earlier files of it.

    Raises:
        FileChangedError: the file was changed or removed since it was listed.
        LastaisleError: see `take_in_items`.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _take_in(file, job, source)
        except OvertakenError as other:
            job = replace(job, now=other.now)
    return _take_in(file, job, source)


def _take_in(file: SourceFile, job: CatalogueJob, source: str) -> CatalogueBatchReport:
    form, records = read_items(file, job.form)
    lines = Slice(records, job.identity)

    def describe() -> CatalogueBatch:
        digest = lines.name()
        return CatalogueBatch(
            _batch_id(file, job.lake, digest),
            source,
            file.url,
            job.form.name,
            digest=digest,
            dated=_dated(file),
        )

    report = take_in_items(lines, describe, replace(job, form=form), before_commit=file.refuse_changed)
    record_file(job.lake, file, job.identity, [report])
    return report


def _dated(file: SourceFile) -> datetime | None:
    """Return the time of the last change of a file; None if it is unknown.

    Packers that set no time write one near 1970, so a time before the contract's earliest is none.
    """
    if file.modified is None or file.modified < _EARLIEST.timestamp():
        return None
    return datetime.fromtimestamp(file.modified, UTC)


def read_items(file: SourceFile, form: Adapter) -> tuple[Adapter, Iterator[pa.RecordBatch]]:
    """Return the adapter for the layout of a file, and the records of the file as batches of LINES.

    Raises:
        HeaderError: the header is not understood.
        SourceError: the file cannot be read.
    """
    if form.name != GOOGLE_MERCHANT.name or not is_xml(file):
        return read_records(file, form, guess_catalogue_format)
    batches = merchant_lines(file)
    first = next(batches, None)
    if first is None:
        return fitted(form, []), iter(())
    objects = first["payload"].filter(pc.is_null(first["reason"])).slice(0, FIRST_LINES).to_pylist()
    return fitted(form, objects, header=False), chain([first], batches)


def _batch_id(file: SourceFile, lake: Lake, digest: str) -> str:
    """Return the id of a file in its present state.

    The content alone is not enough: an item that is sold out and comes back makes a feed that was read
    before. So the state of the file counts, too. Where the store reports no state, the last batch of the same
    address counts: the same content twice in a row is one batch.
    """
    state = file.state or _batch_before(file, lake, digest)
    return hashlib.sha256("\0".join((digest, file.url, state)).encode()).hexdigest()[:16]


def _batch_before(file: SourceFile, lake: Lake, digest: str) -> str:
    """Return the id of the newest batch of this address that has another content; empty without one."""
    if not lake.table(CATALOGUE_BATCHES):
        return ""
    rows = lake.scan(
        CATALOGUE_BATCHES,
        columns=["batch_id", "digest", "finished_at"],
        where=pc.field("source_file") == file.url,
    ).sort_by([("finished_at", "descending")])
    return next((row["batch_id"] for row in rows.to_pylist() if row["digest"] != digest), "")
