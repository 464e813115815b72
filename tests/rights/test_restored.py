"""After the restore of an older lake, erased shoppers are erased again, by their tombstones alone."""

import json
import shutil
from datetime import UTC, datetime

import pytest

from lastaisle.lake.tables import ERASED
from lastaisle.privacy.erased import mark
from lastaisle.rights.erasure import Subjects
from lastaisle.rights.inbox import InboxError
from lastaisle.rights.reapply import reapply
from lastaisle.rights.requests import DONE
from lastaisle.rights.restored import keep_tombstones
from lastaisle.rights.work import ask, work
from tests.privacy.worlds import event

from .conftest import ANNA, BERTA


@pytest.fixture
def restored(shop):
    """A lake of before the erasure of Anna, in the place of the lake after it."""
    backup = shop.folder.parent / "backup"
    shutil.copytree(shop.folder / "lake", backup)
    work(shop.desk, ask(shop.desk, "erase", [ANNA], "clerk").request_id, actor="clerk")
    assert shop.users() == {BERTA}
    shutil.rmtree(shop.folder / "lake")
    shutil.copytree(backup, shop.folder / "lake")
    assert ANNA in shop.users()
    return shop


def test_shoppers_whom_a_restore_brought_back_are_erased_again(restored):
    (file,) = (restored.desk.inbox.folder / "erased").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert ANNA not in file.read_text()
    assert not any(
        name in file.read_text() for name in Subjects.of([ANNA], restored.keys).pseudonyms("user_id", [ANNA])
    )

    counted = reapply(restored.desk, "clerk")
    assert (counted.erasures, counted.elsewhere, counted.put_back, counted.shoppers) == (1, 0, 1, 1)
    assert restored.lake.version(ERASED) is None, "a dry run"
    again = reapply(restored.desk, "clerk", dry_run=False)
    assert work(restored.desk, again.request_id, actor="clerk").last.state == DONE
    assert restored.users() == {BERTA}
    told = reapply(restored.desk, "clerk", dry_run=False)
    assert (told.erasures, told.put_back, told.shoppers, told.request_id) == (2, 0, 0, "")
    restored.ingest(event("a", session_id="visit-of-anna"), event("z", 9, user_id="carl"))
    assert restored.users() == {BERTA, "carl"}


def test_shoppers_of_whom_only_pseudonyms_are_left_are_erased_too(restored):
    """The retention of raw_events is shorter than that of events."""
    shutil.rmtree(restored.folder / "lake" / "raw_events")
    shutil.rmtree(restored.folder / "lake" / "quarantine")
    assert restored.lake.scan("events").num_rows == 5
    again = reapply(restored.desk, "clerk", dry_run=False)
    assert again.shoppers == 1
    done = work(restored.desk, again.request_id, actor="clerk")
    assert (done.last.state, done.last.counts["found"]) == (DONE, 0)
    assert sorted(restored.lake.scan("events")["item_id"].to_pylist()) == ["d", "e"]


def test_a_shopper_who_came_back_after_the_erasure_is_left_alone(shop):
    for number, before in enumerate(("2020-01-01", "2026-01-01")):  # the rows are of 2025
        moment = datetime.fromisoformat(before).replace(tzinfo=UTC)
        mark(shop.lake, shop.keys, [ANNA], moment, f"{number:016x}")
        keep_tombstones(shop.desk.inbox, shop.lake)
        assert reapply(shop.desk, "clerk").shoppers == number
    assert ANNA in shop.users()


def test_erasures_of_another_lake_are_counted_and_taken_by_its_address(restored):
    (file,) = (restored.desk.inbox.folder / "erased").iterdir()
    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"lake": "s3://old/lake"}))
    told = reapply(restored.desk, "clerk")
    assert (told.erasures, told.elsewhere, told.shoppers) == (0, 1, 0)
    assert reapply(restored.desk, "clerk", of_lake="s3://old/lake").shoppers == 1


def test_a_damaged_file_of_tombstones_stops_the_work(restored):
    (file,) = (restored.desk.inbox.folder / "erased").iterdir()
    file.write_text(file.read_text()[:-5])
    with pytest.raises(InboxError, match="put the file back from a backup"):
        reapply(restored.desk, "clerk", dry_run=False)
    assert restored.lake.version(ERASED) is None
