"""What a training will do, decided before it starts: a small JSON of references."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.lake.tables import EVENTS
from lastaisle.lake.workspace import open_tables
from lastaisle.sessions.windows import SESSION_REACH, Window

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings

Kind = Literal["incremental", "full", "refresh"]


class StalePlanError(LastaisleError):
    """An incremental training on data that the champion has learned from already."""

    exit_code = ExitCode.NOTHING_TO_TRAIN


@dataclass(frozen=True)
class Champion:
    """The version that serves now.

    Attributes:
        version: its number in the registry.
        run_id: the MLflow run that trained it.
        run_key: the training it came from.
        window_end: the moment up to which it has learned.
        architecture: which recommender it is.
        options: its hyperparameters.
    """

    version: str
    run_id: str
    run_key: str
    window_end: datetime
    architecture: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class TrainingPlan:
    """One training, named by its run_key: planned twice from the same data, it is the same training.

    Attributes:
        run_key: names the training; made of kind, window, options and the files of `events` in reach.
        kind: incremental (warm start from the champion, if there is one), full (from scratch) or refresh
            (a warm start for abandoned checkouts; see lastaisle.training.refresh).
        model_name: name of the registered model.
        architecture: which recommender learns; see models.recommender.MODEL_NAMES.
        window: the sessions that train.
        holdout_end: sessions from the window's end to here evaluate.
        lake_versions: table name to the version that is read.
        options: hyperparameters, as of models.options.TrainingOptions.
        warm_start_version: the champion's version, for a warm start; None = from scratch.
        bursts: of a refresh, the bursts of abandoned checkouts that it is for.
        replay_hours: how far before the window's start a warm start replays older sessions from.
    """

    run_key: str
    kind: Kind
    model_name: str
    architecture: str
    window: Window
    holdout_end: datetime
    lake_versions: Mapping[str, int]
    options: Mapping[str, Any]
    warm_start_version: str | None = None
    bursts: tuple[str, ...] = ()
    replay_hours: float = 0.0  # as plans have it that were written before there was such a reach

    def to_json(self) -> str:
        """Write as JSON, times in ISO 8601."""
        return json.dumps(dataclasses.asdict(self), default=datetime.isoformat, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> TrainingPlan:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        window = data["window"]
        data["window"] = Window(
            datetime.fromisoformat(window["start"]),
            datetime.fromisoformat(window["end"]),
            window["half_life_hours"],
        )
        data["holdout_end"] = datetime.fromisoformat(data["holdout_end"])
        data["bursts"] = tuple(data.get("bursts", ()))  # plans of old have none
        return cls(**data)


def plan_window(
    lake: Lake,
    settings: Settings,
    data_end: datetime,
    kind: str = "incremental",
    champion: Champion | None = None,
    *,
    architecture: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> TrainingPlan:
    """Plan a training on the events before `data_end`: the last hours evaluate, those before them train.

    Args:
        lake: where `events` is.
        settings: hours of window, holdout and half-life; the model's name; the seed.
        data_end: the moment after the last event to be used, with its time zone.
        kind: "incremental" or "full".
        champion: the version that serves now; None before the first promotion.
        architecture: which recommender learns; default the champion's in an incremental training, else that
            of the settings.
        options: hyperparameters that go before those of the settings and, in an incremental training, before
            the champion's shape. Another architecture or shape than the champion's learns from scratch.

    Raises:
        ModelError: an architecture that does not exist.
        OptionsError: a hyperparameter that does not exist, or cannot have its value.
        StalePlanError: the champion has learned up to this window's end already, by another training.
        NotEnoughDataError: the lake has no events.
    """
    if kind not in ("incremental", "full"):
        raise LastaisleError(f"kind should be 'incremental' or 'full', received {kind!r}")
    if data_end.tzinfo is None:
        raise LastaisleError(f"data_end should carry its time zone, received {data_end.isoformat()}")
    data_end = data_end.astimezone(UTC)
    end = data_end - timedelta(hours=settings.learning.holdout_hours)
    hours, half_life, replay_hours = _lengths(settings, kind)
    window = Window(end - timedelta(hours=hours), end, half_life)
    learned = champion if kind == "incremental" else None
    architecture, chosen, warm = choose_learner(architecture, options or {}, settings, learned)
    parts = [
        settings.registry.model_name,
        architecture,
        repr(window),
        data_end.isoformat(),
        json.dumps(chosen),
    ]
    parts += [f"replay {replay_hours:g}"] if replay_hours else []
    run_key = _run_key(kind, data_end, [*parts, *_contents(lake, window, data_end)])
    if learned and learned.window_end >= end and learned.run_key != run_key:
        raise StalePlanError(
            f"the window of {run_key} ends at {end.isoformat()}, but champion version {learned.version} has "
            f"learned up to {learned.window_end.isoformat()} (by {learned.run_key}): to learn again from "
            "corrected data, run a full training"
        )
    return TrainingPlan(
        run_key=run_key,
        kind=cast(Kind, kind),
        model_name=settings.registry.model_name,
        architecture=architecture,
        window=window,
        holdout_end=data_end,
        lake_versions=lake.versions([EVENTS]),
        options=chosen,
        warm_start_version=learned.version if learned and warm else None,
        replay_hours=replay_hours,
    )


def _lengths(settings: Settings, kind: str) -> tuple[float, float, float]:
    """Return the hours of the window, of its half-life, and of what is replayed from before it."""
    if kind == "incremental":
        return (
            settings.learning.window_hours,
            settings.learning.half_life_hours,
            settings.learning.replay_hours,
        )
    return settings.learning.full_window_hours, settings.learning.full_half_life_hours, 0.0


def choose_learner(
    asked: str | None, given: Mapping[str, Any], settings: Settings, champion: Champion | None
) -> tuple[str, dict[str, Any], bool]:
    """Decide on the architecture, its hyperparameters, and whether it can go on from this champion."""
    from models.options import SHAPE, TrainingOptions
    from models.recommender import checked_name

    architecture = checked_name(
        asked or (champion.architecture if champion else settings.learning.architecture)
    )
    shape: dict[str, Any] = {}
    if champion and champion.architecture == architecture:
        shape = {name: champion.options[name] for name in SHAPE}
    chosen = TrainingOptions.from_dict({**settings.training_options(), **shape, **given}).to_dict()
    return architecture, chosen, bool(shape) and all(chosen[name] == shape[name] for name in SHAPE)


def _contents(lake: Lake, window: Window, data_end: datetime) -> list[str]:
    """Count the rows in reach, batch by batch: what comes late or is erased makes another training.

    Compaction, which writes the same rows into other files, does not; nor does what comes to the older hours
    that a warm start replays a few sessions of.
    """
    events = lake.require(EVENTS)
    counts = (
        "SELECT event_date, batch_id, count(*) FROM events "
        "WHERE event_date BETWEEN $first_day AND $last_day AND occurred_at < $data_end "
        "GROUP BY ALL ORDER BY ALL"
    )
    reach: dict[str, Any] = {"first_day": (window.start - SESSION_REACH).date(), "last_day": data_end.date()}
    reach["data_end"] = data_end
    with open_tables(events=events) as connection:
        return [f"{day} {batch} {rows}" for day, batch, rows in connection.execute(counts, reach).fetchall()]


def _run_key(kind: str, data_end: datetime, parts: list[str]) -> str:
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"{kind}-{data_end:%Y%m%dT%H%M}-{digest[:12]}"
