"""What the collector counts, in the text format that Prometheus reads."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of one process; only its event loop writes them."""

    def __init__(self) -> None:
        self.accepted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.bytes = 0
        self._latencies = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0

    def stored(self, endpoint: str, calls: int, size: int, seconds: float) -> None:
        """Count calls that became durable, and how long their sink took."""
        self.accepted[endpoint] += calls
        self.bytes += size
        self._latencies[bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds

    def render(self, waiting: int) -> str:
        """Return all of it, with the bytes that wait for the sink now."""
        lines = [
            "# HELP lastaisle_collect_accepted_total Calls that are durable and were acknowledged.",
            "# TYPE lastaisle_collect_accepted_total counter",
            *(
                f'lastaisle_collect_accepted_total{{endpoint="{name}"}} {count}'
                for name, count in sorted(self.accepted.items())
            ),
            "# HELP lastaisle_collect_refused_total Requests that were refused.",
            "# TYPE lastaisle_collect_refused_total counter",
            *(
                f'lastaisle_collect_refused_total{{reason="{name}"}} {count}'
                for name, count in sorted(self.refused.items())
            ),
            "# HELP lastaisle_collect_bytes_total Bytes of the lines that are durable.",
            "# TYPE lastaisle_collect_bytes_total counter",
            f"lastaisle_collect_bytes_total {self.bytes}",
            "# HELP lastaisle_collect_waiting_bytes Bytes that the sink has not made durable yet.",
            "# TYPE lastaisle_collect_waiting_bytes gauge",
            f"lastaisle_collect_waiting_bytes {waiting}",
            "# HELP lastaisle_collect_sink_seconds Time until the calls of a request were durable.",
            "# TYPE lastaisle_collect_sink_seconds histogram",
        ]
        total = 0
        for bound, count in zip((*BUCKETS, "+Inf"), self._latencies, strict=True):
            total += count
            lines.append(f'lastaisle_collect_sink_seconds_bucket{{le="{bound}"}} {total}')
        lines.append(f"lastaisle_collect_sink_seconds_sum {self._seconds:.6f}")
        lines.append(f"lastaisle_collect_sink_seconds_count {total}")
        return "\n".join(lines) + "\n"
