"""The schedules of the DAGs, by the settings."""

from __future__ import annotations

from typing import Any

from airflow.sdk import (
    Asset,
    AssetOrTimeSchedule,
    CronPartitionTimetable,
    CronTriggerTimetable,
    PartitionedAssetTimetable,
    StartOfDayMapper,
)

from lastaisle.kafka.address import is_kafka
from lastaisle.settings import Settings, SettingsError
from lastaisle_airflow.runtime.assets import ARRIVALS, BACKLOG, EVENTS, EXPOSURES, SHOP_METRICS
from lastaisle_airflow.runtime.partitions import cadence


def ingestion_schedule(settings: Settings) -> Any:
    """Return the schedule of ingestion: after each partition of files; for Kafka, every few minutes.

    A run that leaves messages in Kafka announces the backlog, and the next run follows at once.
    """
    if is_kafka(settings.sources.address):
        timetable = CronTriggerTimetable(settings.sources.drain_cron, timezone="UTC")
        return AssetOrTimeSchedule(timetable=timetable, assets=BACKLOG)
    chosen = cadence(settings)
    return CronPartitionTimetable(chosen.cron, timezone="UTC", run_offset=-1, key_format=chosen.key_format)


def catalogue_schedule(settings: Settings) -> Any:
    """Return the times of LASTAISLE_CATALOGUE_CRON; None without that setting."""
    cron = settings.catalogue.cron
    return CronTriggerTimetable(cron, timezone="UTC") if cron else None


def daily_schedule(asset: Asset, settings: Settings) -> Any:
    """Return a schedule with one run for the day of each announced partition of an asset.

    A roll-up (`RollupMapper`) would wait for all hours of the day. An hour without logs would then stop the
    day for ever, and so would a single hour that is announced again (Airflow 3.3.2).
    """
    mapper = StartOfDayMapper(input_format=cadence(settings).key_format)
    return PartitionedAssetTimetable(assets=asset, default_partition_mapper=mapper)


def training_schedule(settings: Settings) -> Any:
    """Return the schedule of incremental trainings: each partition of events, or the day of each partition.

    Raises:
        SettingsError: LASTAISLE_LEARN_EVERY is hour, and whole days are ingested.
    """
    every = settings.learning.every or settings.sources.partition
    if every == settings.sources.partition:
        return PartitionedAssetTimetable(assets=EVENTS)
    if every != "day":
        raise SettingsError(
            f"LASTAISLE_LEARN_EVERY should be day or, with LASTAISLE_PARTITION=hour, hour; received {every!r}"
        )
    return daily_schedule(EVENTS, settings)


def abandonment_schedule(settings: Settings) -> Any:
    """Return the schedule of detecting abandoned checkouts: after each run that stored rows.

    Runs over files have partitions, and the assets that such runs announce wake only DAGs with partitions
    (Airflow 3.3.2). Runs over a Kafka topic have none, and complete a partition only after its end.
    """
    return [ARRIVALS] if is_kafka(settings.sources.address) else PartitionedAssetTimetable(assets=EVENTS)


def attribution_schedule(settings: Settings) -> Any:
    """Return the schedule of attribution: after each run that stored events, and after exposures.

    Both assets are announced by runs of `ingest_sessions`. So with files each announcement has the partition
    of its run, also that of exposures, and with a Kafka topic none has (see `abandonment_schedule`). Either
    asset alone starts a run. Announcements of one partition that come before the run starts share the run.
    """
    if is_kafka(settings.sources.address):
        return ARRIVALS | EXPOSURES
    return PartitionedAssetTimetable(assets=EVENTS | EXPOSURES)


def figures_schedule(settings: Settings) -> Any:
    """Return the schedule of what looks at the shop's figures: after each run that changed them.

    With files each announcement has the partition of its run, and with a Kafka topic none has (see
    `abandonment_schedule`).
    """
    return (
        [SHOP_METRICS]
        if is_kafka(settings.sources.address)
        else PartitionedAssetTimetable(assets=SHOP_METRICS)
    )
