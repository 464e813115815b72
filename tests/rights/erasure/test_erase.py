import json
from pathlib import Path

import pytest

from lastaisle.rights.erasure import Places, Subjects, erase
from tests.privacy.worlds import World, event

ANNA = "anna@example.org"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "world")
    world.ingest(event("a"), event("b", 1), event("c", 2, user_id="berta@example.org"))
    world.ingest(
        event("d", 3, session_id="anna-visit-1"),
        event("e", 4, session_id="anna-visit-1", user_id=None),
        event("f", 5, session_id="berta-visit-1", user_id="berta@example.org"),
        event("g", 5, session_id="berta-visit-1", user_id="berta@example.org", price=ANNA),
        event("h", 6, session_id="other-visit-9", user_id=None, referrer=f"https://shop/?u={ANNA}"),
        event("i", 7, session_id="nobody-visit", user_id=None),
    )
    return world


def places_of(world: World) -> Places:
    return Places(world.lake, world.folder / "erasure")


def items(world: World, table: str) -> list[str]:
    return sorted(world.lake.scan(table)["item_id"].to_pylist())


def test_erases_every_row_and_proves_it(world: World) -> None:
    subjects = Subjects.of([ANNA], world.keys)
    dry = erase(subjects, places_of(world), dry_run=True)
    assert dry.found > 0
    assert not dry.proven
    assert items(world, "raw_events") == ["a", "b", "c", "d", "e", "f", "h", "i"]

    erased = erase(subjects, places_of(world), dry_run=False)

    assert erased.proven, json.dumps(erased.to_dict(), indent=1)
    assert items(world, "raw_events") == ["c", "f", "i"]
    assert items(world, "events") == ["c", "f", "h", "i"], "the host of a referrer names nobody"
    assert world.lake.scan("quarantine").num_rows == 0
    for path in (world.folder / "lake").rglob("*"):
        assert not path.is_file() or ANNA.encode() not in path.read_bytes(), path
    assert ANNA not in json.dumps(erased.to_dict())
    assert not list((world.folder / "erasure").iterdir())

    again = erase(subjects, places_of(world), dry_run=False)
    assert again.proven
    assert again.rows == 0
    assert again.files_rewritten == 0
