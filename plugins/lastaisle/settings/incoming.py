"""The settings of what comes in: the logs, their way to events, and the collector."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import SecretStr, ValidationInfo, field_validator

from lastaisle.settings.fields import Section, json_object, setting


class SourceSettings(Section):
    """The shop's logs: where they lie or arrive, and when a run reads them."""

    address: str = setting(
        "SOURCE",
        "",
        "The logs of one partition, as a path or URL: {day} becomes 2014-04-01, {hour} becomes 2014-04-01T05 "
        "and {day_ms} becomes the start of the day in milliseconds since 1970, as Segment names its folders. "
        "Or Kafka topics: kafka://shop/clicks,orders.",
        shown_default="landing/{day} in LASTAISLE_HOME",
    )
    format: str = setting("SOURCE_FORMAT", "canonical", "Name of the adapter that reads the logs.")
    mapping: str = setting(
        "SOURCE_MAPPING",
        "",
        "A YAML file that says how the shop's own logs become events; LASTAISLE_SOURCE_FORMAT stays unset.",
        shown_default="none",
        expected="the path of a YAML file, beside no other format than canonical",
    )
    partition: Literal["day", "hour"] = setting("PARTITION", "day", "What one run of ingestion covers.")
    consent_categories: str = setting(
        "CONSENT_CATEGORIES",
        "",
        "The names that the shop's consent manager gives to the categories of the consent fields, such as "
        '{"analytics": ["C0002"], "personalization": ["C0004", "Targeting"]}. Capitals do not count.',
        shown_default="the names analytics and personalization, and those of Google's consent mode",
        expected="a JSON object of categories, each with a list of names",
    )
    settle_seconds: float = setting(
        "SETTLE_SECONDS",
        10.0,
        "A file that changed less than this ago may still be growing, so a later run reads it.",
        unit="seconds",
        ge=0,
    )
    lookback_hours: float = setting(
        "LOOKBACK_HOURS",
        0.0,
        "How far back a run looks for files that were uploaded late into the folders of earlier hours or "
        "days; 0 looks only at its own folder. A backfill never looks back.",
        unit="hours",
        ge=0,
    )
    missing_logs: Literal["fail", "skip"] = setting(
        "MISSING_LOGS",
        "fail",
        "What a run of ingestion does if its day or hour has no logs at all: no place, no files, or only "
        "empty files. Where other files lie of which none is read, or the place cannot be reached, a run "
        "fails always.",
    )
    drain_cron: str = setting(
        "DRAIN_CRON",
        "*/5 * * * *",
        "When a run of ingestion starts where the source is Kafka. A run that leaves messages behind is "
        "followed by another one at once.",
        unit="cron",
    )
    run_rows: int = setting(
        "RUN_ROWS", 5_000_000, "The most messages that one run takes from Kafka.", unit="messages", ge=1
    )
    lateness_minutes: float = setting(
        "LATENESS_MINUTES",
        60.0,
        "How long after the newest event of a source an older event may arrive without being late. An hour "
        "or a day of a Kafka source is complete when this time has passed.",
        unit="minutes",
        ge=0,
    )

    @field_validator("consent_categories")
    @classmethod
    def _categories_have_lists_of_names(cls, text: str) -> str:
        for category, names in json_object(text).items():
            if not isinstance(names, list) or not all(
                isinstance(name, str) and name.strip() for name in names
            ):
                raise ValueError(f"the names of {category!r} are no list of texts")
        return text

    def categories(self) -> dict[str, list[str]]:
        """Return the shop's own names of each consent category."""
        return json_object(self.consent_categories)

    @field_validator("mapping")
    @classmethod
    def _mapping_replaces_the_format(cls, mapping: str, info: ValidationInfo) -> str:
        if mapping and info.data.get("format", "canonical") != "canonical":
            raise ValueError(
                f"LASTAISLE_SOURCE_FORMAT is {info.data['format']!r}, too; unset one of the two variables"
            )
        return mapping


class IngestSettings(Section):
    """The way from logs to events: how the work is divided and checked."""

    batch_rows: int = setting(
        "BATCH_ROWS",
        2_000_000,
        "The most rows of a batch. More rows need more memory; fewer rows make more and smaller files.",
        unit="rows",
        ge=1,
    )
    gx_sample_rows: int = setting(
        "GX_SAMPLE_ROWS",
        1000,
        "How many rows of each batch Great Expectations checks, beside the compiled rules, which check all "
        "rows; 0 leaves Great Expectations out, which saves each task some seconds.",
        unit="rows",
        ge=0,
    )
    duplicate_days: int = setting(
        "DUPLICATE_DAYS",
        0,
        "How many days before and after the days of a batch an event_id is looked up in raw_events; 0 looks "
        "in all days. A limit saves a large lake the reading of all ids; an id that comes again later than "
        "that counts as a new event.",
        unit="days",
        ge=0,
    )
    shards: int = setting(
        "SHARDS",
        1,
        "How many tasks share the way to the table events; each has the users of one remainder of a hash.",
        unit="tasks",
        ge=1,
    )


class CollectorSettings(Section):
    """Who may send events to the collector."""

    segment_write_keys: SecretStr = setting(
        "SEGMENT_WRITE_KEYS",
        SecretStr(""),
        "The write keys that may send events to the collector, separated by commas.",
    )
    segment_secret: SecretStr = setting(
        "SEGMENT_SECRET",
        SecretStr(""),
        "The shared secret with which Segment signs what it sends to the collector's webhook.",
    )
    segment_key_file: str = setting(
        "SEGMENT_KEY_FILE",
        "",
        "A file of more write keys: a key in each line, and after it the events a minute that it may send, "
        "if the key has a quota of its own. A running collector reads the file again when it changes.",
    )
    segment_quota: int = setting(
        "SEGMENT_QUOTA",
        0,
        "The events that one write key may send in a minute; 0 is no limit. More events are refused with the "
        "status 429.",
        unit="events a minute",
        ge=0,
    )
    segment_webhook_hours: float = setting(
        "SEGMENT_WEBHOOK_HOURS",
        24.0,
        "The webhook refuses calls that Segment received longer ago than this, and requests that it took "
        "already.",
        unit="hours",
        gt=0,
    )
    cors_origins: str = setting(
        "CORS_ORIGINS",
        "*",
        "The origins, such as https://shop.example, of the pages whose browsers may send to the collector, "
        "separated by commas. * allows all pages: the write key in each request says who is calling, and no "
        "cookie is read.",
        expected="* or origins such as https://shop.example, separated by commas",
    )

    @field_validator("cors_origins")
    @classmethod
    def _origins_have_no_path(cls, origins: str) -> str:
        for origin in origins.split(","):
            if not re.fullmatch(r"\*|[a-z][a-z0-9+.-]*://[^/\s]+", origin.strip()):
                raise ValueError
        return origins
