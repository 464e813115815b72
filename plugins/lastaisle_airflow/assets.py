"""The assets by which one DAG run wakes the next."""

from __future__ import annotations

from airflow.sdk import Asset

#: A partition of events is there.
EVENTS = Asset(name="events", uri="x-lastaisle://events", group="lastaisle")
#: Events came for partitions that had been announced before: for those who build windows of their own.
LATE_EVENTS = Asset(name="late_events", uri="x-lastaisle://events/late", group="lastaisle")
#: More waits in Kafka than one run may take.
BACKLOG = Asset(name="backlog", uri="x-lastaisle://backlog", group="lastaisle")
#: A day of events, or what the champion makes of it, is not as the days before it; with its words.
DRIFT = Asset(name="drift", uri="x-lastaisle://events/drift", group="lastaisle")
CHECKOUT_RECOMMENDER = Asset(
    name="checkout_recommender", uri="x-lastaisle://checkout-recommender/champion", group="lastaisle"
)
