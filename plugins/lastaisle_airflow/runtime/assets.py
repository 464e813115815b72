"""The assets by which one DAG run wakes the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import Asset, AssetWatcher

from lastaisle.kafka.control import control_topic

if TYPE_CHECKING:
    from lastaisle.settings import Settings

#: A partition of events is complete.
EVENTS = Asset(name="events", uri="x-lastaisle://events", group="lastaisle")
#: Events came for partitions that were announced before. The asset is for users with windows of their own.
LATE_EVENTS = Asset(name="late_events", uri="x-lastaisle://events/late", group="lastaisle")
#: More messages wait in Kafka than one run may take.
BACKLOG = Asset(name="backlog", uri="x-lastaisle://backlog", group="lastaisle")
#: A run stored rows, whether their partition is complete or not.
ARRIVALS = Asset(name="arrivals", uri="x-lastaisle://events/arrivals", group="lastaisle")
#: Items of the catalogue changed; the extra says how many.
ITEMS = Asset(name="items", uri="x-lastaisle://items", group="lastaisle")
#: A run stored rows of exposures; the extra says how many.
EXPOSURES = Asset(name="exposures", uri="x-lastaisle://exposures", group="lastaisle")
#: What followed the exposures changed; the extra says on which days.
OUTCOMES = Asset(name="outcomes", uri="x-lastaisle://outcomes", group="lastaisle")
#: The shop's figures changed; the extra says on which days.
SHOP_METRICS = Asset(name="shop_metrics", uri="x-lastaisle://shop-metrics", group="lastaisle")
#: A day's events, or the champion's answers, differ from the days before; the extra says how.
DRIFT = Asset(name="drift", uri="x-lastaisle://events/drift", group="lastaisle")
#: The champion moved to another version.
CHECKOUT_RECOMMENDER = Asset(
    name="checkout_recommender", uri="x-lastaisle://checkout-recommender/champion", group="lastaisle"
)


def abandoned_checkouts(settings: Settings) -> Asset:
    """Return the asset that control messages announce: new checkouts were abandoned.

    Without a control topic the asset has no watcher, and no Kafka library is imported.
    """
    watchers = []
    if settings.abandonment.control_topic:
        # Inside the function: the provider imports a Kafka client, which most installations do not need.
        from lastaisle_airflow.runtime.triggers import ControlTrigger

        connection, topic = control_topic(settings.abandonment.control_topic)
        trigger = ControlTrigger(topics=[topic], kafka_config_id=connection)
        watchers = [AssetWatcher(name="control_topic", trigger=trigger)]
    return Asset(
        name="abandoned_checkouts",
        uri="x-lastaisle://checkouts/abandoned",
        group="lastaisle",
        watchers=watchers,
    )
