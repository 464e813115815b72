"""pycanon, by other authors, measures the published classes: each has at least k shoppers."""

from __future__ import annotations

import json
import random
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from lastaisle.environments.environment import python_of
from tests.privacy.worlds import START, World, event

ROOT = Path(__file__).resolve().parents[2]
QUASI = ("device_type", "country", "region")
K = 20
PLACES = [("DE", "DE-BE"), ("DE", "DE-BY"), ("DE", None), ("FR", "FR-IDF"), ("IT", "IT-62"), (None, None)]
SCRIPT = """
import json, sys
import pandas as pd
from pycanon import anonymity

rows, columns = pd.DataFrame(json.load(sys.stdin)), sys.argv[1:]
print(anonymity.k_anonymity(rows, columns))
"""

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def k_of():
    """k_of(rows): the k of rows by their hour and quasi-identifiers, as pycanon measures it."""
    python = python_of("pycanon", ROOT / ".cache" / "environments")

    def measure(rows: list[dict]) -> int:
        command = [str(python), "-c", SCRIPT, "hour", *QUASI]
        said = subprocess.run(command, input=json.dumps(rows), capture_output=True, text=True, check=True)
        return int(said.stdout.split()[-1])

    return measure


def published(world: World) -> list[dict]:
    """Return a row for each shopper and class of an hour; the rows without any value are no class."""
    seen = {}
    for row in world.events():
        values = {name: row[name] or "*" for name in QUASI}
        if set(values.values()) != {"*"}:
            hour = row["occurred_at"].strftime("%Y-%m-%dT%H")
            shopper = row["user_id"] or row["session_id"]
            seen[shopper, hour, *values.values()] = {"hour": hour, **values}
    return list(seen.values())


def made_up(rng: random.Random, count: int, name: str) -> list[dict]:
    """Return events of shoppers in a skewed population over three hours; some shoppers act twice."""
    events = []
    for n in range(count):
        device = rng.choices(["mobile", "desktop", "tablet", None], [60, 30, 8, 2])[0]
        country, region = rng.choices(PLACES, [50, 20, 10, 12, 5, 3])[0]
        shopper = f"shopper-{rng.randrange(count)}"
        moment = START + timedelta(minutes=rng.randrange(180))
        given = {"device_type": device, "country": country, "region": region, "user_id": shopper}
        events.append(event(f"{name}-{n}", occurred_at=moment.isoformat(), **given))
    return events


def test_each_published_class_has_k_shoppers_after_every_batch(tmp_path, k_of):
    world, raw, rng = World(tmp_path, k=K), World(tmp_path / "raw", k=0), random.Random(22)
    for number, count in enumerate((600, 40, 900)):
        events = made_up(rng, count, f"batch{number}")
        world.ingest(*events)
        raw.ingest(*events)
        rows = published(world)
        assert k_of(rows) >= K
        assert len(rows) > count / 4  # the rule leaves something to see
    assert k_of(published(raw)) == 1  # pycanon sees that the rule was needed


def test_pycanon_finds_a_class_that_is_too_small(k_of):
    class_of_three = [{"hour": "h", "device_type": "tv", "country": "DE", "region": "*"}] * 3
    class_of_five = [{"hour": "h", "device_type": "tv", "country": "FR", "region": "*"}] * 5
    assert k_of(class_of_three + class_of_five) == 3
