"""The settings of lake, registry, learning and watching, section by section."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationInfo, field_validator

from lastaisle.settings.fields import Section, json_object, setting

AT_SERVER: Final = "mlflow-artifacts:/"
"""The address of the place in which an MLflow server keeps artifacts."""


class LakeSettings(Section):
    """The Delta tables: where they are, and for how long their rows and versions stay."""

    url: str = setting(
        "LAKE",
        "",
        "Folder or URL (s3://, gs://) of the Delta tables.",
        shown_default="the folder lake in LASTAISLE_HOME",
    )
    options: SecretStr = setting(
        "LAKE_OPTIONS",
        SecretStr(""),
        "Storage options with which delta-rs reaches a lake in an object store, such as "
        '{"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}. Where the variable is empty, delta-rs reads its own '
        "environment variables.",
        expected="a JSON object of delta-rs' storage options, all values texts",
    )
    keep_raw_days: int = setting(
        "KEEP_RAW_DAYS",
        400,
        "Rows of raw_events and quarantine are deleted this long after their ingestion; 0 keeps all.",
        unit="days",
        ge=0,
    )
    keep_versions_days: int = setting(
        "KEEP_VERSIONS_DAYS",
        30,
        "The versions of a table that a training read stay readable for this long.",
        unit="days",
        ge=7,
    )

    keep_days: str = setting(
        "KEEP_DAYS",
        "",
        "The days for which the rows of a table stay, where the days of the contract do not fit: "
        '{"events": 200}; 0 keeps all. docs/audit.md lists the days of each table.',
        shown_default="the days of the contracts",
        expected='a JSON object of tables and whole days, such as {"events": 200}',
    )

    @property
    def days_by_table(self) -> dict[str, int]:
        """The days that replace those of the contracts, by table."""
        return dict(json_object(self.keep_days))

    @field_validator("keep_days")
    @classmethod
    def _days_are_whole_numbers(cls, text: str) -> str:
        for table, days in json_object(text).items():
            if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= 36_500:
                raise ValueError(
                    f"{table} should have a whole number of days from 0 to 36500, received {days!r}"
                )
        return text

    @field_validator("options")
    @classmethod
    def _options_are_a_json_object(cls, options: SecretStr) -> SecretStr:
        json_object(options.get_secret_value(), of_texts=True)
        return options


class PrivacySettings(Section):
    """Pseudonyms, consent, requests of shoppers, and what private trainings may spend."""

    key_file: str = setting(
        "KEY_FILE",
        "",
        "File of the pseudonym keys. It never lies inside the lake. LASTAISLE_PSEUDONYM_KEY goes before it.",
        shown_default="keys/pseudonym.json in LASTAISLE_HOME",
    )
    raw_readers: str = setting(
        "RAW_READERS",
        "",
        "Accounts of the operating system that may see quarantined rows as the shop sent them, and copy the "
        "data of a shopper who asks for a copy, such as `anna,ben`. These rows hold personal data. Nobody by "
        "default.",
    )
    requests: str = setting(
        "REQUESTS",
        "",
        "Folder that keeps the user ids of requests of shoppers until the requests end, and the receipts. It "
        "never lies inside the lake. Where tasks run on several machines, they share this folder.",
        shown_default="subjects in LASTAISLE_HOME",
    )
    request_days: int = setting(
        "REQUEST_DAYS",
        28,
        "A request of a shopper is due this long after it was asked. The GDPR allows one month.",
        unit="days",
        ge=1,
        le=45,
    )
    receipt_key: str = setting(
        "RECEIPT_KEY",
        "",
        "File of the Ed25519 key that signs the receipts of requests; made on first use. It never lies "
        "inside the lake.",
        shown_default="keys/receipts.pem in LASTAISLE_HOME",
    )
    erased_models: Literal["retrain", "retire"] = setting(
        "ERASED_MODELS",
        "retrain",
        "What follows an erasure for the model versions that learned from the shopper. With `retrain`, a "
        "full training without the shopper starts, and the versions lose their aliases once a clean version "
        "serves. With `retire`, they lose their aliases at once.",
    )
    epsilon: float = setting(
        "PRIVACY_EPSILON",
        0.0,
        "The privacy budget of a shopper: what all private trainings of 365 days may spend together, by "
        "their composition. A training that would exceed it does not start; 0 = no budget.",
        unit="epsilon",
        ge=0,
        le=1000,
    )
    delta: float = setting(
        "PRIVACY_DELTA",
        1e-6,
        "The delta at which the trainings of 365 days are composed. It should be far below 1 divided by the "
        "number of shoppers.",
        unit="probability",
        gt=0,
        lt=0.1,
    )
    required: bool = setting(
        "PRIVACY_REQUIRED",
        False,
        "Whether the gate refuses each version that was trained without noise, or that started from one.",
        shown_default="`false`",
        expected="true or false",
    )
    k_anonymity: int = setting(
        "K_ANONYMITY",
        20,
        "Device and place of an event are kept only if so many shoppers of its hour share them; else they "
        "are left out step by step. 0 keeps all.",
        unit="shoppers",
        ge=0,
        le=1_000_000,
    )
    phone_countries: str = setting(
        "PHONE_COUNTRIES",
        "",
        "Countries (ISO 3166) whose national telephone numbers are searched in free texts, such as `DE,AT`. "
        "Numbers that begin with + or 00 are always searched.",
        expected="codes of countries in two capitals, separated by commas",
        pattern=r"^([A-Z]{2}(,[A-Z]{2})*)?$",
    )

    gpc_refuses: str = setting(
        "GPC_REFUSES",
        "sale,personalization",
        "The purposes that the header Sec-GPC: 1 (Global Privacy Control) refuses: `sale`, which it always "
        "refuses, and any of `personalization` and `analytics`.",
        expected="sale, personalization and analytics, separated by commas; sale is one of them",
    )

    @field_validator("gpc_refuses")
    @classmethod
    def _gpc_refuses_the_sale(cls, purposes: str) -> str:
        names = {name.strip() for name in purposes.split(",")}
        if "sale" not in names or names - {"sale", "personalization", "analytics"}:
            raise ValueError
        return purposes

    @property
    def refused_by_gpc(self) -> frozenset[str]:
        """The purposes that Global Privacy Control refuses."""
        return frozenset(name.strip() for name in self.gpc_refuses.split(","))

    key_max_days: int = setting(
        "KEY_MAX_DAYS",
        365,
        "The audit of privacy fails if the pseudonym key is used for longer than this; 0 allows any age.",
        unit="days",
        ge=0,
    )

    @property
    def may_read_raw(self) -> frozenset[str]:
        """The accounts that may see rows as the shop sent them."""
        return frozenset(filter(None, (name.strip() for name in self.raw_readers.split(","))))

    @property
    def searched_countries(self) -> tuple[str, ...]:
        """The countries whose national telephone numbers are searched in free texts."""
        return tuple(filter(None, self.phone_countries.split(",")))


class RegistrySettings(Section):
    """MLflow: where runs and model versions are kept, and under which names."""

    mlflow_uri: str = setting(
        "MLFLOW_URI",
        "",
        "MLflow's tracking and registry URI.",
        shown_default="a SQLite file mlflow/mlflow.db in LASTAISLE_HOME",
    )
    mlflow_artifacts: str = setting(
        "MLFLOW_ARTIFACTS",
        "",
        "Where a new MLflow experiment keeps its artifacts: a folder, a bucket, or `mlflow-artifacts:/`, the "
        "place of the server that LASTAISLE_MLFLOW_URI names. The MLflow of `make up` serves the folder or "
        "the bucket to other hosts.",
        shown_default="mlflow-artifacts:/ if LASTAISLE_MLFLOW_URI names a server; else mlflow/artifacts in "
        "LASTAISLE_HOME",
        expected="a folder or a bucket where LASTAISLE_MLFLOW_URI names no server",
    )
    # MLflow refuses / and : when a version is registered, after hours of training; addresses such as
    # models:/name@champion, and filters of a search, leave no room for @ # % and quotes.
    model_name: str = setting(
        "MODEL_NAME",
        "checkout-recommender",
        "Name of the registered model.",
        expected="a letter, digit or _, then at most 199 letters, digits, spaces, _ . or -",
        pattern=r"^\w[\w .-]{0,199}$",
    )
    experiment: str = setting(
        "EXPERIMENT",
        "lastaisle",
        "Name of the MLflow experiment.",
        expected="at most 200 characters, without control characters and quotes",
        pattern=r"""^[^\p{C}'"`]{1,200}$""",
    )
    alias_moved_by_hand: Literal["put_back", "adopt"] = setting(
        "ALIAS_MOVED_BY_HAND",
        "put_back",
        "What happens to an alias that somebody moved in MLflow. The ledger tells of it either way. `adopt` "
        "keeps champion, challenger or anchor on a version that is whole; all else is put back.",
    )
    keep_versions_days: int = setting(
        "KEEP_RELEASES_DAYS",
        90,
        "Model versions that the ledger names in this time are kept, as are versions with an alias and those "
        "of experiments. maintain_tables deletes all others; 0 keeps all.",
        unit="days",
        ge=0,
    )

    @field_validator("mlflow_artifacts")
    @classmethod
    def _artifacts_have_one_place(cls, place: str, info: ValidationInfo) -> str:
        """Refuse a server's place without a server, and name a folder by its full path for all processes."""
        if not place or urlsplit(place).scheme:
            has_server = urlsplit(info.data["mlflow_uri"]).scheme.startswith(("http", "databricks"))
            if place.startswith("mlflow-artifacts:") and not has_server:
                raise ValueError("tasks reach the artifacts of a server by the server alone")
            return AT_SERVER if place.rstrip("/") == "mlflow-artifacts:" else place
        return str(Path(place).expanduser().absolute())


