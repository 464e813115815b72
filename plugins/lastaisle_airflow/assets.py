"""The assets by which one DAG wakes the next."""

from __future__ import annotations

from airflow.sdk import Asset

EVENTS = Asset(name="events", uri="x-lastaisle://events", group="lastaisle")
CHECKOUT_RECOMMENDER = Asset(
    name="checkout_recommender", uri="x-lastaisle://checkout-recommender/champion", group="lastaisle"
)
