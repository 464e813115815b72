"""Plan a training on a window of events before it starts, so that a second call plans the same training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.lake.tables import CONSENTS, EVENTS, ITEMS
from lastaisle.lake.workspace import open_tables
from lastaisle.privacy.consents import NO_TABLE, refused
from lastaisle.registry.plan import Champion, TrainingPlan
from lastaisle.sessions.windows import SESSION_REACH, Window
from lastaisle.training.catalogue import listed_rows
from lastaisle.training.holdout import holdout_start
from lastaisle.training.kinds import WINDOW_KINDS
from lastaisle.training.kinds.kind import WindowKind
from lastaisle.training.private import require_possible
from lastaisle.training.spending import require_planned
from models.by_name import READS_ITEMS, check_members, checked_name
from models.options import SHAPE, TrainingOptions

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.settings import Settings


class StalePlanError(LastaisleError):
    """An incremental training on data that the champion has learned from already."""

    exit_code = ExitCode.NOTHING_TO_TRAIN


def plan_window(
    lake: Lake,
    settings: Settings,
    data_end: datetime,
    kind: str = "incremental",
    champion: Champion | None = None,
    *,
    architecture: str | None = None,
    options: Mapping[str, Any] | None = None,
    repeats: TrainingPlan | None = None,
) -> TrainingPlan:
    """Plan a training on the events before `data_end`: the last hours evaluate, the hours before them train.

    Args:
        lake: where `events` is.
        settings: hours of window, holdout and half-life; the model's name; the seed.
        data_end: the moment after the last event to be used, with its time zone.
        kind: one of WINDOW_KINDS.
        champion: the version that serves now; None before the first promotion.
        architecture: which recommender learns; default the champion's in an incremental training, else that
            of the settings.
        options: hyperparameters that override those of the settings and, in an incremental training, the
            champion's shape. An architecture or shape that differs from the champion's learns from scratch.
        repeats: the training that is repeated on corrected events; `champion` is then the version that this
            training started from.

    Raises:
        ModelError: an architecture that does not exist.
        OptionsError: a hyperparameter that does not exist, or cannot have its value.
        StalePlanError: the champion has learned up to this window's end already, by another training.
        BudgetSpentError: the privacy budget of the shoppers has no room for the training.
        CannotBePrivateError: a training with epsilon that would not be private.
        NotEnoughDataError: the lake has no events.
    """
    if kind not in WINDOW_KINDS:
        raise UnknownKindError(f"kind should be {' or '.join(map(repr, WINDOW_KINDS))}, received {kind!r}")
    data_end = _in_utc(data_end)
    training = WINDOW_KINDS[kind]
    lengths = training.lengths(settings)
    base = champion if training.starts_warm else None
    architecture = training.architecture(architecture, settings)
    architecture, chosen, fits = choose_learner(architecture, options or {}, settings, base)
    end = repeats.window.end.astimezone(UTC) if repeats else holdout_start(lake, settings, data_end)
    window = Window(end - timedelta(hours=lengths.window_hours), end, lengths.half_life_hours)
    model_name = settings.registry.model_name
    what = [model_name, architecture, repr(window), data_end.isoformat(), json.dumps(chosen)]
    what += [f"replay {lengths.replay_hours:g}"] if lengths.replay_hours else []
    extra = training.extra(settings, chosen)
    what += [json.dumps(extra, sort_keys=True)] if extra else []
    versions = lake.versions(_tables_read(training, architecture, chosen))
    if rows := listed_rows(lake, versions.get(ITEMS), data_end):
        what += [*rows, f"unseen items {settings.learning.unseen_items}"]
    start = _start_of(base, window, repeats) if base and (fits or base.window_end >= window.end) else _Start()
    run_key = _run_key(kind, data_end, [*what, *_row_counts(lake, window, data_end, versions)], start.run_id)
    _refuse_stale(run_key, window, base)
    plan = TrainingPlan(
        run_key=run_key,
        kind=training.name,
        model_name=model_name,
        architecture=architecture,
        window=window,
        holdout_end=data_end,
        lake_versions=versions,
        options=chosen,
        warm_start_version=start.version,
        replay_hours=lengths.replay_hours,
        warm_start_run_id=start.run_id,
        half_learned_until=base.half_learned_until if base and start.version else None,
        unseen_items=settings.learning.unseen_items,
        federation=extra,
    )
    require_possible(plan, base)
    require_planned(plan, lake, settings.privacy)
    return plan


def _tables_read(training: WindowKind, architecture: str, options: Mapping[str, Any]) -> list[str]:
    return [EVENTS, ITEMS] if training.reads_catalogue else tables_read_by(architecture, options)


def tables_read_by(architecture: str, options: Mapping[str, Any]) -> list[str]:
    """Return the tables whose versions a training of this architecture names in its plan.

    A private training of any architecture reads the catalogue; see lastaisle.training.catalogue.
    """
    reads_items = architecture in READS_ITEMS or options["epsilon"] is not None
    return [EVENTS, CONSENTS, ITEMS] if reads_items else [EVENTS, CONSENTS]


def _in_utc(data_end: datetime) -> datetime:
    if data_end.tzinfo is None:
        raise LastaisleError(f"data_end should carry its time zone, received {data_end.isoformat()}")
    return data_end.astimezone(UTC)


class UnknownKindError(LastaisleError):
    """A kind of training that does not exist."""

    exit_code = ExitCode.WRONG_REQUEST


@dataclass(frozen=True)
class _Start:
    """The version that a training starts from, and its run; both None = from scratch.

    The plans of 0.1 name no run.
    """

    version: str | None = None
    run_id: str | None = None


def _start_of(base: Champion, window: Window, repeats: TrainingPlan | None) -> _Start:
    """Return the start of a training that goes on from the champion, or that is the champion's own."""
    if base.window_end >= window.end:  # the champion's own training, from its own start, or none
        return _Start(base.warm_start_version, base.warm_start_run_id)
    return _Start(base.version, repeats.warm_start_run_id if repeats else base.run_id)


