"""One text has unrelated pseudonyms as user, session and order; an older lake goes on without a break."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import pytest

from data_contracts.contract import load_contract
from data_contracts.document import PACKAGED
from lastaisle.lake.tables import EVENTS
from lastaisle.privacy import anonymize
from lastaisle.privacy.domains import LakeKey, key_of_lake
from lastaisle.privacy.keys import ENVIRONMENT, PseudonymKeys
from lastaisle.privacy.rotate import rotate_pseudonyms
from tests.privacy.worlds import World, event

NAMES = ("user_id", "session_id", "order_id")


class OldKey(LakeKey):
    """The key as it was used before there were domains, when commits left no mark."""

    mark: Mapping[str, int] = {}


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


@pytest.fixture
def old_world(world, monkeypatch) -> World:
    """A lake that was written before there were domains."""
    with monkeypatch.context() as before:
        old_key = OldKey(world.keys.current, world.keys.key, "", separates=False)
        before.setattr(anonymize, "key_of_lake", lambda *_: old_key)
        world.ingest(event("a", 0), event("b", 5, **dict.fromkeys(NAMES, "4711")))
    return world


def test_one_text_has_another_pseudonym_in_each_field(world):
    world.ingest(event("a", event_type="order_completed", **dict.fromkeys(NAMES, "4711")))
    (row,) = world.events()
    assert len({row[name] for name in NAMES}) == 3


def test_two_fields_of_one_domain_can_be_joined(world):
    contract = (PACKAGED / "raw_events.odcs.yaml").read_text(encoding="utf-8")
    before, order = contract.split("      - name: order_id\n")
    shared = (
        "customProperties:\n          - {property: treatment, value: {pseudonymize: {domain: user_id}}}\n"
    )
    path = world.folder / "raw_events.odcs.yaml"
    order = order.replace("customProperties:\n", shared, 1)
    path.write_text(f"{before}      - name: order_id\n{order}", encoding="utf-8")
    world.contract = load_contract(path)
    world.ingest(event("a", event_type="order_completed", **dict.fromkeys(NAMES, "4711")))
    (row,) = world.events()
    assert row["order_id"] == row["user_id"] != row["session_id"]


def test_an_older_lake_keeps_its_pseudonyms(old_world):
    """The history of no shopper is split, and derived sessions go on."""
    world = old_world
    for item, minutes in (("c", 10), ("d", 15)):
        world.ingest(event(item, minutes))
    rows = {row["item_id"]: row for row in world.events()}
    anna = hmac.new(world.keys.key, b"anna@example.org", hashlib.sha256).hexdigest()[:32]
    assert {rows[item]["user_id"] for item in "acd"} == {anna}
    assert len({rows[item]["session_id"] for item in "acd"}) == 1
    assert not key_of_lake(world.lake, world.keys, world.lake.version(EVENTS)).separates


def test_rotation_separates_the_domains_of_an_older_lake(old_world):
    world = old_world
    world.keys = world.keys.rotate()
    assert rotate_pseudonyms(world.lake, world.keys) == 2
    world.ingest(event("c", 10), event("d", 11, **dict.fromkeys(NAMES, "4711")))
    rows = {row["item_id"]: row for row in world.events()}
    assert {row["key_version"] for row in rows.values()} == {2}
    for name in NAMES:
        assert rows["b"][name] == rows["d"][name]
    assert len({rows["b"][name] for name in NAMES}) == 3
    assert rows["a"]["user_id"] == rows["c"]["user_id"]
    assert rows["a"]["session_id"] == rows["c"]["session_id"]


def test_rows_that_came_between_a_new_key_and_the_rotation_agree_with_it(old_world):
    world = old_world
    world.keys = world.keys.rotate()
    world.ingest(event("c", 10))
    assert rotate_pseudonyms(world.lake, world.keys) == 3
    assert len({row["user_id"] for row in world.events() if row["item_id"] in "ac"}) == 1
    assert key_of_lake(world.lake, world.keys, world.lake.version(EVENTS)).separates


def test_a_key_of_the_environment_follows_the_lake_as_well(old_world):
    """The lake, not the form of the key, tells how its pseudonyms are made."""
    world = old_world
    text = {ENVIRONMENT: world.keys.key.hex()}
    world.keys = PseudonymKeys.load_or_create(world.folder / "none.json", environ=text)
    world.ingest(event("c", 10))
    assert len({row["user_id"] for row in world.events() if row["item_id"] in "ac"}) == 1
    new = World(world.folder / "new")
    new.keys = world.keys
    new.ingest(event("a", **dict.fromkeys(NAMES, "4711")))
    assert len({new.events()[0][name] for name in NAMES}) == 3


def test_a_mark_outlives_the_rows_and_a_checkpoint(old_world):
    world = old_world
    world.ingest(event("c", 10))
    world.lake.table(EVENTS).delete()
    world.lake.table(EVENTS).create_checkpoint()
    assert not key_of_lake(world.lake, world.keys, world.lake.version(EVENTS)).separates


def test_the_key_is_never_printed(world):
    key = key_of_lake(world.lake, world.keys, None)
    assert repr(key.secret) not in repr(key)
    assert key.secret.hex() not in repr(key)
