"""What the tasks of `ingest_sessions` do: pass references between the pipeline's steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.config import Settings
from lastaisle.errors import SourceError


def files_of(source: str) -> list[str]:
    """Return the addresses of a partition's files.

    Raises:
        AirflowSkipException: there are none (yet): there is nothing to do, and nothing is wrong.
    """
    from lastaisle.ingest.files import list_files

    try:
        files = [file.url for file in list_files(source)]
    except SourceError as nothing:
        raise AirflowSkipException(str(nothing)) from nothing
    if not files:
        raise AirflowSkipException(f"no files at {source}")
    return files


def ingest(file: str) -> str:
    """Validate one file into raw_events and quarantine; return its batch id."""
    from lastaisle.ingest.batch import ingest_file
    from lastaisle.lake import Lake

    settings = Settings.from_env()
    return ingest_file(file, settings.source_format, Lake(settings.lake)).batch_id


def anonymize(batch_id: str) -> dict[str, Any]:
    """Turn a batch's raw events into events; return what changed."""
    from lastaisle.lake import Lake
    from lastaisle.privacy.anonymize import anonymize_batch
    from lastaisle.privacy.keys import PseudonymKeys

    settings = Settings.from_env()
    keys = PseudonymKeys.load_or_create(settings.key_file, lake_url=settings.lake)
    report = anonymize_batch(batch_id, Lake(settings.lake), keys)
    return {"batch_id": batch_id, "rows": report.rows, "days": [day.isoformat() for day in report.days]}


def summarize(partition: str, reports: dict[str, Any] | Iterable[dict[str, Any] | None]) -> dict[str, Any]:
    """Add up the reports of a partition's files, for the asset event.

    Where only one file was taken in, be it alone or the only sound one, Airflow hands over its report itself
    instead of a list of one.
    """
    found = [reports] if isinstance(reports, dict) else [report for report in reports if report]
    return {
        "partition": partition,
        "files": len(found),
        "rows": sum(report["rows"] for report in found),
        "days": sorted({day for report in found for day in report["days"]}),
    }


def check_all_taken_in(files: list[str] | None, summary: dict[str, Any] | None) -> None:
    """Fail where fewer files were taken in than listed.

    Raises:
        SourceError: some were not, or they could not even be listed.
    """
    if files is None:
        raise SourceError("the files could not be listed; the log of list_files says why")
    taken = (summary or {}).get("files", 0)
    if taken < len(files):
        raise SourceError(
            f"{len(files) - taken} of {len(files)} files were not taken in; the failed tasks ingest_file and "
            "anonymize_batch of this run say why. Mend the files, then clear those tasks with all downstream."
        )
