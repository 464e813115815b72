"""Bandits of two or three arms, and lists with known rewards."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from lastaisle.experiments.bandits.lists import LISTS_SCHEMA
from lastaisle.experiments.traffic import Arm, Bandit, Trial

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = START + timedelta(hours=48)


def bandit(*arms: str, **changes: Any) -> Bandit:
    names = arms or ("control", "new")
    base = {name: 1 / len(names) for name in names}
    return Bandit(**{"algorithm": "thompson", "base": base, "floor": 0.05, "share": 1.0, **changes})


def trial(made: Bandit, name: str = "lists") -> Trial:
    arms = tuple(Arm(name=arm) for arm in made.base)
    return Trial(name=name, kind="bandit", arms=arms, starts_at=START, bandit=made)


def lists(rows: Sequence[tuple[str, str, int, int]], shown_at: datetime = START) -> pa.Table:
    """Return lists of (arm, context, number of lists, number of rewards), all shown at one moment."""
    made = []
    for arm, context, count, rewards in rows:
        for number in range(count):
            made.append(
                {
                    "recommendation_id": f"{arm}-{context}-{number}",
                    "shown_at": shown_at,
                    "unit": f"shopper-{number}",
                    "arm": arm,
                    "propensity": 0.5,
                    "context": context,
                    "choice": arm,
                    "reward": int(number < rewards),
                }
            )
    return pa.Table.from_pylist(made, schema=LISTS_SCHEMA)
