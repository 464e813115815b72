"""Ingest exposures from Kafka topics, each message exactly once.

A topic may be read for events and for exposures: each use has offsets of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from lastaisle.feedback.exposures.batch import take_in_exposures
from lastaisle.feedback.exposures.job import ExposureJob
from lastaisle.feedback.exposures.report import ExposureReport
from lastaisle.feedback.exposures.segment import NAME as SEGMENT
from lastaisle.ingest.kafka.drain import Drain, drain
from lastaisle.ingest.kafka.payloads import Decoder
from lastaisle.ingest.options import Progress
from lastaisle.kafka.connection import KafkaConnection
from lastaisle.lake.tables import EXPOSURE_BATCHES


def exposure_drain(job: ExposureJob, connection: KafkaConnection) -> Drain:
    """Return the settings under which ranges of a topic become exposures.

    Segment's calls are read for events, too: their messages may name the version of another contract.
    """
    version = None if job.form.name == SEGMENT else job.contract.version
    return Drain(connection, job, Decoder(version), take_in=take_in_exposures, batches=EXPOSURE_BATCHES)


def drain_exposures(
    topics: Sequence[str],
    job: ExposureJob,
    connection: KafkaConnection,
    *,
    progress: Progress | None = None,
    report: ExposureReport | None = None,
) -> ExposureReport:
    """Ingest all exposures that wait now in some topics.

    Args:
        topics: the names of the topics.
        job: the settings of the ingestion.
        connection: how to reach the cluster.
        progress: called with the ingested share of the waiting messages.
        report: the report to add the counts to; a new one by default.

    Raises:
        KafkaSourceError: the cluster cannot be reached, or a topic does not exist.
        LastaisleError: see `take_in_exposures`.
    """
    report = ExposureReport() if report is None else report
    job.require_key()
    drain(topics, exposure_drain(job, connection), progress=progress, report=report)
    return report
