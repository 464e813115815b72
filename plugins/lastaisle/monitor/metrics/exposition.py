"""The metrics in the text format that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from lastaisle.monitor.metrics.families import FAMILIES, TOTAL, Sample

MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

_Metric = CounterMetricFamily | GaugeMetricFamily


def render(samples: Sequence[Sample]) -> bytes:
    """Return all metrics with their values; a metric without a value has its meaning only."""
    registry = CollectorRegistry()
    registry.register(_Samples(samples))
    return generate_latest(registry)


class _Samples(Collector):
    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[_Metric]:
        """Yield each metric with its values."""
        metrics: dict[str, _Metric] = {}
        for family in FAMILIES:
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metrics[family.name] = kind(family.name.removesuffix(TOTAL), family.help, labels=family.labels)
        for sample in self._samples:
            metrics[sample.family.name].add_metric(sample.labels, sample.value)
        yield from metrics.values()
