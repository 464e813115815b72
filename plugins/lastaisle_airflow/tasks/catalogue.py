"""The tasks of `ingest_catalogue`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import task

from lastaisle.errors import SourceError
from lastaisle.kafka.address import is_kafka, parse_source
from lastaisle.settings import Settings
from lastaisle.settings.settings import address_at
from lastaisle_airflow.runtime.assets import ITEMS
from lastaisle_airflow.runtime.kafka import kafka_connection
from lastaisle_airflow.runtime.notes import note, skipped
from lastaisle_airflow.runtime.stores import open_lake, source_options
from lastaisle_airflow.tasks import sentences
from lastaisle_airflow.tasks.flows import tell_catalogue

if TYPE_CHECKING:
    from lastaisle.catalogue.report import CatalogueReport

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)
_SHOWN = 100  # the most files of a kind that the report of a run names


@task
def ingest_items() -> dict[str, Any]:
    """Bring the new files, or the waiting messages, into the table `items`; return the counts.

    Raises:
        AirflowSkipException: LASTAISLE_CATALOGUE names no catalogue.
        SourceError: there is no file that can be read, or the place cannot be reached.
    """
    from lastaisle.ingest.summary import describe_rows, row_counts

    settings = Settings.from_env()
    if not settings.catalogue.address:
        raise skipped("LASTAISLE_CATALOGUE names no catalogue: everything is for sale")
    report = ingest_from(settings.catalogue.address, settings)
    tell_catalogue()
    counts = row_counts(report)
    removed, doubtful = report.items_removed, report.items_doubtful
    log.info(
        "%d files of the catalogue were read, %d of them before:\n  %s\n  %d items removed, %d kept in doubt",
        *(report.files, report.files_skipped, "\n  ".join(describe_rows(counts)), removed, doubtful),
    )
    told = {
        **counts,
        "items_removed": removed,
        "items_doubtful": doubtful,
        "files": report.files,
        "failed": dict(list(report.files_failed.items())[:_SHOWN]),
        "waiting": report.files_waiting[:_SHOWN],
    }
    note(sentences.of_catalogue(told), warn=bool(told["failed"]))
    return told


def ingest_from(address: str, settings: Settings) -> CatalogueReport:
    """Ingest the catalogue at an address: files, or the topics of a Kafka cluster."""
    from lastaisle.catalogue.job import CatalogueJob
    from lastaisle.catalogue.run import ingest_catalogue
    from lastaisle.catalogue.topic import drain_catalogue

    job = CatalogueJob.from_settings(settings, open_lake(settings))
    if is_kafka(address):
        source = parse_source(address)
        return drain_catalogue(source.topics, job, kafka_connection(source.name))
    place, options = source_options(address_at(address, datetime.now(UTC)))
    settle = timedelta(seconds=settings.sources.settle_seconds)
    return ingest_catalogue(place, job, source_options=options, settle=settle)


@task(outlets=[ITEMS])
def announce_items(report: dict[str, Any], *, outlet_events: Any = None) -> None:
    """Announce the asset `items` with the counts of the run; skip if no item changed."""
    outlet_events[ITEMS].extra = require_change(report)


def require_change(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the extra of the announcement.

    Raises:
        AirflowSkipException: no item changed.
    """
    changes = {"changed": report["rows_clean"], "removed": report["items_removed"]}
    if not any(changes.values()):
        raise skipped("no item of the catalogue changed")
    quarantined = {"quarantined": report["rows_quarantined"], "doubtful": report["items_doubtful"]}
    return changes | quarantined | {"words": sentences.of_catalogue(report)}


@task(retries=0)
def check_sources(report: dict[str, Any]) -> None:
    """Fail if a file of the catalogue was left out; the message names each file and its reason."""
    refuse_left_out(report)


def refuse_left_out(report: Mapping[str, Any]) -> None:
    """Fail if a file was left out.

    Raises:
        SourceError: the message names each file and its reason.
    """
    if report["failed"]:
        errors = "; ".join(f"{file}: {error}" for file, error in report["failed"].items())
        raise SourceError(f"left out of the catalogue: {errors}")
