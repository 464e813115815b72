"""Can a model recommend new items, which have few or no events, by their features? On a simulated shop.

    python benchmarks/cold_items.py [--seed 7]

The script trains on a week of logs and predicts the views of the day after it. Some items of that day were
launched on the same day, so no model has seen them. Other items have fewer than five training events. "Random
rows" is the same hybrid on logs without category, brand and price, where an unseen item keeps its initial
row. Attention does not know unseen items. Takes about two minutes on two cores. Prints a table, and then a
JSON line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from lastaisle.simulate import ShopOptions, simulate
from models.data.sequences import Examples, SessionLog, next_item_examples
from models.evaluation.ranking import rank_targets, summarize
from models.options import TrainingOptions
from models.recommender import create
from simulator_realism import LONGEST, sound

SHOP = ShopOptions(
    days=8, sessions_per_day=2500, items=2000, new_items_per_day=60, broken=0.0, duplicates=0.0
)
OPTIONS = TrainingOptions(embedding_size=64)
FEW = 5


def views(lines: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the views of each session in the order of their times, without crawlers."""
    sessions: dict[str, list[dict[str, Any]]] = {}
    for event in map(sound, lines):
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


def _column(events: Iterable[Any], name: str) -> np.ndarray:
    return np.array([event.get(name) for event in events], dtype=object)


def split(options: ShopOptions) -> tuple[SessionLog, Examples]:
    """Return the sessions of all days except the last, and the examples of the last day."""
    days = [list(views(logs.lines).values()) for logs in simulate(options)]
    whole = log_of([session for day in days for session in day])
    cut = len(whole) - len(days[-1])
    return whole.select(slice(cut)), next_item_examples(whole.select(slice(cut, None)))


def without_features(train: SessionLog) -> SessionLog:
    """Return the log without item features; each unseen item gets a row by a session of its own."""
    unseen = np.setdiff1d(train.catalogue, train.ids())
    alone = SessionLog.from_lists([[item] for item in unseen])
    context = {name: np.full(len(alone), None) for name in train.context}
    context["started_at"] = np.full(len(alone), np.nan)
    events = {name: np.full(alone.n_events, None) for name in train.event_context}
    events |= {name: np.full(alone.n_events, np.nan) for name in ("dwell_ms", "price")}
    # They come first, as the oldest sessions, so that they do not change what recent sessions teach.
    alone = replace(alone, context=context, event_context=events)
    return replace(SessionLog.concat([alone, train]), item_features={})


def main() -> None:
    """Train the three models, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description="Recommending items with few or no events.")
    parser.add_argument("--seed", type=int, default=7)
    seed = parser.parse_args().seed
    train, examples = split(replace(SHOP, seed=seed))
    count = dict(zip(train.catalogue, np.bincount(train.items, minlength=len(train.catalogue)), strict=True))
    seen = np.array([count.get(item, 0) for item in examples.targets])
    slices = {"never seen": seen == 0, f"seen 1 to {FEW - 1} times": (seen > 0) & (seen < FEW)}
    slices |= {f"seen less than {FEW} times": seen < FEW, "all": seen >= 0}
    trainings = {
        "hybrid, features": ("hybrid", train),
        "hybrid, random rows": ("hybrid", without_features(train)),
        "attention": ("attention", train),
    }
    table = Table("recall@20 on items", "targets", *trainings)
    found: dict[str, dict[str, float]] = {}
    for label, (name, log) in trainings.items():
        model = create(name, OPTIONS.but(seed=seed))
        report = model.fit(log)
        ranking = rank_targets(model, examples)
        found[label] = {
            part: round(summarize(ranking.select(rows), ks=(20,))["recall@20"], 4)
            for part, rows in slices.items()
        }
        found[label]["train_seconds"] = round(report.seconds, 1)
    for part, rows in slices.items():
        table.add_row(part, f"{int(rows.sum()):,}", *(f"{found[label][part]:.3f}" for label in trainings))
    Console().print(table)
    print(json.dumps({"benchmark": "cold_items", "seed": seed, "sessions": len(train), **found}))


if __name__ == "__main__":
    main()
