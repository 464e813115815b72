"""Send the metrics to an OpenTelemetry collector, under the names that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.metadata import version as version_of
from typing import Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource

from lastaisle.monitor.metrics.families import FAMILIES, Sample

NAME: Final = "lastaisle"


class Sender:
    """Sends the values of the last looks at regular times.

    Args:
        samples: returns the values.
        url: where they are sent to, such as http://127.0.0.1:4318/v1/metrics. Headers, such as a key, stand
            in OTEL_EXPORTER_OTLP_HEADERS.
        seconds: how often they are sent.
    """

    def __init__(self, samples: Callable[[], Sequence[Sample]], url: str, seconds: float) -> None:
        exporter = OTLPMetricExporter(endpoint=url)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=seconds * 1000)
        resource = Resource.create({SERVICE_NAME: NAME, SERVICE_VERSION: version_of(NAME)})
        self._provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        meter = self._provider.get_meter(NAME)
        for family in FAMILIES:
            make = (
                meter.create_observable_counter if family.kind == "counter" else meter.create_observable_gauge
            )
            observe = partial(_observe, samples, family.name)
            make(family.name, callbacks=[observe], description=family.help)

    def send(self) -> bool:
        """Send the values now, and tell whether the collector took them."""
        return self._provider.force_flush()

    def stop(self) -> None:
        """Send the values once more, and end."""
        self._provider.shutdown()


def _observe(
    samples: Callable[[], Sequence[Sample]], name: str, options: CallbackOptions
) -> Iterable[Observation]:
    """Return the present values of a metric."""
    return [
        Observation(sample.value, dict(zip(sample.family.labels, sample.labels, strict=True)))
        for sample in samples()
        if sample.family.name == name
    ]
