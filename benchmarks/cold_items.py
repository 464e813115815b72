"""Can a model recommend new items before their first click? On a simulated shop with new items every day.

    python benchmarks/cold_items.py [--seeds 9 10 11 12 13]

The script trains on a week of logs and predicts the views of the day after it. Items that were launched on
that day have no event in the training. The catalogue lists all items for sale on that day, also those that no
one ever views.

- "catalogue": `hybrid` with the catalogue.
- "logs": `hybrid` without the catalogue. It knows category, brand and price of the items in the logs alone.
- "warm, catalogue" and "warm, logs": the same by a warm start. They are trained from scratch on six days,
  with the catalogue of that time. The warm start learns the seventh day and a replay of older sessions.
- "category": the most viewed items of the last item's category. An item without an event counts as many views
  as the items of its category have on the mean.
- "attention": knows no new item.

Takes about a minute a seed on two cores. Prints a table of medians, and last a JSON line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from lastaisle.simulate import ShopOptions, simulate
from lastaisle.simulate.breaks import apply_events
from lastaisle.simulate.catalogue import open_catalogue
from lastaisle.simulate.lines import item_name
from lastaisle.simulate.options import Day
from lastaisle.simulate.shoppers import first_shoppers
from lastaisle.training.warm_start import newest_with_replay
from models.by_name import create
from models.data.items import ItemTable
from models.data.sequences import Examples, SessionLog, next_item_examples
from models.evaluation.ranking import rank_targets
from models.options import TrainingOptions
from simulator_realism import LONGEST, read_event

SHOP = ShopOptions(
    days=8, sessions_per_day=2500, items=2000, new_items_per_day=60, broken=0.0, duplicates=0.0
)
OPTIONS = TrainingOptions(embedding_size=64)
FEW, K = 5, 20


def views(lines: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the views of each session in the order of their times, without crawlers."""
    sessions: dict[str, list[dict[str, Any]]] = {}
    for event in map(read_event, lines):
        if event and event["event_type"] == "item_viewed" and "session_id" in event:
            sessions.setdefault(event["session_id"], []).append(event)
    for events in sessions.values():
        events.sort(key=lambda event: event["occurred_at"])
    return {name: events for name, events in sessions.items() if 2 <= len(events) <= LONGEST}


def log_of(sessions: Sequence[list[dict[str, Any]]]) -> SessionLog:
    """Return a log with the columns of sessions in the lake."""
    firsts = [events[0] for events in sessions]
    flat = [event for events in sessions for event in events]
    log = SessionLog.from_lists([[event["item_id"] for event in events] for events in sessions])
    described = {event["item_id"]: event for event in flat}
    names = ("user_id", "device_type", "country", "region")
    context = {name: _column(firsts, name) for name in names}
    started = np.array([datetime.fromisoformat(event["occurred_at"]).timestamp() for event in firsts])
    return replace(
        log,
        context={**context, "user": context.pop("user_id"), "started_at": started},
        event_context={
            "event_type": _column(flat, "event_type"),
            "dwell_ms": _column(flat, "dwell_ms").astype(float),
            "price": _column(flat, "price").astype(float),
        },
        item_features={
            "category": _column(map(described.get, log.catalogue), "category"),
            "brand": _column(map(described.get, log.catalogue), "brand"),
            "price": _column(map(described.get, log.catalogue), "price").astype(float),
        },
    )


def _column(events: Iterable[Any], name: str) -> NDArray[np.object_]:
    return np.array([event.get(name) for event in events], dtype=object)


def split(options: ShopOptions) -> tuple[SessionLog, int, Examples]:
    """Return the sessions of all days but the last, where the last of these days begins, and the examples."""
    days = [list(views(logs.lines).values()) for logs in simulate(options)]
    train = log_of([session for day in days[:-1] for session in day])
    return train, len(train) - len(days[-2]), next_item_examples(log_of(days[-1]))


def catalogue_of(options: ShopOptions) -> ItemTable:
    """Return the items for sale on the last day of a shop."""
    catalogue = open_catalogue(options)
    shoppers = first_shoppers(options, catalogue.shelf_weights(options.start))
    for number in range(options.days):
        day = Day(options, number)
        catalogue.open_day(day)
        apply_events(day, catalogue, shoppers)
    items = range(len(catalogue))
    names = zip(catalogue.shelf.tolist(), catalogue.brand.tolist(), strict=True)
    features = {
        "category": [catalogue.category(item) for item in items],
        "brand": [f"sim-brand-{shelf}-{brand}" for shelf, brand in names],
    }
    columns: dict[str, NDArray[Any]] = {
        name: np.array(values, dtype=object) for name, values in features.items()
    }
    ids = np.array([item_name(item) for item in items], dtype=object)
    return ItemTable(ids, {**columns, "price": catalogue.price}, np.ones(len(ids), bool))


