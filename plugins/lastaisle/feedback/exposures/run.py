"""Ingest all files of exposures into the table `exposures`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

from lastaisle.feedback.exposures.batch import ExposureSteps
from lastaisle.feedback.exposures.job import ExposureJob
from lastaisle.feedback.exposures.report import ExposureBatchReport, ExposureReport
from lastaisle.ingest import run
from lastaisle.ingest.checks.changes import SchemaChangeError
from lastaisle.ingest.listing import list_source
from lastaisle.ingest.options import Progress
from lastaisle.ingest.reading.files import NothingFoundError, SourceFile
from lastaisle.settings.settings import on_all_days

#: The errors that leave out one file; the others are ingested.
LEFT_OUT: Final = (*run.LEFT_OUT, SchemaChangeError)


def ingest_exposures(
    source: str,
    job: ExposureJob,
    *,
    source_options: Mapping[str, Any] | None = None,
    settle: timedelta = timedelta(0),
    progress: Progress | None = None,
    may_be_missing: bool = False,
    report: ExposureReport | None = None,
) -> ExposureReport:
    """Bring every new file of a source into quarantine and exposures.

    A file that cannot be read, or that is refused, is named in the report, and the other files are ingested.
    A file that was ingested before and is unchanged is not opened. The files that the service still writes
    are passed over.

    Args:
        source: a file, a folder or a glob pattern; a path or any fsspec URL. A placeholder such as {day}
            stands for every day.
        job: the settings of the ingestion.
        source_options: the options of fsspec for this source.
        settle: a file that was changed less than this ago is left for the next run.
        progress: called with the share of each file that was read.
        may_be_missing: whether a source without any file is no error, since nothing came back yet.
        report: the report to add the counts to; a new one by default.

    Raises:
        NothingFoundError: the source has no file that can be read.
        SourceError: the source cannot be reached.
        KeyFileError: the format holds the shop's own ids, and there is no key.
        ReconciliationError: the row counts of a file do not add up.
    """
    started = time.perf_counter()
    report = ExposureReport() if report is None else report
    job.require_key()
    place = on_all_days(source)
    try:
        listing = list_source(
            place, job.lake, format_name=job.identity, options=source_options, settle=settle
        )
    except NothingFoundError as error:
        if not may_be_missing:
            raise
        report.files_passed_over |= error.passed_over
        return report
    run.note_listing(report, listing)
    for file in listing.new:
        take = partial(ingest_exposure_file, file, job, f"{job.form.name} {source}", progress=progress)
        run.take_in_file(file, take, report, LEFT_OUT)
    run.note_pace(report, started)
    return report


def ingest_exposure_file(
    file: SourceFile, job: ExposureJob, source: str, *, progress: Progress | None = None
) -> list[ExposureBatchReport]:
    """Ingest one file of exposures, batch by batch; see `lastaisle.ingest.run.ingest_slices`.

    Args:
        file: a file of `list_files`.
        job: the settings of the ingestion.
        source: the name of the source. The batches of the file are compared with earlier batches of it.
        progress: called with the share of the file that was read.
    """
    return run.ingest_slices(file, ExposureSteps(job), source=source, progress=progress)
