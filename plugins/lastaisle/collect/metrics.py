"""The collector's counters, in the text format that Prometheus reads."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """The counters of one application, in a registry of their own."""

    def __init__(self) -> None:
        # Without this call, each counter would have a second series, the time at which the counter began.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._accepted = Counter(
            "lastaisle_collect_accepted_total",
            "Calls that are durable and were acknowledged.",
            ["endpoint"],
            registry=self._registry,
        )
        self._refused = Counter(
            "lastaisle_collect_refused_total",
            "Requests that were refused.",
            ["reason"],
            registry=self._registry,
        )
        self._dropped = Counter(
            "lastaisle_collect_dropped_total",
            "Requests with measurements of Segment's own client, which are not kept.",
            registry=self._registry,
        )
        self._opted_out = Counter(
            "lastaisle_collect_opted_out_total",
            "Calls of browsers with Global Privacy Control (Sec-GPC: 1).",
            registry=self._registry,
        )
        self._bytes = Counter(
            "lastaisle_collect_bytes_total", "Bytes of the lines that are durable.", registry=self._registry
        )
        self._waiting = Gauge(
            "lastaisle_collect_waiting_bytes",
            "Bytes that the sink has not made durable yet.",
            registry=self._registry,
        )
        self._seconds = Histogram(
            "lastaisle_collect_sink_seconds",
            "Time until the calls of a request were durable.",
            buckets=BUCKETS,
            registry=self._registry,
        )

    def stored(self, endpoint: str, calls: int, size: int, seconds: float) -> None:
        """Count durable calls and their bytes, and record the seconds that the sink needed."""
        self._accepted.labels(endpoint).inc(calls)
        self._bytes.inc(size)
        self._seconds.observe(seconds)

    def refused(self, reason: str) -> None:
        """Count a request that was refused."""
        self._refused.labels(reason).inc()

    def dropped(self) -> None:
        """Count a request whose content is not kept."""
        self._dropped.inc()

    def opted_out(self, calls: int) -> None:
        """Count calls of a browser with Global Privacy Control."""
        self._opted_out.inc(calls)

    def render(self, waiting: int) -> bytes:
        """Return all series.

        Args:
            waiting: the bytes that wait for the sink now.
        """
        self._waiting.set(waiting)
        return generate_latest(self._registry)
