"""An erasure from a lake in an object store."""

from lastaisle.lake import Lake
from lastaisle.rights.erasure import Places, Subjects, erase
from tests.privacy.worlds import World, event

ANNA, BERTA = "anna@example.org", "berta@example.org"


def test_erases_from_a_bucket(s3, tmp_path):
    world = World(tmp_path / "world")
    world.lake = Lake("s3://shop/lake")
    world.ingest(event("a"), event("b", user_id=BERTA), event("x", price=ANNA))
    erased = erase(Subjects.of([ANNA], world.keys), Places(world.lake, tmp_path / "work"), dry_run=False)
    assert erased.proven, erased.to_dict()
    assert [world.lake.scan(name).num_rows for name in ("raw_events", "events", "quarantine")] == [1, 1, 0]
    files = s3.find("shop/lake")
    assert erased.files_scanned == len(files)
    assert not any(ANNA.encode() in s3.cat_file(file) for file in files)
    world.ingest(event("c", 5, user_id=BERTA))
    assert world.lake.scan("events").num_rows == 2
