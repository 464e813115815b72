"""The settings, read from the environment in this one place."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lastaisle.errors import LastaisleError


class SettingsError(LastaisleError):
    """An environment variable whose value cannot be used."""

    exit_code = 2


@dataclass(frozen=True)
class Settings:
    """Everything that differs from one installation to the next.

    Each field is read from the environment variable LASTAISLE_<FIELD IN UPPER CASE>.

    Attributes:
        home: folder for what is not told otherwise: the default lake, the default MLflow store, the key file.
        lake: folder or URL (s3://, gs://) of the Delta tables; default <home>/lake.
        lake_options: what delta-rs needs to reach a lake in an object store, as a JSON object; where it is
            empty, the environment variables that delta-rs knows say it.
        mlflow_uri: MLflow tracking and registry URI; default a SQLite file <home>/mlflow/mlflow.db.
        mlflow_artifacts: where a new MLflow experiment keeps its artifacts; default <home>/mlflow/artifacts.
        key_file: pseudonym keys (never inside the lake); default <home>/keys/pseudonym.json.
        source: the logs of one partition, a path or URL; "{day}" becomes 2014-04-01, "{hour}" 2014-04-01T05,
            and "{day_ms}" the day's beginning in milliseconds since 1970, as Segment names its folders.
        source_format: which adapter reads the logs.
        model_name: name of the registered model.
        experiment: name of the MLflow experiment.
        window_hours: length of the sliding window of an incremental run.
        replay_hours: how far before that window a warm start draws the older sessions from that it replays
            against forgetting; 0 draws them from the window alone.
        full_window_hours: length of the window of a full run.
        holdout_hours: the hours after the window, which evaluate the candidate.
        half_life_hours: age at which a session of an incremental window weighs one half.
        full_half_life_hours: the same for a full run.
        architecture: which model a full training learns, and the first one; see
            models.recommender.MODEL_NAMES. An incremental training goes on with the champion's.
        hyperparameters: those that differ from the defaults, as a JSON object: {"layers": 2, "alpha": 0.5}.
        seed: seed of every random choice.
        partition: what one run of ingestion covers, "day" or "hour".
        learn_every: what one incremental training covers, "day" or "hour"; default as `partition`. Hours may
            be ingested and days learned; an hour ingested again then learns its day again.
        settle_seconds: a file changed less than this ago may still be growing, so it is the next run's.
        lookback_hours: how far back a run looks for files that were uploaded late, into the places of earlier
            hours or days; 0 looks only at its own. A backfill never looks back.
        drain_cron: when a run of ingestion starts where the source is Kafka; what it leaves, a next one takes
            up at once.
        run_rows: the most messages that one run takes from Kafka.
        batch_rows: the most rows of a batch: more need more memory, fewer make more and smaller files.
        gx_sample_rows: how many rows of each batch Great Expectations judges beside the compiled rules, which
            judge all of them; 0 leaves it out, which spares each task some seconds.
        shards: how many tasks share the way to `events`, each with the users of one remainder of a hash.
        lateness_minutes: how long after the newest event of a source an older one may come without being
            late; an hour or a day of a Kafka source is complete when this has passed.
        keep_raw_days: days after ingestion until rows of raw_events and quarantine are deleted; 0 keeps all.
        keep_versions_days: days for which the versions of a table that a training read stay readable.
        drift_history_days: how many days before a day the limits of its drift are learned from, at most.
        drift_false_alarms: the chance that a day on which nothing changed raises any alarm of drift.
        drift_cooldown_hours: drift starts no full training so soon after it has started one.
        max_churn: the gate refuses a warm start whose lists of 20 differ from the champion's in a greater
            share than this; trainings from scratch, which are asked for so that lists change, are not judged.
        max_quarantined: the gate refuses a candidate if a greater share than this lies in quarantine of the
            rows that the sessions came with which judge it.
        abandoned_after_minutes: a checkout that was begun and brought no order for so long is abandoned, by
            the time of the newest event.
        control_topic: Kafka topic for control messages, as kafka://shop/lastaisle-control, which are told of
            abandoned checkouts; without it nobody is told.
        refresh_min_sessions: so many abandoned checkouts have to wait before the champion is refreshed.
        refresh_cooldown_minutes: the champion is refreshed no sooner after the last refresh.
        refresh_deadline_minutes: Airflow alerts if a refresh is not over so long after the first of its
            abandoned checkouts was noticed.
        airflow_port: where Airflow listens on 127.0.0.1.
        mlflow_port: where MLflow listens on 127.0.0.1.
        mlflow_ui: base address of MLflow's pages, for links; default http://127.0.0.1:<mlflow_port>.
        segment_write_keys: who may send events to the collector: write keys, separated by commas.
        segment_secret: the shared secret with which Segment signs what it sends to the collector's webhook.
    """

    home: Path = field(default_factory=lambda: Path.home() / ".lastaisle")
    lake: str = ""
    lake_options: str = field(default="", repr=False)
    mlflow_uri: str = ""
    mlflow_artifacts: str = ""
    key_file: str = ""
    source: str = ""
    source_format: str = "canonical"
    model_name: str = "checkout-recommender"
    experiment: str = "lastaisle"
    window_hours: float = 48.0
    replay_hours: float = 720.0
    full_window_hours: float = 720.0
    holdout_hours: float = 8.0
    half_life_hours: float = 24.0
    full_half_life_hours: float = 168.0
    architecture: str = "attention"
    hyperparameters: str = ""
    seed: int = 7
    partition: str = "day"
    learn_every: str = ""
    settle_seconds: float = 10.0
    lookback_hours: float = 0.0
    drain_cron: str = "*/5 * * * *"
    run_rows: int = 5_000_000
    batch_rows: int = 2_000_000
    gx_sample_rows: int = 1000
    shards: int = 1
    lateness_minutes: float = 60.0
    keep_raw_days: int = 400
    keep_versions_days: int = 30
    drift_history_days: int = 56
    drift_false_alarms: float = 0.001
    drift_cooldown_hours: float = 72.0
    max_churn: float = 0.7
    max_quarantined: float = 0.2
    abandoned_after_minutes: float = 30.0
    control_topic: str = ""
    refresh_min_sessions: int = 20
    refresh_cooldown_minutes: float = 30.0
    refresh_deadline_minutes: float = 10.0
    airflow_port: int = 8080
    mlflow_port: int = 5000
    mlflow_ui: str = ""
    segment_write_keys: str = field(default="", repr=False)
    segment_secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        home = Path(self.home).expanduser().resolve()
        derived = {
            "home": home,
            "lake": self.lake or str(home / "lake"),
            "mlflow_uri": self.mlflow_uri or f"sqlite:///{home / 'mlflow' / 'mlflow.db'}",
            "mlflow_artifacts": self.mlflow_artifacts or str(home / "mlflow" / "artifacts"),
            "key_file": self.key_file or str(home / "keys" / "pseudonym.json"),
            "source": self.source or str(home / "landing" / "{day}"),
            "mlflow_ui": (self.mlflow_ui or f"http://127.0.0.1:{self.mlflow_port}").rstrip("/"),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def source_at(self, moment: datetime) -> str:
        """Return where the logs of an aware moment lie: `source` with its placeholders filled in."""
        moment = moment.astimezone(UTC)
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        filled = {
            "{day}": f"{day:%Y-%m-%d}",
            "{hour}": f"{moment:%Y-%m-%dT%H}",
            "{day_ms}": str(int(day.timestamp()) * 1000),
        }
        source = self.source
        for placeholder, text in filled.items():
            source = source.replace(placeholder, text)
        return source

    def training_options(self) -> dict[str, Any]:
        """Return the hyperparameters that differ from the defaults of models.options.TrainingOptions.

        Raises:
            SettingsError: hyperparameters that are no JSON object.
        """
        try:
            given = json.loads(self.hyperparameters or "{}")
        except json.JSONDecodeError:
            given = None
        if not isinstance(given, dict):
            raise SettingsError(
                'LASTAISLE_HYPERPARAMETERS should be a JSON object such as {"layers": 2}, received '
                f"{self.hyperparameters!r}"
            )
        return {"seed": self.seed, **given}

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from the environment.

        Raises:
            SettingsError: a number that is none, naming the variable and the value received.
        """
        environ = os.environ if environ is None else environ
        given: dict[str, Any] = {}
        for option in fields(cls):
            variable = f"LASTAISLE_{option.name.upper()}"
            text = environ.get(variable, "").strip()
            if not text:
                continue
            convert = {"float": float, "int": int, "Path": Path}.get(str(option.type), str)
            try:
                given[option.name] = convert(text)
            except ValueError as error:
                raise SettingsError(f"{variable} should be a {option.type}, received {text!r}") from error
        return cls(**given)
