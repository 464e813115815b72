"""Two versions side by side: what they show in the same real sessions. It names no shopper and no session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from lastaisle.dashboard.figures.reports import reading_mlflow
from lastaisle.errors import NotEnoughDataError, RegistryError
from lastaisle.lake.tables import RELEASES
from lastaisle.registry.ledger import Ledger

if TYPE_CHECKING:
    from lastaisle.dashboard.source import Source
    from models.data.sequences import Examples
    from models.evaluation.ranking import Ranking
    from models.serving.served import ServedModel

LENGTH: Final = 20
SESSIONS: Final = 300
"""The newest so many sessions are asked."""
SHOWN: Final = 5
SHOWN_ITEMS: Final = 10
_KINDS: Final = ("recall", "precision", "ndcg", "mrr", "hit_rate", "coverage")
_HOURS: Final = (6, 48, 336)  # how far back sessions are looked for, until there are enough


@dataclass(frozen=True)
class ShownSession:
    """What two versions show in one session.

    Attributes:
        items: the items of the session so far, the oldest first, by their titles.
        target: the item that came next.
        one: the list of the first version: title, and whether the other list has the item, too.
        other: the list of the second version.
        changed: the share of the lists of 20 that differs.
    """

    items: Sequence[str]
    target: str
    one: Sequence[tuple[str, bool]]
    other: Sequence[tuple[str, bool]]
    changed: float


@dataclass(frozen=True)
class Lists:
    """What two versions show in the same sessions.

    Attributes:
        sessions: how many sessions were asked.
        until: the newest of them ended before this moment.
        churn: the mean share of the lists of 20 that differs.
        hits: for each of both versions the share of sessions whose next item is among its 20.
        shown: some of the sessions.
    """

    sessions: int
    until: datetime
    churn: float
    hits: tuple[float, float]
    shown: Sequence[ShownSession]


def compare_lists(source: Source, one: str, other: str) -> Lists:
    """Return what two versions show in the newest sessions; the models are asked once for all visitors.

    Raises:
        RegistryError: a version does not open.
        NotEnoughDataError: the lake has no sessions of two items or more.
    """
    return source.once(("lists", one, other), [RELEASES], lambda: _compare(source, one, other))


def _compare(source: Source, one: str, other: str) -> Lists:
    # These load MLflow and LiteRT, so only this part of the dashboard does.
    from lastaisle.catalogue.history import read_titles
    from lastaisle.evaluation.churn import churn_of

    examples, until = _newest_sessions(source)
    models = [_open(source, version) for version in (one, other)]
    rankings = [_ask(source, model, examples) for model in models]
    first, second = rankings
    changed = churn_of((first, models[0].vocabulary), (second, models[1].vocabulary))
    chosen = range(min(SHOWN, len(examples)))
    lists = [
        [_ids(model, ranking, row)[:SHOWN_ITEMS] for row in chosen]
        for model, ranking in zip(models, rankings, strict=True)
    ]
    sessions = [_session(examples, row) for row in chosen]
    wanted = {item for own in lists for items in own for item in items}
    wanted |= {item for items, target in sessions for item in (*items, target)}
    titles = read_titles(source.lake, wanted)
    shown = []
    for row, (items, target) in zip(chosen, sessions, strict=True):
        full = [set(_ids(model, ranking, row)) for model, ranking in zip(models, rankings, strict=True)]
        shown.append(
            ShownSession(
                items=[titles.get(item, item) for item in items],
                target=titles.get(target, target),
                one=[(titles.get(item, item), item in full[1]) for item in lists[0][row]],
                other=[(titles.get(item, item), item in full[0]) for item in lists[1][row]],
                changed=float(changed[row]),
            )
        )
    hits = tuple(float((ranking.ranks > 0).mean()) for ranking in rankings)
    return Lists(len(examples), until, float(changed.mean()), (hits[0], hits[1]), shown)


def _newest_sessions(source: Source) -> tuple[Examples, datetime]:
    """Return the last item of each of the newest sessions as a target, and the moment after the last.

    Only sessions of shoppers who agreed to personalization are read.
    """
    import numpy as np

    from lastaisle.sessions.windows import newest_data_end, sessions_between
    from models.data.sequences import next_item_examples

    end = newest_data_end(source.lake)
    for hours in _HOURS:
        log = sessions_between(source.lake, end - timedelta(hours=hours), end)
        log = log.select(log.lengths >= 2)
        if len(log) >= SESSIONS:
            break
    if not len(log):
        raise NotEnoughDataError(
            f"the lake {source.lake.url} has no sessions of two items or more in its last {_HOURS[-1]} "
            "hours: ingest newer logs"
        )
    log = log.select(np.arange(len(log))[::-1][:SESSIONS])
    examples = next_item_examples(log)
    return examples.select(examples.position == log.lengths[examples.session] - 1), end


def _open(source: Source, version: str) -> ServedModel:
    from models.stored import ModelError

    digest = Ledger(source.lake, source.settings.registry.model_name).digest_of(version)
    with reading_mlflow(source):
        try:
            return source.registry.load_version(version, digest)
        except ModelError as error:
            raise RegistryError(f"version {version} cannot be asked: {error}") from error


def _ask(source: Source, model: ServedModel, examples: Examples) -> Ranking:
    from models.evaluation.objectives import NEW_ITEM
    from models.stored import ModelError

    try:
        return model.rank(examples, LENGTH, exclude_seen=source.registry.served == NEW_ITEM)
    except ModelError as error:
        raise RegistryError(str(error)) from error


def _ids(model: ServedModel, ranking: Ranking, row: int) -> list[str]:
    shown = ranking.top[row]
    return [str(item) for item in model.vocabulary.decode(shown[shown > 0])]


def _session(examples: Examples, row: int) -> tuple[list[str], str]:
    """Return the newest items of a session, and its target."""
    log = examples.log
    start = int(log.offsets[examples.session[row]])
    end = start + int(examples.position[row])
    ids = [str(item) for item in log.catalogue[log.items[start : end + 1]]]
    return ids[:-1][-SHOWN_ITEMS:], ids[-1]


def metric_order(names: Iterable[str]) -> list[str]:
    """Return the names of metrics by their kind, the most important first, and the longest lists first."""

    def order(name: str) -> tuple[int, str, int]:
        kind, _, length = name.partition("@")
        place = _KINDS.index(kind) if kind in _KINDS else len(_KINDS)
        return place, kind, -int(length) if length.isdigit() else 0

    return sorted(names, key=order)