class LearningSettings(Section):
    """What a training reads, and what it learns."""

    window_hours: float = setting(
        "WINDOW_HOURS", 48.0, "Length of the window of an incremental training.", unit="hours", gt=0
    )
    replay_hours: float = setting(
        "REPLAY_HOURS",
        720.0,
        "A warm start also replays older sessions, so that the model does not forget. They come from this "
        "long before the window; 0 replays sessions of the window alone.",
        unit="hours",
        ge=0,
    )
    full_window_hours: float = setting(
        "FULL_WINDOW_HOURS", 720.0, "Length of the window of a full training.", unit="hours", gt=0
    )
    holdout_hours: float = setting(
        "HOLDOUT_HOURS",
        8.0,
        "Length of the hours after the window; they evaluate the candidate.",
        unit="hours",
        gt=0,
    )
    max_holdout_hours: float = setting(
        "MAX_HOLDOUT_HOURS",
        336.0,
        "In a shop with few sessions the hours that evaluate grow up to this length, until there are "
        "LASTAISLE_MIN_TARGETS targets. A value below LASTAISLE_HOLDOUT_HOURS keeps that length.",
        unit="hours",
        gt=0,
    )
    half_life_hours: float = setting(
        "HALF_LIFE_HOURS",
        24.0,
        "A session of this age weighs one half in an incremental training.",
        unit="hours",
        gt=0,
    )
    full_half_life_hours: float = setting(
        "FULL_HALF_LIFE_HOURS",
        168.0,
        "A session of this age weighs one half in a full training.",
        unit="hours",
        gt=0,
    )
    every: Literal["", "day", "hour"] = setting(
        "LEARN_EVERY",
        "",
        "What one incremental training covers. Hours may be ingested and days learned; an hour that is "
        "ingested again then makes its day be learned again.",
        shown_default="as LASTAISLE_PARTITION",
    )
    architecture: str = setting(
        "ARCHITECTURE",
        "attention",
        "Which model a full training learns, and the first training of all; lastaisle benchmark lists the "
        "names. An incremental training goes on with the architecture of the champion.",
    )
    hyperparameters: str = setting(
        "HYPERPARAMETERS",
        "",
        'The hyperparameters that differ from the defaults: {"layers": 2, "alpha": 0.5}.',
        expected='a JSON object such as {"layers": 2}',
    )
    unseen_items: int = setting(
        "UNSEEN_ITEMS",
        20_000,
        "hybrid knows items for sale that have no event yet by their category, brand and price. At most "
        "this many of them join its vocabulary, the newest first; 0 = none. Each item makes the model larger "
        "and slower.",
        unit="items",
        ge=0,
        le=1_000_000,
    )
    seed: int = setting("SEED", 7, "Seed of every random choice.", ge=0, le=2**32 - 1)

    @field_validator("hyperparameters")
    @classmethod
    def _hyperparameters_are_a_json_object(cls, hyperparameters: str) -> str:
        json_object(hyperparameters)
        return hyperparameters


