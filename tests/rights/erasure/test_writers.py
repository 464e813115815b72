"""Other writers commit while shoppers are erased: their rows stay, and their keys stay known."""

from pathlib import Path

import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from lastaisle.lake import Lake, rewritten
from lastaisle.lake.maintenance import MaintenancePolicy, maintain
from lastaisle.lake.tables import EVENTS, RAW_EVENTS
from lastaisle.privacy.anonymize import anonymize_pending
from lastaisle.rights.erasure import Places, Subjects, erase
from tests.privacy.worlds import World, event

ANNA, BERTA = "anna@example.org", "berta@example.org"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "world")
    world.ingest(event("a"), event("b", user_id=BERTA), event("x", price=ANNA))
    return world


def run(world: World, **options):
    return erase(
        Subjects.of([ANNA], world.keys), Places(world.lake, world.folder / "w"), dry_run=False, **options
    )


def items(world: World, table: str) -> list[str]:
    return sorted(world.lake.scan(table)["item_id"].to_pylist())


def test_rows_of_others_that_are_appended_meanwhile_stay(world, monkeypatch):
    commit, calls = rewritten._commit, []

    def after_an_ingestion(table, name, added, removed):
        calls.append(name)
        if calls.count(name) == 1:  # only the first attempt is overtaken
            world.ingest(event(f"late-{name}", 30, user_id=BERTA), event(f"own-{name}", 31))
        commit(table, name, added, removed)

    monkeypatch.setattr(rewritten, "_commit", after_an_ingestion)
    erased = run(world)
    assert erased.proven, erased.to_dict()
    kept = ["b", *(f"late-{name}" for name in dict.fromkeys(calls))]
    assert {EVENTS, RAW_EVENTS} <= set(calls)
    assert items(world, RAW_EVENTS) == items(world, EVENTS) == sorted(kept)


def test_a_batch_that_waits_for_anonymization_becomes_events_once(world):
    world.stage([event("later", user_id=BERTA), event("own")], shards=2)
    assert run(world).proven
    anonymize_pending(world.lake, world.keys)
    anonymize_pending(world.lake, world.keys)
    assert items(world, RAW_EVENTS) == items(world, EVENTS) == ["b", "later"]


def test_keys_of_appends_and_versions_outlive_the_log(world):
    before = world.lake.table(RAW_EVENTS)
    version, batches = before.version(), world.lake.scan(RAW_EVENTS)["batch_id"].to_pylist()
    assert run(world).proven
    assert all(world.lake.has(RAW_EVENTS, batch) for batch in batches)
    log = Path(world.lake.table_url(RAW_EVENTS)) / "_delta_log"
    assert len(list(log.glob("*.checkpoint.parquet"))) == 1
    assert len(list(log.glob("*.json"))) == world.lake.version(RAW_EVENTS) + 1, (
        "no version may be written twice"
    )

    # A writer that read the table before the erasure may not take the place of a later version.
    with pytest.raises(CommitFailedError):
        before.create_write_transaction(
            [],
            "append",
            before.schema(),
            ["event_date"],
            commit_properties=rewritten.commit_properties_of({}, version, None, alone=True),
        )
    assert DeltaTable(world.lake.table_url(RAW_EVENTS)).count() == 1


def test_maintenance_goes_on_afterwards(world):
    assert run(world).proven
    lake: Lake = world.lake
    keep_all = {EVENTS: 0}  # the batches of this world came long ago
    maintain(lake, EVENTS, MaintenancePolicy(small_files=1, keep_days=keep_all))
    world.ingest(event("c", 5, user_id=BERTA), event("d", 6, user_id=BERTA))
    assert items(world, EVENTS) == ["b", "c", "d"]
    assert lake.days_changed(EVENTS, 0)


def test_only_files_with_the_shopper_are_written_again(tmp_path):
    world = World(tmp_path / "world")
    world.ingest(event("a"))
    world.ingest(event("b", 1440, user_id=BERTA))
    before = set(world.lake.table(EVENTS).file_uris())
    erased = run(world)
    assert erased.files_rewritten == 2  # one of raw_events, one of events
    after = set(world.lake.table(EVENTS).file_uris())
    assert after < before
    assert len(after) == 1


def test_a_word_that_many_rows_have_is_not_taken_for_a_mention(world, monkeypatch):
    monkeypatch.setattr("lastaisle.rights.erasure.engine.COMMON_ROWS", 2)
    shared = "brand-of-2025"
    world.ingest(
        event("own", 9, user_id=shared), *(event(f"o{i}", i, user_id=BERTA, brand=shared) for i in range(5))
    )
    erased = erase(Subjects.of([shared], world.keys), Places(world.lake, world.folder / "w"), dry_run=False)
    assert erased.proven, erased.to_dict()
    assert erased.ids_in_columns == 1
    assert items(world, RAW_EVENTS) == ["a", "b", "o0", "o1", "o2", "o3", "o4"]


@pytest.mark.parametrize("user", ["17", "214821026", "desktop"])
def test_short_ids_are_erased_by_their_columns(world, user):
    world.ingest(
        event("own", 9, user_id=user),
        event("214821026", 9, user_id=BERTA, device_type="desktop", quantity=17),
        event("broken", 9, user_id=user, price="x"),
        event("214821026", 9, user_id=BERTA, price="y", quantity=17, event_id="z"),
    )
    erased = erase(Subjects.of([user], world.keys), Places(world.lake, world.folder / "w"), dry_run=False)
    assert erased.proven
    assert erased.ids_in_columns == 1
    assert items(world, RAW_EVENTS) == items(world, EVENTS) == ["214821026", "a", "b"]
    assert world.lake.scan("quarantine").num_rows == 2


def test_filters_find_the_rows_that_stay_by_every_column(tmp_path):
    world = World(tmp_path / "world")
    long = "x" * 150
    world.ingest(event("a"), event("b", user_id=BERTA, price=3.5, quantity=2, brand=long, currency="EUR"))
    assert run(world).files_rewritten == 2
    kept = world.lake.scan(RAW_EVENTS)
    assert kept.num_rows == 1
    for column in kept.column_names:
        value = kept[column][0]
        asked = pc.is_null(pc.field(column)) if value.as_py() is None else pc.field(column) == value
        assert world.lake.scan(RAW_EVENTS, where=asked).num_rows == 1, column
