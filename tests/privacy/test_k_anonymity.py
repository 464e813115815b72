"""Device and place stay only where k shoppers of an hour share them, whatever the batches and tasks are."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

import pytest

from lastaisle.privacy.anonymize import anonymize_shard
from lastaisle.privacy.rotate import rotate_pseudonyms
from tests.privacy.worlds import START, World, event

QUASI = ("device_type", "country", "region")
BERLIN, BAVARIA, PARIS = ("DE", "DE-BE"), ("DE", "DE-BY"), ("FR", "FR-IDF")


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path, k=3)


def shoppers(name: str, count: int, device: str | None, place=(None, None), minutes: float = 0, **changes):
    """Return an event for each of some shoppers; the item names the shopper."""
    return [
        event(
            f"{name}-{n}",
            minutes,
            user_id=f"{name}-{n}",
            device_type=device,
            country=place[0],
            region=place[1],
            **changes,
        )
        for n in range(count)
    ]


def values(world: World) -> dict[str, tuple]:
    """Return the quasi-identifiers of each group of shoppers, which must be equal within the group."""
    found = defaultdict(set)
    for row in world.events():
        found[row["item_id"].rpartition("-")[0]].add(tuple(row[name] for name in QUASI))
    assert all(len(one) == 1 for one in found.values()), found
    return {name: next(iter(one)) for name, one in found.items()}


def smallest_class(world: World) -> int:
    """Return the shoppers of the smallest class, computed in Python from the table."""
    classes = defaultdict(set)
    for row in world.events():
        if any(row[name] is not None for name in QUASI):
            hour = row["occurred_at"].astimezone(UTC).replace(minute=0, second=0, microsecond=0)
            classes[hour, *(row[name] for name in QUASI)].add(row["user_id"] or row["session_id"])
    return min(map(len, classes.values()), default=0)


def test_a_group_becomes_coarser_step_by_step(world):
    report = world.ingest_report(
        *shoppers("large", 3, "mobile", BERLIN),
        *shoppers("berlin", 2, "desktop", BERLIN),
        *shoppers("bavaria", 1, "desktop", BAVARIA),
        *shoppers("paris", 2, "tv", PARIS),
        *shoppers("rome", 1, "tv", ("IT", "IT-62")),
        *shoppers("tablet", 2, "tablet", PARIS),
    )
    assert values(world) == {
        "large": ("mobile", "DE", "DE-BE"),
        "berlin": ("desktop", "DE", None),
        "bavaria": ("desktop", "DE", None),
        "paris": ("tv", None, None),
        "rome": ("tv", None, None),
        "tablet": (None, None, None),
    }
    assert report.left_out == {"device_type": 2, "country": 5, "region": 8}
    assert smallest_class(world) == 3


def test_shoppers_are_counted_and_not_rows(world):
    many = [event(f"one-{n}", n, device_type="mobile", country="DE", region="DE-BE") for n in range(9)]
    sessions = [
        event(f"visit-{n}", user_id=None, session_id=f"v{n}", device_type="tv", country="DE", region="DE-BE")
        for n in range(3)
    ]
    world.ingest(*many, *sessions)
    assert values(world) == {"one": (None, None, None), "visit": ("tv", "DE", "DE-BE")}


def test_hours_do_not_help_each_other_and_the_time_stays(world):
    world.ingest(*shoppers("early", 2, "mobile", BERLIN), *shoppers("later", 2, "mobile", BERLIN, minutes=60))
    assert set(values(world).values()) == {(None, None, None)}
    assert {row["occurred_at"] for row in world.events()} == {START, datetime(2025, 10, 9, 13, tzinfo=UTC)}


def test_a_later_row_joins_a_class_that_is_there_and_a_small_batch_opens_none(world):
    world.ingest(*shoppers("first", 2, "mobile", BERLIN))
    assert values(world)["first"] == (None, None, None)
    world.ingest(*shoppers("second", 3, "mobile", BERLIN))
    world.ingest(*shoppers("late", 1, "mobile", BERLIN), *shoppers("other", 1, "mobile", BAVARIA))
    assert values(world) == {
        "first": (None, None, None),  # what was left out stays left out
        "second": ("mobile", "DE", "DE-BE"),
        "late": ("mobile", "DE", "DE-BE"),
        "other": (None, None, None),  # nobody has only the device or the country
    }
    assert smallest_class(world) == 4


def test_a_value_that_was_left_out_by_nature_is_a_value_too(world):
    world.ingest(*shoppers("known", 3, "mobile", ("DE", None)), *shoppers("berlin", 1, "mobile", BERLIN))
    assert values(world) == {"known": ("mobile", "DE", None), "berlin": ("mobile", "DE", None)}


def test_zero_keeps_all(tmp_path):
    world = World(tmp_path, k=0)
    assert world.ingest_report(*shoppers("one", 1, "mobile", BERLIN)).left_out == {}
    assert values(world) == {"one": ("mobile", "DE", "DE-BE")}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_shards_decide_alike_although_each_writes_only_its_shoppers(world, order):
    world.stage([*shoppers("large", 6, "mobile", BERLIN), *shoppers("small", 2, "tv", BERLIN)], 3)
    for shard in order:
        anonymize_shard(shard, world.lake, world.keys, k=3)
    assert values(world) == {"large": ("mobile", "DE", "DE-BE"), "small": (None, None, None)}


def test_batches_that_are_written_together_are_judged_alone(world):
    for _ in range(2):
        world.files += 1
        name = f"batch{world.files}"
        world.stage([*shoppers(name, 2, "tv", BERLIN)], 1)
    anonymize_shard(0, world.lake, world.keys, k=3)
    assert set(values(world).values()) == {(None, None, None)}


def test_a_rotation_leaves_out_what_was_left_out(world):
    world.ingest(*shoppers("first", 2, "mobile", BERLIN))
    world.ingest(*shoppers("second", 3, "mobile", BERLIN), *shoppers("paris", 4, "tv", PARIS))
    before = values(world)
    rotate_pseudonyms(world.lake, world.keys.rotate(), k=3)
    assert {row["key_version"] for row in world.events()} == {2}
    assert values(world) == before


def test_a_rotation_makes_older_events_and_a_larger_k_stricter(tmp_path):
    world = World(tmp_path, k=0)
    world.ingest(*shoppers("two", 2, "mobile", BERLIN), *shoppers("alone", 1, "tv", PARIS))
    world.ingest(*shoppers("third", 1, "mobile", BERLIN), *shoppers("five", 5, "tablet", PARIS))
    assert smallest_class(world) == 1
    keys = world.keys.rotate()
    rotate_pseudonyms(world.lake, keys, k=3)
    assert values(world) == {
        "two": ("mobile", "DE", "DE-BE"),
        "third": ("mobile", "DE", "DE-BE"),
        "alone": (None, None, None),
        "five": ("tablet", "FR", "FR-IDF"),
    }
    keys = keys.rotate()
    rotate_pseudonyms(world.lake, keys, k=5)
    assert values(world) == {
        "two": (None, None, None),
        "third": (None, None, None),
        "alone": (None, None, None),
        "five": ("tablet", "FR", "FR-IDF"),
    }
    rotate_pseudonyms(world.lake, keys.rotate(), k=0)
    assert values(world)["two"] == (None, None, None)
