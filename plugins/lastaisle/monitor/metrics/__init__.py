"""The state of the pipeline as metrics, for Prometheus and for OpenTelemetry."""
