"""Folders of the home: lines are blanked in place, caches deleted, other files searched."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from lastaisle.rights.erasure import Places, Subjects, erase
from lastaisle.settings import Settings
from tests.privacy.worlds import World, event

ANNA, BERTA = "anna@example.org", "berta@example.org"


def line(user: str, **more: object) -> str:
    return json.dumps({"event_id": "e", "user_id": user, **more})


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "home")
    world.ingest(event("a", session_id="visit-of-anna-1"), event("b", user_id=BERTA))
    (world.folder / "1.jsonl").unlink()
    return world


def write(world: World, name: str, content: bytes) -> Path:
    path = world.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def run(world: World, *user_ids: str, dry_run: bool = False):
    settings = Settings.of(home=str(world.folder), key_file=str(world.folder / "keys" / "keys.json"))
    (world.folder / "keys").mkdir(exist_ok=True)
    places = Places(world.lake, world.folder / "erasure", settings=settings)
    return erase(Subjects.of(user_ids or [ANNA], world.keys), places, dry_run=dry_run)


def test_lines_of_logs_are_blanked_in_place_and_others_stay(world):
    lines = [line(ANNA), line(BERTA), line("x", session="visit-of-anna-1"), line("joanna@example.org")]
    landing = write(world, "landing/2025-10-09/a.jsonl", "\n".join([*lines, ""]).encode())
    packed = write(world, "feedback/2025-10-09/b.jsonl.gz", gzip.compress("\n".join(lines).encode()))
    log = write(world, "logs/serve.log", f"12:00 user {ANNA} refused\n12:01 up\n".encode())
    with log.open("ab") as writing:  # a program that goes on to write
        before = landing.stat().st_size
        dry = run(world, dry_run=True)
        assert dry.found > 0
        assert ANNA.encode() in landing.read_bytes()
        erased = run(world)
        writing.write(b"12:02 still up\n")
    assert erased.proven, erased.to_dict()
    assert landing.stat().st_size == before
    assert [each for each in landing.read_text().split("\n") if each.strip()] == [lines[1], lines[3]]
    kept = gzip.decompress(packed.read_bytes()).decode().split("\n")
    assert [each for each in kept if each.strip()] == [lines[1], lines[3]]
    assert [each for each in log.read_text().split("\n") if each.strip()] == ["12:01 up", "12:02 still up"]
    rows = {place.place: place.rows for place in erased.places}
    assert rows["home/landing"] == rows["home/feedback"] == 2
    assert rows["home/logs"] == 1
    assert run(world).rows == 0


def test_short_ids_are_erased_from_lines_by_their_fields(world):
    world.ingest(event("own", user_id="17"))
    (world.folder / "2.jsonl").unlink()
    lines = [line("17"), line(BERTA, quantity=17), json.dumps({"user": {"id": 17}})]
    landing = write(world, "landing/a.jsonl", "\n".join(lines).encode())
    assert run(world, "17").proven
    assert landing.read_text().strip() == lines[1]


def test_caches_are_deleted_and_other_files_are_found(world):
    pseudonym = (
        world.lake.scan("events")
        .filter([user == "a" for user in world.lake.scan("events")["item_id"].to_pylist()])["user_id"][0]
        .as_py()
    )
    cache = write(world, "dashboard/figures.bin", b"x" + pseudonym.encode())
    other = world.folder / "study" / "model.npz"
    other.parent.mkdir()
    np.savez_compressed(other, names=np.array([pseudonym, "f" * 32]))
    erased = run(world)
    assert not erased.proven
    assert not cache.exists()
    assert {place.place: place.found for place in erased.places if place.found} == {"home/study": 1}
    other.unlink()
    assert run(world).proven


def test_a_file_that_is_being_written_waits(world):
    write(world, "landing/segment.jsonl.inprogress", line(ANNA).encode())
    erased = run(world)
    assert not erased.proven
    assert [place.waiting for place in erased.places if place.place == "home/landing"] == [1]