class GateSettings(Section):
    """When the gate refuses a candidate."""

    min_targets: int = setting(
        "MIN_TARGETS",
        200,
        "The gate decides on at least this many next items of shoppers.",
        unit="targets",
        ge=1,
    )

    max_churn: float = setting(
        "MAX_CHURN",
        0.7,
        "The gate refuses a warm start whose lists of 20 items differ from the champion's lists in a greater "
        "share than this. Trainings from scratch are not judged by it: they are meant to change the lists.",
        unit="share",
        ge=0,
        le=1,
    )
    max_quarantined: float = setting(
        "MAX_QUARANTINED",
        0.2,
        "The gate refuses a candidate if a greater share than this lies in quarantine or in refused files, "
        "of the rows that arrived with the sessions that judge the candidate.",
        unit="share",
        ge=0,
        le=1,
    )
    approval: Literal["off", "risky", "always"] = setting(
        "APPROVAL",
        "off",
        "Which releases wait for people in Airflow: none, those with a risk, or all that the gate passes. "
        "Airflow reads a changed value after its restart.",
    )
    approval_hours: float = setting(
        "APPROVAL_HOURS",
        12.0,
        "A release that waits for people is rejected after this time.",
        unit="hours",
        gt=0,
        le=168,
    )
    risky_churn: float = setting(
        "RISKY_CHURN",
        0.5,
        "A release is risky if a greater share than this of the champion's lists of 20 items changes.",
        unit="share",
        ge=0,
        le=1,
    )
    rules: str = setting(
        "RELEASE_RULES",
        "",
        "A YAML file of release rules: the steps from the gate to the champion, and the guardrails. Without "
        "it, a candidate that passes the gate becomes champion at once.",
        shown_default="none",
    )


