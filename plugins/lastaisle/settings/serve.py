"""The settings of the service that answers requests for recommendations."""

from __future__ import annotations

import re

from pydantic import SecretStr, field_validator

from lastaisle.settings.fields import Section, setting


class ServeSettings(Section):
    """The service that answers requests for recommendations (`lastaisle serve`)."""

    port: int = setting(
        "SERVE_PORT", 8091, "Port on which the service listens; 0 is any free port.", ge=0, le=65535
    )
    keys: SecretStr = setting(
        "SERVE_KEYS", SecretStr(""), "The API keys that may call the service, separated by commas."
    )
    key_file: str = setting(
        "SERVE_KEY_FILE",
        "",
        "A file of more API keys, one in each line. A running service reads the file again when it changes.",
    )
    cors_origins: str = setting(
        "SERVE_CORS_ORIGINS",
        "",
        "The origins, such as https://shop.example, of the pages whose browsers may call the service, "
        "separated by commas. * allows all pages.",
        shown_default="none: only programs and the service's own page call it",
        expected="empty, * or origins such as https://shop.example, separated by commas",
    )
    queue: int = setting(
        "SERVE_QUEUE",
        256,
        "The most requests that wait for the model in one worker. A further request is answered 503 at once.",
        unit="requests",
        ge=1,
    )
    timeout_seconds: float = setting(
        "SERVE_TIMEOUT_SECONDS",
        1.0,
        "A request that has waited this long for the model is answered 503.",
        unit="seconds",
        gt=0,
        le=60,
    )
    workers: int = setting(
        "SERVE_WORKERS",
        1,
        "How many processes answer. Each holds a copy of the model.",
        unit="processes",
        ge=1,
        le=64,
    )
    feedback: str = setting(
        "SERVE_FEEDBACK",
        "",
        "Where the feedback on shown lists is kept: a folder, or a Kafka topic such as kafka://shop/exposures.",
        shown_default="feedback/{day} in LASTAISLE_HOME",
        expected="a folder, or kafka://cluster/topic",
    )
    feedback_seconds: float = setting(
        "SERVE_FEEDBACK_SECONDS",
        300.0,
        "A file of feedback is published at this age. Ingestion reads only published files. A topic gets "
        "feedback at once.",
        unit="seconds",
        ge=0.1,
        le=3600,
    )
    follow: str = setting(
        "SERVE_FOLLOW",
        "champion",
        "The alias whose version the service serves.",
        expected="letters, digits, _ and -",
        pattern=r"^[A-Za-z0-9_-]{1,100}$",
    )
    poll_seconds: float = setting(
        "SERVE_POLL_SECONDS",
        2.0,
        "How often the service asks MLflow which version the alias has.",
        unit="seconds",
        ge=0.1,
        le=3600,
    )
    cache: str = setting(
        "SERVE_CACHE",
        "",
        "Folder on a local disk for the versions and the catalogue that the service has fetched, so that it "
        "starts and rolls back without MLflow and without the lake. Several services may share the folder.",
        shown_default="serve in LASTAISLE_HOME",
    )

    catalogue_poll_seconds: float = setting(
        "SERVE_CATALOGUE_POLL_SECONDS",
        10.0,
        "How often the service looks whether the catalogue has changed.",
        unit="seconds",
        ge=0.1,
        le=60,
    )
    health_seconds: float = setting(
        "SERVE_HEALTH_SECONDS",
        60.0,
        "How often each worker adds its counts of answers to the table service_metrics; 0 writes none. A "
        "worker that is killed loses the counts since its last write.",
        unit="seconds",
        ge=0,
        le=3600,
    )
    traffic_poll_seconds: float = setting(
        "SERVE_TRAFFIC_POLL_SECONDS",
        2.0,
        "How often the service looks whether an experiment, a bandit, a canary or a shadow began or ended.",
        unit="seconds",
        ge=0.1,
        le=60,
    )
    consent_poll_seconds: float = setting(
        "SERVE_CONSENT_POLL_SECONDS",
        0.5,
        "How often the service looks whether shoppers withdrew their consent. A look asks the disk once, or "
        "the bucket.",
        unit="seconds",
        ge=0.05,
        le=60,
    )
    trial_versions: int = setting(
        "SERVE_TRIAL_VERSIONS",
        4,
        "The most versions that the service loads for trials beside the version that answers. Each worker "
        "holds a copy of each.",
        unit="versions",
        ge=0,
        le=32,
    )
    rules: str = setting(
        "SERVE_RULES",
        "",
        "A YAML file of rules that pin and promote items. A running service reads the file again when it "
        "changes.",
        shown_default="none",
    )

    @field_validator("cors_origins")
    @classmethod
    def _origins_have_no_path(cls, origins: str) -> str:
        for origin in origins.split(",") if origins else ():
            if not re.fullmatch(r"\*|[a-z][a-z0-9+.-]*://[^/\s]+", origin.strip()):
                raise ValueError
        return origins
