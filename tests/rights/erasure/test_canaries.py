"""Canary shoppers in every table that holds rows of shoppers, in a lake with the tables of the pipeline."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from lastaisle.lake import tables
from lastaisle.rights.erasure import Places, Subjects, erase
from lastaisle.rights.erasure.tables import TABLES
from tests.privacy.worlds import START, World, event

CANARY, OTHER = "canary-7f3a@example.org", "other-9b1c@example.org"
AT = datetime(2025, 10, 9, 13, tzinfo=UTC)


def rows(schema: pa.Schema, *given: dict) -> pa.Table:
    return pa.Table.from_pylist(
        [{field.name: each.get(field.name) for field in schema} for each in given], schema
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "world")
    for user in (CANARY, OTHER):
        world.ingest(
            event(
                f"item-of-{user[:5]}", user_id=user, session_id=f"visit-of-{user}", order_id=f"order-{user}"
            ),
            event("derived", 90, event_id=f"derived-{user}", user_id=user),
            event("anonymous", 2, event_id=f"nobody-{user}", user_id=None, session_id=f"visit-of-{user}"),
            event("broken", event_id=f"broken-{user}", user_id=user, price="x"),
        )
    world.ingest(event("referred", 5, user_id=OTHER, referrer=f"https://a.example/?m={CANARY}", event_id="r"))
    for number, row in enumerate(world.lake.scan("events").to_pylist()):
        shown = {
            **{name: row[name] for name in ("user_id", "session_id", "item_id", "event_date", "key_version")},
            "exposure_id": f"e{number}",
            "recommendation_id": f"list-{row['session_id']}",
            "kind": "shown",
            "occurred_at": AT,
            "shown_at": AT,
            "position": 1,
        }
        clicked = {
            **shown,
            "user_id": None,
            "session_id": None,
            "exposure_id": f"c{number}",
            "kind": "clicked",
        }
        exposures = pa.schema(
            [
                *((name, pa.string()) for name in ("exposure_id", "recommendation_id", "kind", "user_id")),
                *(("session_id", pa.string()), ("item_id", pa.string()), ("occurred_at", tables.TIMESTAMP)),
                *(("key_version", pa.int32()), ("event_date", pa.date32())),
            ]
        )
        add(world, tables.EXPOSURES, rows(exposures, shown, clicked), number)
        add(world, tables.OUTCOMES, rows(tables.OUTCOMES_SCHEMA, shown), number)
        add(world, tables.UNATTRIBUTED, rows(tables.UNATTRIBUTED_SCHEMA, clicked), number)
        add(world, tables.ABANDONMENTS, rows(tables.ABANDONMENTS_SCHEMA, shown), number)
        consent = {**shown, "purpose": "sale", "granted": False, "at": START, "source": "gpc"}
        add(world, tables.CONSENTS, rows(tables.CONSENTS_SCHEMA, consent), number)
    return world


def add(world: World, table: str, given: pa.Table, number: int) -> None:
    world.lake.append(table, given, key=f"made-{number}")


def test_no_table_knows_the_canary_afterwards_and_all_know_the_other(world):
    subjects = Subjects.of([CANARY], world.keys)
    kept = {name: world.lake.scan(name).num_rows for name in TABLES}
    pseudonyms = subjects.pseudonyms("user_id", [CANARY])
    events = world.lake.scan("events")
    theirs = [row for row in events.to_pylist() if row["user_id"] in pseudonyms]
    assert len({row["session_id"] for row in theirs}) == 2, "a session of the shop, and a derived session"

    erased = erase(subjects, Places(world.lake, world.folder / "work"), dry_run=False)

    assert erased.proven, json.dumps(erased.to_dict(), indent=1)
    report = {place.place: place for place in erased.places}
    expected = dict.fromkeys(TABLES, 3) | {"exposures": 6, "quarantine": 1, "raw_events": 4}
    assert {name: report[name].rows for name in TABLES} == expected
    assert report["raw_events"].mentioned == 1
    assert {name: world.lake.scan(name).num_rows for name in TABLES} == {
        name: count - expected[name] for name, count in kept.items()
    }
    text = json.dumps(erased.to_dict())
    assert not any(name in text for name in (CANARY, *pseudonyms, *(row["session_id"] for row in theirs)))
    files = [path for path in Path(world.lake.url).rglob("*") if path.is_file()]
    assert erased.files_scanned == len(files)
    needles = [CANARY, *pseudonyms, *{row["session_id"] for row in theirs}, f"order-{CANARY}"]
    for path in files:
        content = path.read_bytes()
        assert not any(needle.encode() in content for needle in needles), path
    assert not erase(subjects, Places(world.lake, world.folder / "work"), dry_run=False).rows


def test_pseudonyms_of_every_key_go(world):
    from lastaisle.privacy.rotate import rotate_pseudonyms

    keys = world.keys.rotate()
    rotate_pseudonyms(world.lake, keys)
    erased = erase(Subjects.of([CANARY], keys), Places(world.lake, world.folder / "work"), dry_run=False)
    assert erased.proven, json.dumps(erased.to_dict(), indent=1)
    report = {place.place: place for place in erased.places}
    assert report["events"].files_deleted > report["events"].files_rewritten, "files from before the rotation"
    for path in Path(world.lake.url).rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for name in Subjects.of([CANARY], keys).pseudonyms("user_id", [CANARY]):
                assert name.encode() not in content