def rank_by_category(train: SessionLog, items: ItemTable, examples: Examples) -> NDArray[np.int32]:
    """Rank each target among the items of the last item's category, by views; 0 = of another category."""
    counts = dict(zip(train.catalogue, np.bincount(train.items).tolist(), strict=True))
    category = dict(zip(items.ids, items.features["category"], strict=True))
    shelves: dict[str, list[str]] = {}
    for item, name in category.items():
        shelves.setdefault(name, []).append(item)
    ranks: dict[str, int] = {}
    for listed in shelves.values():
        mean = sum(counts.get(item, 0) for item in listed) / len(listed)
        listed.sort(key=lambda item: (-counts.get(item, mean), item))
        ranks |= {item: rank for rank, item in enumerate(listed, start=1)}
    last = (examples.prefix(row)[-1] for row in range(len(examples)))
    pairs = zip(last, examples.targets, strict=True)
    found = (ranks[target] if category[before] == category[target] else 0 for before, target in pairs)
    return np.fromiter(found, np.int32, len(examples))


def measure(seed: int) -> dict[str, dict[str, float]]:
    """Return for each arm its hit rate on each group of targets, and what share of its lists is unseen."""
    options = replace(SHOP, seed=seed)
    train, cut, examples = split(options)
    before, newest = train.select(slice(cut)), newest_with_replay(train, cut, seed)
    items, items_before = catalogue_of(options), catalogue_of(replace(options, days=options.days - 1))
    counts = dict(zip(train.catalogue, np.bincount(train.items).tolist(), strict=True))
    seen = np.array([counts.get(item, 0) for item in examples.targets])
    groups = {"unseen": seen == 0, "few": (seen > 0) & (seen < FEW), "warm": seen >= FEW, "all": seen >= 0}
    models = {
        label: create("attention" if label == "attention" else "hybrid", OPTIONS.but(seed=seed))
        for label in ("catalogue", "logs", "warm, catalogue", "warm, logs", "attention")
    }
    models["warm, catalogue"].fit(before, items=items_before)
    models["warm, logs"].fit(before)
    reports = {
        "catalogue": models["catalogue"].fit(train, items=items),
        "logs": models["logs"].fit(train),
        "warm, catalogue": models["warm, catalogue"].warm_start(newest, items=items),
        "warm, logs": models["warm, logs"].warm_start(newest),
        "attention": models["attention"].fit(train),
    }
    found: dict[str, dict[str, float]] = {}
    for label, model in models.items():
        ranking = rank_targets(model, examples)
        found[label] = _hit_rates(ranking.ranks, groups)
        shown = model.vocabulary.decode(ranking.top[ranking.top > 0])
        found[label]["unseen_share_of_lists"] = float(np.mean([item not in counts for item in shown]))
        found[label] |= {
            "items": reports[label].items,
            "train_seconds": reports[label].seconds,
        }
    found["category"] = _hit_rates(rank_by_category(train, items, examples), groups)
    for group, rows in groups.items():
        found["catalogue"][f"targets_{group}"] = int(rows.sum())
    return found


def _hit_rates(ranks: NDArray[np.int32], groups: dict[str, NDArray[np.bool_]]) -> dict[str, float]:
    hits = (ranks > 0) & (ranks <= K)
    return {group: float(hits[rows].mean()) for group, rows in groups.items()}


def main() -> None:
    """Measure each seed, and print the medians and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[9, 10, 11, 12, 13])
    seeds = parser.parse_args().seeds
    runs = [measure(seed) for seed in seeds]
    medians = {
        arm: {name: round(median(run[arm][name] for run in runs), 4) for name in values}
        for arm, values in runs[0].items()
    }
    ratios = {
        arm + group: round(
            median(run[arm + "catalogue"][group] / run[arm + "logs"][group] for run in runs), 4
        )
        for arm in ("", "warm, ")
        for group in ("warm", "all")
    }
    labels = {
        "unseen": "never seen",
        "few": f"seen 1 to {FEW - 1} times",
        "warm": f"seen {FEW} times or more",
    }
    table = Table(f"hit_rate@{K} on items", *labels.values(), "all")
    groups = (*labels, "all")
    table.add_row("targets", *(f"{medians['catalogue'][f'targets_{group}']:,.0f}" for group in groups))
    for arm, values in medians.items():
        table.add_row(arm, *(f"{values[group]:.3f}" for group in groups))
    Console().print(table)
    print(json.dumps({"benchmark": "cold_items", "seeds": seeds, "of_logs": ratios, **medians}))


if __name__ == "__main__":
    main()
