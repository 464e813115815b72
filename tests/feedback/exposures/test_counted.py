"""Shoppers who refuse to be counted are in no figure, whatever else they agreed to."""

from lastaisle.feedback.metrics.count import count_metrics
from lastaisle.feedback.outcomes.attribute import attribute
from lastaisle.lake.tables import OUTCOMES, SHOP_METRICS
from lastaisle.settings import Settings

from .conftest import Shown, row
from .test_rotate import event, log

REFUSES = {"analytics": False, "personalization": True}


def figures(shown: Shown) -> tuple[int, int, float]:
    attribute(shown.lake, Settings.of())
    count_metrics(shown.lake)
    outcomes, metrics = shown.lake.scan(OUTCOMES).to_pylist(), shown.lake.scan(SHOP_METRICS).to_pylist()
    orders = sum(one["orders"] for one in outcomes)
    revenue = sum(one["revenue"] or 0 for one in metrics)
    return orders, sum(one["sessions_ordered"] or 0 for one in metrics), revenue


def bought(shown: Shown, **fields) -> None:
    order = {"order_id": "o1", "price": 9.9, "currency": "EUR", "quantity": 2}
    log(shown, event(1), event(1, "order_completed", 7, event_id="o", **order, **fields))
    shown.take(row(1), form="exposures")


def test_an_order_of_a_shopper_who_agrees_is_counted(shown):
    bought(shown)
    assert figures(shown) == (1, 1, 19.8)


def test_an_order_whose_shopper_refuses_analytics_is_in_no_figure(shown):
    bought(shown, consent=REFUSES)
    assert figures(shown) == (0, 0, 0)