class ServingSettings(Section):
    """How services show the lists."""

    exclude_seen: bool = setting(
        "EXCLUDE_SEEN",
        False,
        "Whether lists leave out the session's own items. It is the default of the packed model's parameter "
        "exclude_seen, and decides which lists the gate judges: with true, lists without the session's items "
        "on targets that are new to their session.",
        shown_default="`false`",
        expected="true or false",
    )


class DriftSettings(Section):
    """How drift is noticed, and what it starts."""

    history_days: int = setting(
        "DRIFT_HISTORY_DAYS",
        56,
        "The limits of a day's drift are learned from at most this many days before that day.",
        unit="days",
        ge=1,
    )
    false_alarms: float = setting(
        "DRIFT_FALSE_ALARMS",
        0.001,
        "The chance that a day on which nothing changed raises any alarm of drift.",
        unit="probability",
        gt=0,
        lt=1,
    )
    cooldown_hours: float = setting(
        "DRIFT_COOLDOWN_HOURS",
        72.0,
        "Drift starts no full training for this long after it started one.",
        unit="hours",
        ge=0,
    )


class AbandonmentSettings(Section):
    """When a checkout is abandoned, and where that is announced."""

    after_minutes: float = setting(
        "ABANDONED_AFTER_MINUTES",
        30.0,
        "A checkout that was begun and brought no order for this long is abandoned. The newest event is the "
        "clock.",
        unit="minutes",
        gt=0,
        le=366 * 24 * 60,
    )
    control_topic: str = setting(
        "CONTROL_TOPIC",
        "",
        "Kafka topic for control messages, such as kafka://shop/lastaisle-control. Abandoned checkouts are "
        "announced there; without it they are announced nowhere.",
    )


class RefreshSettings(Section):
    """When abandoned checkouts refresh the champion."""

    min_sessions: int = setting(
        "REFRESH_MIN_SESSIONS",
        20,
        "The champion is refreshed when at least this many abandoned checkouts wait.",
        unit="sessions",
        ge=1,
    )
    cooldown_minutes: float = setting(
        "REFRESH_COOLDOWN_MINUTES",
        30.0,
        "The champion is not refreshed again before this time has passed since the last refresh.",
        unit="minutes",
        ge=0,
    )
    deadline_minutes: float = setting(
        "REFRESH_DEADLINE_MINUTES",
        10.0,
        "Airflow alerts if a refresh is not over this long after the first of its abandoned checkouts was "
        "noticed.",
        unit="minutes",
        gt=0,
    )


class ServiceSettings(Section):
    """Airflow and MLflow on one machine."""

    airflow_port: int = setting(
        "AIRFLOW_PORT", 8080, "Port on which Airflow listens on 127.0.0.1.", ge=1, le=65535
    )
    mlflow_port: int = setting(
        "MLFLOW_PORT", 5000, "Port on which MLflow listens on 127.0.0.1.", ge=1, le=65535
    )
    mlflow_ui: str = setting(
        "MLFLOW_UI",
        "",
        "Base address of MLflow's pages, for links.",
        shown_default="LASTAISLE_MLFLOW_URI if it names a server, else http://127.0.0.1:LASTAISLE_MLFLOW_PORT",
    )
