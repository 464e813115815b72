"""The metrics by which an experiment is judged: which sums over a shopper make each of them.

All sums are over the time after the shopper's first exposure, for as long as the experiment's horizon.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

#: What is summed up for each shopper.
MEASURES: Final = (
    *("exposures", "clicked", "viewed", "added", "ordered", "clickers", "adders", "buyers", "orders"),
    *("revenue", "sessions", "sessions_ordered", "sessions_checkout", "sessions_abandoned", "items_viewed"),
)


class Metric(NamedTuple):
    """A mean over shoppers, or the ratio of two sums over shoppers.

    Attributes:
        name: its name in the definition of an experiment.
        numerator: the measure that is summed up, of MEASURES.
        denominator: the measure by which the sum is divided; None divides by the number of shoppers.
        better: whether more of it is better (up) or less of it (down).
        help: what it is, in a line.
    """

    name: str
    numerator: str
    denominator: str | None
    better: Literal["up", "down"]
    help: str


_ALL: Final = (
    Metric("conversion", "buyers", None, "up", "shoppers who ordered something, of all shoppers"),
    Metric("orders_per_shopper", "orders", None, "up", "orders, by shoppers"),
    Metric("revenue_per_shopper", "revenue", None, "up", "price times quantity of all orders, by shoppers"),
    Metric("revenue_per_session", "revenue", "sessions", "up", "the same revenue, by sessions"),
    Metric("revenue_per_order", "revenue", "orders", "up", "the same revenue, by orders"),
    Metric("ctr", "clicked", "exposures", "up", "exposures that were clicked, of all exposures"),
    Metric("view_rate", "viewed", "exposures", "up", "exposures whose item was viewed, of all exposures"),
    Metric(
        "add_to_cart_rate",
        "added",
        "exposures",
        "up",
        "exposures whose item was added to the cart, of all exposures",
    ),
    Metric("order_rate", "ordered", "exposures", "up", "exposures whose item was ordered, of all exposures"),
    Metric("shopper_ctr", "clickers", None, "up", "shoppers who clicked an item, of all shoppers"),
    Metric(
        "shopper_add_rate",
        "adders",
        None,
        "up",
        "shoppers who added a shown item to the cart, of all shoppers",
    ),
    Metric("sessions_per_shopper", "sessions", None, "up", "sessions, by shoppers"),
    Metric(
        "session_conversion", "sessions_ordered", "sessions", "up", "sessions with an order, of all sessions"
    ),
    Metric(
        "checkout_completion",
        "sessions_ordered",
        "sessions_checkout",
        "up",
        "sessions with an order, of the sessions that came to the checkout",
    ),
    Metric(
        "abandonment",
        "sessions_abandoned",
        "sessions_checkout",
        "down",
        "sessions that left their checkout, of the sessions that came to it",
    ),
    Metric("depth", "items_viewed", "sessions", "up", "different items viewed, by sessions"),
)

METRICS: Final[dict[str, Metric]] = {metric.name: metric for metric in _ALL}
