"""An erasure that is killed at any step goes on: the shopper is gone, and nothing of others is lost."""

import shutil
from pathlib import Path

import pytest

from tests.privacy.worlds import World, event
from tests.rights.erasure.killing import erase_and_die, erase_in_world

ANNA, BERTA = "anna@example.org", "berta@example.org"
KILLS = 5


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = World(tmp_path_factory.mktemp("erasure") / "world")
    for day in range(2):
        world.ingest(
            *(event(f"a{day}{number}", 1440 * day + number) for number in range(5)),
            *(event(f"b{day}{number}", 1440 * day + number, user_id=BERTA) for number in range(5)),
            event(f"broken{day}", 1440 * day, price=ANNA, user_id=BERTA),
        )
    return world.folder


def contents(folder: Path) -> dict[str, list[str]]:
    world = World(folder)
    return {table: sorted(map(str, world.lake.scan(table).to_pylist())) for table in ("raw_events", "events")}


def test_goes_on_after_each_kill(original: Path, tmp_path: Path) -> None:
    kept = {
        table: [row for row in rows if "'item_id': 'b" in row] for table, rows in contents(original).items()
    }
    assert all(len(rows) == 10 for rows in kept.values())
    shutil.copytree(original, tmp_path / "whole")
    steps = erase_and_die(tmp_path / "whole", [ANNA], 0)
    assert steps is not None
    assert steps > KILLS
    for kill in range(KILLS):
        folder = tmp_path / f"killed-{kill}"
        shutil.copytree(original, folder)
        step = 1 + kill * (steps - 1) // (KILLS - 1)
        assert erase_and_die(folder, [ANNA], step) is None

        erased = erase_in_world(folder, [ANNA])

        assert erased.proven, (step, erased.to_dict())
        assert contents(folder) == kept, step
        assert not list((folder / "erasure").iterdir())
        for path in (folder / "lake").rglob("*.*"):
            assert not path.is_file() or ANNA.encode() not in path.read_bytes(), (step, path)
