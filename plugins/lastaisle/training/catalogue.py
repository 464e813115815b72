"""The catalogue as a training reads it: what was for sale at the end of the hours that judge.

At that moment the version begins to serve. Models of READS_ITEMS read what the catalogue says of the items.
A private training reads only the ids: they are public, so it spends nothing to learn which items exist.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.features import context_features
from lastaisle.catalogue.history import read_catalogue
from lastaisle.lake.errors import clear_errors
from lastaisle.lake.tables import ITEMS
from lastaisle.lake.workspace import open_tables
from lastaisle.sessions.session_log import values_of
from models.data.items import ItemTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lastaisle.lake.lake import Lake
    from lastaisle.registry.plan import TrainingPlan
    from models.data.sequences import SessionLog
    from models.recommender import Recommender

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CatalogueRead:
    """What a training reads of the catalogue.

    Attributes:
        items: the items; None = the lake had no catalogue at that moment, or the model does not read it.
        left_out: the number of items for sale without an event that stay out of the vocabulary: they have no
            feature, or are too many. 0 of a private training, whose vocabulary is the whole catalogue.
    """

    items: ItemTable | None = None
    left_out: int = 0


def read_items(plan: TrainingPlan, lake: Lake, log: SessionLog, recommender: Recommender) -> CatalogueRead:
    """Read what was for sale at the end of the hours that judge.

    Items for sale without an event that have a feature join the vocabulary, the newest first, up to
    `plan.unseen_items`. The vocabulary of a private training is the whole catalogue, also what is sold out.

    Args:
        plan: the training; its lake_versions name the version of the catalogue.
        lake: where `items` is.
        log: the sessions that the training learns.
        recommender: the model that learns; in a warm start, the version from which it starts.
    """
    version = plan.lake_versions.get(ITEMS)
    listed = None if version is None else read_catalogue(lake, plan.holdout_end, version=version)
    if listed is None or not listed.num_rows:
        return CatalogueRead()
    ids = values_of(listed["item_id"])
    if plan.is_private:
        return _public(plan, ids, log)
    columns = {feature.name: feature.column for feature in context_features("item")}
    features = {
        name: values_of(listed[column]) for name, column in columns.items() if column in listed.column_names
    }
    vocabulary = recommender.vocabulary
    seen = {*log.ids(), *vocabulary.ids[vocabulary.counts > 0.0]}
    unseen = np.asarray(pc.fill_null(listed["available"], True).to_numpy(), bool)
    unseen &= np.array([item not in seen for item in ids], bool)
    joins = unseen & _described(features, len(ids))
    _report(plan, ids[unseen & ~joins], f"no {', '.join(features)} and no event, and stay out")
    described = np.flatnonzero(joins)
    if (surplus := len(described) - plan.unseen_items) > 0:
        oldest = described[_order_of_listing(lake, version, plan.holdout_end, ids[described])[:surplus]]
        joins[oldest] = False
        limit = f"LASTAISLE_UNSEEN_ITEMS allows the newest {plan.unseen_items:,}"
        _report(plan, ids[oldest], f"no event and stay out: {limit}")
    return CatalogueRead(ItemTable(ids, features, joins), int(unseen.sum() - joins.sum()))


def _public(plan: TrainingPlan, ids: NDArray[np.object_], log: SessionLog) -> CatalogueRead:
    """Return the ids alone. The log line names no item: one that is not listed may tell of one shopper."""
    listed = set(ids)
    if unlisted := sum(item not in listed for item in log.ids()):
        logger.warning(
            "%s: items of the sessions that the catalogue does not list (%d) stay out of the private model",
            *(plan.run_key, unlisted),
        )
    return CatalogueRead(ItemTable(ids, {}, np.ones(len(ids), bool)))


def _described(features: Mapping[str, NDArray[Any]], n: int) -> NDArray[np.bool_]:
    """Tell which of n items have a feature."""
    described = np.zeros(n, bool)
    for column in features.values():
        is_text = column.dtype == object
        described |= np.array([bool(value) for value in column], bool) if is_text else np.isfinite(column)
    return described


def _report(plan: TrainingPlan, items: NDArray[np.object_], what: str) -> None:
    """Say in the log which items for sale stay out of the vocabulary, and why."""
    if len(items):
        named = ", ".join(items[:3]) + (" and others" if len(items) > 3 else "")
        logger.warning("%s: items of the catalogue (%d: %s) have %s", plan.run_key, len(items), named, what)


def listed_rows(lake: Lake, version: int | None, at: datetime) -> list[str]:
    """Count the rows of the catalogue that are valid at a moment, by batch; empty without a catalogue.

    Other rows make another training. Compaction writes the same rows into other files and changes no count.
    """
    query = "SELECT batch_id, count(*) FROM items WHERE valid_from <= $at GROUP BY ALL ORDER BY ALL"
    dataset = None if version is None else lake.dataset(ITEMS, version)
    if dataset is None:
        return []
    with clear_errors(f"read table {ITEMS}", lake.url), open_tables(items=dataset) as connection:
        return [f"{ITEMS} {batch} {rows}" for batch, rows in connection.execute(query, {"at": at}).fetchall()]


def _order_of_listing(
    lake: Lake, version: int | None, at: datetime, ids: NDArray[np.object_]
) -> NDArray[np.int64]:
    """Return the places in `ids`, in the order in which the catalogue first listed the items."""
    wanted = pa.table({"item_id": pa.array(ids, pa.string()), "place": np.arange(len(ids))})
    query = """SELECT any_value(place) FROM items JOIN wanted USING (item_id) WHERE valid_from <= $at
        GROUP BY item_id ORDER BY min(valid_from), item_id DESC"""
    tables = {"items": lake.require(ITEMS, version), "wanted": wanted}
    with clear_errors(f"read table {ITEMS}", lake.url), open_tables(**tables) as connection:
        return np.array([place for (place,) in connection.execute(query, {"at": at}).fetchall()], np.int64)
