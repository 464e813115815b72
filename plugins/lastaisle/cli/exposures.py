"""Commands around exposures: take them in, and show them.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lastaisle.cli.ingested import show_ingested
from lastaisle.cli.options import AcceptSchemaChange, LakeUrl, Report, Settle
from lastaisle.cli.terminal import bar, errors, read_settings, show
from lastaisle.errors import NotEnoughDataError
from lastaisle.kafka.address import is_kafka, parse_source
from lastaisle.kafka.connection import KafkaConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from lastaisle.feedback.exposures.job import ExposureJob
    from lastaisle.feedback.exposures.report import ExposureReport
    from lastaisle.feedback.exposures.sources import ExposureSource


def ingest(
    source: Annotated[
        str,
        typer.Argument(
            metavar="[SOURCE]",
            help="File, folder, pattern, URL, or kafka://cluster/topic; default: LASTAISLE_EXPOSURES, else "
            "the feedback that the service keeps.",
        ),
    ] = "",
    exposure_format: Annotated[
        str,
        typer.Option("--format", help="feedback, exposures or segment; default: LASTAISLE_EXPOSURES_FORMAT."),
    ] = "",
    settle: Settle = 0.0,
    accept_schema_change: AcceptSchemaChange = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Ingest what shoppers saw and clicked: validate, quarantine, deduplicate, make pseudonyms.

    A kafka:// source gives all messages that wait now; LASTAISLE_KAFKA holds the settings of the cluster.
    """
    from lastaisle.feedback.exposures.job import ExposureJob
    from lastaisle.feedback.exposures.report import ExposureReport
    from lastaisle.feedback.exposures.sources import exposure_sources
    from lastaisle.ingest.run import note_pace
    from lastaisle.lake.opening import open_lake
    from lastaisle.privacy.keys import PseudonymKeys

    settings = read_settings(lake)
    given = {"exposures": source, "exposures_format": exposure_format}
    settings = settings.replace(**{name: value for name, value in given.items() if value})
    found = exposure_sources(settings)
    keys = PseudonymKeys.load_or_create(settings.privacy.key_file, lake_url=settings.lake.url)
    tables = open_lake(settings)
    ingested, started = ExposureReport(), time.perf_counter()
    places = found[:1] if source else found
    with bar("Ingesting") as progress:
        for place in places:
            job = ExposureJob.from_settings(
                settings, tables, keys, form=place.format, accept_schema_change=accept_schema_change
            )
            _ingest(place, job, timedelta(seconds=settle), progress, ingested)
    note_pace(ingested, started)
    if not (ingested.files or ingested.batches or ingested.files_failed or ingested.files_waiting):
        errors.print(
            f"Nothing new came back in {', '.join(place.address for place in places)}. The service publishes "
            f"each file of feedback {settings.serve.feedback_seconds:g} seconds "
            "(LASTAISLE_SERVE_FEEDBACK_SECONDS) after its first row, or when it ends. SOURCE or "
            "LASTAISLE_EXPOSURES names another place.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    show_ingested(ingested, report, "lastaisle attribute")


def show_exposures(lake: LakeUrl = "", report: Report = None) -> None:
    """Show what came back so far: the counts of exposures by kind, placement, version and policy.

    Exits with 5 if no exposure was ingested.
    """
    from lastaisle.feedback.exposures.summary import count_exposures
    from lastaisle.lake.opening import open_lake

    tables = open_lake(read_settings(lake))
    counts: dict[str, Any] | None = count_exposures(tables)
    if counts is None:
        raise NotEnoughDataError(
            f"the lake {tables.url} has no exposures: ingest some by lastaisle exposures ingest SOURCE"
        )
    show(counts, report)


def _ingest(
    place: ExposureSource,
    job: ExposureJob,
    settle: timedelta,
    progress: Callable[[float, str], None],
    report: ExposureReport,
) -> None:
    """Ingest one place, and add its counts to a report."""
    from lastaisle.feedback.exposures.run import ingest_exposures
    from lastaisle.feedback.exposures.topic import drain_exposures

    if is_kafka(place.address):
        topics = parse_source(place.address).topics
        drain_exposures(topics, job, KafkaConnection.from_env(), progress=progress, report=report)
        return
    ingest_exposures(
        *(place.address, job),
        settle=settle,
        progress=progress,
        may_be_missing=not place.is_named,
        report=report,
    )
