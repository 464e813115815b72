"""The settings of the metrics for Prometheus and OpenTelemetry."""

from __future__ import annotations

import re

from pydantic import SecretStr, field_validator

from lastaisle.settings.fields import Section, setting


class MetricsSettings(Section):
    """The metrics of the pipeline, for Prometheus and OpenTelemetry (`lastaisle export-metrics`)."""

    port: int = setting(
        "METRICS_PORT", 8094, "Port on which the metrics are served; 0 is any free port.", ge=0, le=65535
    )
    keys: SecretStr = setting(
        "METRICS_KEYS", SecretStr(""), "The keys that may read the metrics, separated by commas."
    )
    key_file: str = setting(
        "METRICS_KEY_FILE",
        "",
        "A file of more keys, one in each line. The file is read again when it changes.",
    )
    seconds: float = setting(
        "METRICS_SECONDS",
        15.0,
        "How often the export looks whether tables and MLflow have changed, and how often it sends the "
        "metrics to LASTAISLE_OTLP.",
        unit="seconds",
        ge=1,
        le=3600,
    )
    otlp: str = setting(
        "OTLP",
        "",
        "The OpenTelemetry collector that gets the metrics by OTLP over HTTP, such as http://127.0.0.1:4318. "
        "`make up` then sends Airflow's own metrics there as well, and runs the export.",
        shown_default="none",
        expected="an address such as http://127.0.0.1:4318, without user, password and query",
    )

    @property
    def is_on(self) -> bool:
        """Whether there is a key to read the metrics with, or a collector to send them to."""
        return bool(self.keys.get_secret_value() or self.key_file or self.otlp)

    @property
    def metrics_url(self) -> str:
        """The address to which metrics are sent, by OpenTelemetry's rule for an address of a collector."""
        return f"{self.otlp.rstrip('/')}/v1/metrics"

    @field_validator("otlp")
    @classmethod
    def _is_an_address_without_secrets(cls, address: str) -> str:
        if address and not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#@\s]*)?", address):
            raise ValueError
        return address
