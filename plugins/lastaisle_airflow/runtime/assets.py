"""The assets by which one DAG run wakes the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import Asset, AssetWatcher

if TYPE_CHECKING:
    from lastaisle.settings import Settings

#: A partition of events is there.
EVENTS = Asset(name="events", uri="x-lastaisle://events", group="lastaisle")
#: Events came for partitions that had been announced before: for those who build windows of their own.
LATE_EVENTS = Asset(name="late_events", uri="x-lastaisle://events/late", group="lastaisle")
#: More waits in Kafka than one run may take.
BACKLOG = Asset(name="backlog", uri="x-lastaisle://backlog", group="lastaisle")
#: A run took in rows that nobody looked at yet, be their partition complete or not.
ARRIVALS = Asset(name="arrivals", uri="x-lastaisle://events/arrivals", group="lastaisle")
#: A day of events, or what the champion makes of it, is not as the days before it; with its words.
DRIFT = Asset(name="drift", uri="x-lastaisle://events/drift", group="lastaisle")
CHECKOUT_RECOMMENDER = Asset(
    name="checkout_recommender", uri="x-lastaisle://checkout-recommender/champion", group="lastaisle"
)


def abandoned_checkouts(settings: Settings) -> Asset:
    """Return the asset that control messages announce: checkouts were abandoned that no version knows.

    Without a control topic nobody watches, and nothing of Kafka is imported.
    """
    watchers = []
    if settings.abandonment.control_topic:
        from lastaisle.kafka.control import control_topic
        from lastaisle_airflow.runtime.watching import ControlTrigger

        connection, topic = control_topic(settings.abandonment.control_topic)
        trigger = ControlTrigger(topics=[topic], kafka_config_id=connection)
        watchers = [AssetWatcher(name="control_topic", trigger=trigger)]
    return Asset(
        name="abandoned_checkouts",
        uri="x-lastaisle://checkouts/abandoned",
        group="lastaisle",
        watchers=watchers,
    )
