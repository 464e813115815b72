"""What the tasks of `detect_abandonment` and `refresh_on_abandonment` do."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.kafka.address import is_kafka
from lastaisle.settings import Settings
from lastaisle_airflow.runtime.assets import ARRIVALS, EVENTS
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks.drifting import PAST

if TYPE_CHECKING:
    from lastaisle.sessions.abandonments import Burst

log = logging.getLogger(__name__)


def looking(settings: Settings) -> Any:
    """Return when to look for abandoned checkouts: as soon as rows came in.

    Runs over files are partitions, and what those announce (Airflow 3.3.2) wakes only partitioned DAGs. Runs
    over a topic are none, and complete a partition only when its end has passed.
    """
    from airflow.sdk import PartitionedAssetTimetable

    return [ARRIVALS] if is_kafka(settings.source) else PartitionedAssetTimetable(assets=EVENTS)


def detect() -> dict[str, Any]:
    """Keep the checkouts that were abandoned since the last look, tell of them, and return what was told.

    Raises:
        AirflowSkipException: there are none, or none for which it is not too late: a backfill starts no
            refresh.
    """
    from lastaisle.monitor.abandonment import detect as look

    settings = Settings.from_env()
    burst = look(open_lake(settings), settings, send=tell)
    if burst is None:
        raise AirflowSkipException("no checkout was abandoned since the last look")
    log.info("%d abandoned checkouts: %s", burst.sessions, dict(burst.reasons))
    if long_past(burst):
        raise AirflowSkipException(f"more than {PAST.days} days past: they start no refresh")
    return burst.to_dict()


def tell(burst: Burst) -> None:
    """Send the control topic one message, if there is a topic and it is not too late."""
    from lastaisle.kafka.control import control_topic, send_control
    from lastaisle_airflow.runtime.kafka import kafka_connection

    address = Settings.from_env().control_topic
    if address and not long_past(burst):
        name, topic = control_topic(address)
        send_control(kafka_connection(name), topic, burst.to_dict())


def long_past(burst: Burst) -> bool:
    """Say whether the last of some abandonments is so old that a backfill must have brought it."""
    return datetime.now(UTC) - burst.end > PAST


def plan() -> dict[str, Any]:
    """Decide what a refresh learns from: all abandonments that wait for one.

    Raises:
        AirflowSkipException: there is nothing to refresh, or nothing yet.
    """
    from lastaisle.errors import NotEnoughDataError
    from lastaisle.registry.registry import Registry
    from lastaisle.release.release import current_champion
    from lastaisle.training.refresh import NothingToRefreshError, plan_refresh

    settings = Settings.from_env()
    lake = open_lake(settings)
    try:
        planned = plan_refresh(lake, settings, current_champion(lake, Registry(settings)))
    except (NothingToRefreshError, NotEnoughDataError) as nothing:
        raise AirflowSkipException(str(nothing)) from nothing
    log.info("Planned %s: %s", planned.run_key, planned)
    return dict(json.loads(planned.to_json()))


def finish(planned: Mapping[str, Any]) -> None:
    """Remember that the plan's abandonments have had their refresh."""
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.training.refresh import finish_refresh

    finish_refresh(open_lake(Settings.from_env()), TrainingPlan.from_json(json.dumps(planned)))
