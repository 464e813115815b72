"""A rotation of the key keeps histories together: sessions, shoppers, refusals and abandoned checkouts."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from lastaisle.feedback.renew import renew
from lastaisle.feedback.rotate import rotate_all
from lastaisle.lake.tables import ABANDONMENTS, ABANDONMENTS_SCHEMA, CONSENTS, CONSENTS_SCHEMA
from lastaisle.privacy.domains import key_of_lake
from lastaisle.privacy.keys import PseudonymKeys
from tests.privacy.worlds import NOW, START, World, event

STRANGER = "ab" * 16
DECIDED = {"purpose": "personalization", "granted": False, "at": NOW, "source": "request", "key_version": 1}


@pytest.fixture
def world(tmp_path) -> World:
    """Two shoppers with three visits, one visit without a user; Anna refused, and left a checkout."""
    world = World(tmp_path)
    world.ingest(event("a", 0), event("b", 5), event("c", 90), event("d", 3, user_id="berta"))
    world.ingest(event("e", 4, user_id=None, session_id="s"), event("f", 6, user_id=None, session_id="s"))
    rows = {row["item_id"]: row for row in world.events()}
    decisions = [
        {"user_id": rows["a"]["user_id"], **DECIDED},
        {"session_id": rows["e"]["session_id"], **DECIDED},
        {"user_id": STRANGER, **DECIDED},  # refused at the service, and has no event
    ]
    world.lake.append(CONSENTS, pa.Table.from_pylist(decisions, schema=CONSENTS_SCHEMA), key="decisions")
    left = [
        {"session_id": rows["c"]["session_id"], "abandoned_at": START, "noticed_at": NOW},
        {"session_id": STRANGER, "abandoned_at": START - timedelta(days=90), "noticed_at": NOW},
    ]
    world.lake.append(ABANDONMENTS, pa.Table.from_pylist(left, schema=ABANDONMENTS_SCHEMA), key="burst")
    return world


def by_item(world: World, name: str) -> dict:
    return {row["item_id"]: row[name] for row in world.events()}


def newest(world: World) -> PseudonymKeys:
    keys = PseudonymKeys.load(world.folder / "keys.json", environ={})
    assert keys is not None
    return keys


def test_consents_and_abandonments_follow_the_events(world):
    report = rotate_all(world.lake, world.keys, dry_run=False, k=0).to_dict()
    assert report[CONSENTS] == {"rows_written": 2, "rows_unknown": 1}
    assert report[ABANDONMENTS] == {"rows_written": 1, "rows_unknown": 1}
    users, sessions = by_item(world, "user_id"), by_item(world, "session_id")
    kept = world.lake.scan(CONSENTS).to_pylist()
    assert {(row["user_id"], row["session_id"], row["key_version"]) for row in kept} == {
        (users["a"], None, 2),
        (None, sessions["e"], 2),
        (STRANGER, None, 1),  # a refusal is never lost
    }
    assert all({**row, **DECIDED, "key_version": row["key_version"]} == row for row in kept)
    left = {row["session_id"] for row in world.lake.scan(ABANDONMENTS).to_pylist()}
    assert left == {sessions["c"], STRANGER}
    key = key_of_lake(world.lake, newest(world), None)
    assert users["a"] == key.pseudonym("user_id", "anna@example.org")


def test_a_window_that_is_read_after_a_rotation_has_the_same_sessions_of_the_same_shoppers(world):
    def grouped() -> set[frozenset[str]]:
        groups: dict[tuple, set[str]] = {}
        for row in world.events():
            for name in ("user_id", "session_id"):
                if row[name]:
                    groups.setdefault((name, row[name]), set()).add(row["item_id"])
        return {frozenset({name, *items}) for (name, _), items in groups.items()}

    before, times = grouped(), by_item(world, "occurred_at")
    old = {*by_item(world, "user_id").values(), *by_item(world, "session_id").values()}
    rotate_all(world.lake, world.keys, dry_run=False, k=0)
    assert grouped() == before
    assert by_item(world, "occurred_at") == times
    assert old & {*by_item(world, "user_id").values(), *by_item(world, "session_id").values()} == {None}


def test_a_dry_run_counts_and_changes_nothing(world):
    versions = world.lake.version(CONSENTS), world.lake.version(ABANDONMENTS)
    report = rotate_all(world.lake, world.keys, dry_run=True, k=0).to_dict()
    assert report[CONSENTS] == {"rows_written": 2, "rows_unknown": 1}
    assert report[ABANDONMENTS] == {"rows_written": 1, "rows_unknown": 1}
    assert versions == (world.lake.version(CONSENTS), world.lake.version(ABANDONMENTS))


def test_a_second_rotation_and_a_repeated_step_lose_nothing(world):
    for _ in range(2):
        rotate_all(world.lake, newest(world), dry_run=False, k=0)
    version = world.lake.version(CONSENTS)
    assert renew(world.lake, CONSENTS, 3).rows_written == 0
    assert world.lake.version(CONSENTS) == version
    users = by_item(world, "user_id")
    assert {row["user_id"] for row in world.lake.scan(CONSENTS).to_pylist()} == {users["a"], None, STRANGER}


def test_tables_that_were_never_written_are_no_error(tmp_path):
    world = World(tmp_path)
    world.ingest(event("a"))
    assert rotate_all(world.lake, world.keys, dry_run=False, k=0).to_dict()[CONSENTS]["rows_written"] == 0