def _refuse_stale(run_key: str, window: Window, base: Champion | None) -> None:
    """Refuse a training whose window the champion has learned already, by another training."""
    if base and base.window_end >= window.end and base.run_key != run_key:
        raise StalePlanError(
            f"the window of {run_key} ends at {window.end.isoformat()}, but champion version "
            f"{base.version} has learned up to {base.window_end.isoformat()} (by {base.run_key}): "
            "to learn again from corrected data, run a full training"
        )


def choose_learner(
    asked: str | None, given: Mapping[str, Any], settings: Settings, champion: Champion | None
) -> tuple[str, dict[str, Any], bool]:
    """Choose the architecture and its hyperparameters.

    Args:
        asked: the architecture that was asked for; None = the champion's, else that of the settings.
        given: hyperparameters that were asked for.
        settings: the hyperparameters of the installation.
        champion: the version to start from; None = from scratch.

    Returns:
        The architecture; all hyperparameters; and whether a warm start from the champion is possible, since
        both have the same architecture and shape.
    """
    architecture = checked_name(
        asked or (champion.architecture if champion else settings.learning.architecture)
    )
    shape: dict[str, Any] = {}
    if champion and champion.architecture == architecture:
        shape = {name: champion.options[name] for name in SHAPE}
    options = TrainingOptions.from_dict({**settings.training_options(), **shape, **given})
    check_members(architecture, options)
    chosen = options.to_dict()
    return architecture, chosen, bool(shape) and all(chosen[name] == shape[name] for name in SHAPE)


# The shoppers and the visits that the training leaves out for a decision of the table `consents`.
_REFUSING = """
WITH read AS (
    SELECT DISTINCT user_id, session_id FROM events
    WHERE event_date BETWEEN $first_day AND $last_day AND occurred_at < $data_end
)
SELECT user_id AS shopper FROM read SEMI JOIN withdrawn USING (user_id)
UNION
SELECT session_id FROM read SEMI JOIN withdrawn USING (session_id)
ORDER BY shopper
"""


def _row_counts(lake: Lake, window: Window, data_end: datetime, versions: Mapping[str, int]) -> list[str]:
    """Count the rows that the training can read, by batch: a late or an erased row makes another training.

    A withdrawn consent does so too, if the shopper has rows among them. Compaction writes the same rows into
    other files and changes no count. Rows of the older hours, of which a warm start replays a few sessions,
    are not counted.
    """
    events = lake.require(EVENTS)
    counts = (
        "SELECT event_date, batch_id, count(*) FROM events "
        "WHERE event_date BETWEEN $first_day AND $last_day AND occurred_at < $data_end "
        "GROUP BY ALL ORDER BY ALL"
    )
    reach: dict[str, Any] = {"first_day": (window.start - SESSION_REACH).date(), "last_day": data_end.date()}
    reach["data_end"] = data_end
    withdrawn = refused(lake, "personalization", version=versions.get(CONSENTS, NO_TABLE))
    with open_tables(events=events, withdrawn=withdrawn) as connection:
        found = [f"{day} {batch} {rows}" for day, batch, rows in connection.execute(counts, reach).fetchall()]
        refusing = connection.execute(_REFUSING, reach).fetchall() if withdrawn.num_rows else []
    return [*found, *(f"withdrawn {shopper}" for (shopper,) in refusing)]


def _run_key(kind: str, data_end: datetime, parts: list[str], start_run_id: str | None) -> str:
    """Name a training. A start from another version is another training, also on the same rows."""
    start = [] if start_run_id is None else [f"start {start_run_id}"]
    digest = hashlib.sha256("\n".join([*start, *parts]).encode()).hexdigest()
    return f"{kind}-{data_end:%Y%m%dT%H%M}-{digest[:12]}"
