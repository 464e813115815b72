"""The shelf follows the catalogue: what is sold out goes, and a lake that cannot be read changes nothing."""

from __future__ import annotations

import gc
import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lastaisle.lake import Lake
from lastaisle.lake.tables import ITEMS, ITEMS_SCHEMA
from lastaisle.serve.shown import shelf as shelf_module
from lastaisle.serve.shown.filters import FilterError
from lastaisle.serve.shown.shelf import Shelf
from tests.serve.shelves import YESTERDAY, Model, row, settings_of, store

MODEL: Any = Model("1", "2", "3", "gone")


def allowed(shelf: Shelf, model: Any = MODEL) -> str | None:
    """Return the ids that a model may show, as one text."""
    mask = shelf.of(model).allowed
    return None if mask is None else " ".join(model.items[mask])


def looked(settings: Any) -> Shelf:
    shelf = Shelf(settings)
    shelf.look()
    return shelf


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def settings(tmp_path):
    settings = settings_of(tmp_path, catalogue_poll_seconds=0.1)
    store(settings, row("1", title="Lamp", price=10.0), row("2", title="Knife"), row("4", title="New"))
    return settings


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests set; it begins now."""

    class Clock(datetime):
        moment = datetime.now(UTC)

        @classmethod
        def now(cls, tz=None):
            return cls.moment

    monkeypatch.setattr(shelf_module, "datetime", Clock)
    return Clock


def test_without_a_catalogue_everything_may_be_shown(tmp_path):
    shelf = Shelf(settings_of(tmp_path))
    assert not shelf.ready
    shelf.look()
    view = shelf.of(MODEL)
    assert (shelf.ready, shelf.problem, shelf.has_catalogue, shelf.age_seconds) == (True, "", False, None)
    assert (view.allowed, view.penalties(), view.titles(["1"]), view.search("a")) == (None, None, [None], [])
    for ask in (view.mask, view.penalties):
        with pytest.raises(FilterError, match="no catalogue"):
            ask("price < 5")


def test_a_table_that_never_got_a_row_says_nothing_about_any_item(tmp_path):
    settings = settings_of(tmp_path)
    Lake(settings.lake.url).append(ITEMS, ITEMS_SCHEMA.empty_table(), key="made")
    shelf = looked(settings)
    assert (shelf.ready, shelf.has_catalogue, allowed(shelf)) == (True, False, None)


def test_only_items_that_the_catalogue_lists_and_has_are_shown(settings):
    store(
        settings,
        row("2", available=False, valid_from=YESTERDAY + timedelta(hours=1)),
        row("3", available=None),
    )
    shelf = looked(settings)
    view = shelf.of(MODEL)
    assert allowed(shelf) == "1 3"
    assert MODEL.items[view.penalties() == -np.inf].tolist() == ["", "2", "gone"]
    assert MODEL.items[view.penalties() == 0.0].tolist() == ["1", "3"]
    assert MODEL.items[view.penalties("price < 50") == 0.0].tolist() == ["1"]
    assert MODEL.items[view.mask("title == 'Knife'")].tolist() == []  # the newer row has no title
    assert view.titles(["4", "1", "gone", "?"]) == ["New", "Lamp", None, None]
    assert shelf.age_seconds is not None


def test_masks_are_kept_and_nobody_can_change_them(settings):
    view = looked(settings).of(MODEL)
    for ask in (view.mask, view.penalties, view.row_mask):
        assert ask("price < 50") is ask("price < 50")
        with pytest.raises(ValueError, match="read-only"):
            ask("price < 50")[0] = True
    with pytest.raises(ValueError, match="read-only"):
        view.penalties()[0] = 0.0
    with pytest.raises(FilterError, match="do you mean price"):
        view.penalties("prise < 50")


def test_a_catalogue_of_which_every_item_is_removed_sells_nothing(settings):
    later = YESTERDAY + timedelta(hours=1)
    store(settings, *(row(item, removed=True, valid_from=later) for item in "124"))
    shelf = looked(settings)
    assert (shelf.ready, shelf.has_catalogue, allowed(shelf)) == (True, True, "")
    assert shelf.of(MODEL).mask("price < 50 or not available or title in ['x']").tolist() == [False] * 5
    assert (shelf.of(MODEL).titles(["1"]), shelf.of(MODEL).search("Lamp")) == ([None], [])


def test_items_are_found_by_title_and_by_id(settings):
    store(settings, row("lamp-9", title="Shade"), row("9", title=None))
    view = looked(settings).of(MODEL)
    assert view.search("LAMP") == [("1", "Lamp")]
    assert view.search("e") == [("2", "Knife"), ("4", "New"), ("lamp-9", "Shade")]
    assert view.search("9") == [("9", None), ("lamp-9", "Shade")]
    assert view.search("e", limit=1) == [("2", "Knife")]
    assert view.search("lamp.") == []


def test_a_running_shelf_follows_the_table_and_prepares_the_models_in_use(settings):
    events: list[str] = []
    shelf = Shelf(settings, on_event=events.append)
    shelf.start()
    try:
        wait_for(lambda: shelf.ready)
        assert allowed(shelf) == "1 2"
        before = shelf.of(MODEL)
        store(settings, row("2", available=False, valid_from=datetime.now(UTC)))
        wait_for(lambda: shelf.of(MODEL) is not before)
        assert allowed(shelf) == "1"
        unchanged = shelf.of(MODEL)
        time.sleep(0.4)
        assert shelf.of(MODEL) is unchanged
        assert events[-1].endswith("lists 3 items, 2 of them for sale")
    finally:
        shelf.stop()
    assert shelf.problem == ""


def test_a_row_of_the_future_becomes_true_at_its_time_also_while_the_lake_is_away(settings, clock):
    in_an_hour, in_two = clock.moment + timedelta(hours=1), clock.moment + timedelta(hours=2)
    store(
        settings,
        row("2", available=False, valid_from=in_an_hour),
        row("3", valid_from=in_an_hour),
        row("1", removed=True, valid_from=in_two),
    )
    shelf = looked(settings)
    assert allowed(shelf) == "1 2"
    shutil.move(settings.lake.url, settings.lake.url + "-away")
    for moment, expected in ((in_an_hour - timedelta(seconds=1), "1 2"), (in_an_hour, "1 3"), (in_two, "3")):
        clock.moment = moment
        shelf.look()
        shelf.turn()
        assert allowed(shelf) == expected
    assert "is gone" in shelf.problem
    again = looked(settings)  # another start, from the file
    assert (again.ready, allowed(again)) == (True, "3")


def test_a_clock_that_goes_back_takes_nothing_back(settings, clock):
    store(settings, row("2", available=False, valid_from=clock.moment - timedelta(seconds=5)))
    assert allowed(looked(settings)) == "1"
    clock.moment -= timedelta(minutes=1)
    shutil.move(settings.lake.url, settings.lake.url + "-away")
    assert allowed(looked(settings)) == "1"


def _take_rights(settings):
    (Path(settings.lake.url) / ITEMS / "_delta_log").rename(Path(settings.lake.url) / ITEMS / "log")


def _damage_log(settings):
    for file in (Path(settings.lake.url) / ITEMS / "_delta_log").glob("*.json"):
        file.write_text("{")


def _damage_rows(settings):
    """Damage the rows of a further commit."""
    store(settings, row("2", available=False, valid_from=datetime.now(UTC)))
    for file in (Path(settings.lake.url) / ITEMS).glob("*.parquet"):
        file.write_bytes(b"PAR1 no rows PAR1")


def _remove_rows(settings):
    store(settings, row("2", available=False, valid_from=datetime.now(UTC)))
    for file in (Path(settings.lake.url) / ITEMS).glob("*.parquet"):
        file.unlink()


DAMAGES = [_take_rights, _damage_log, _damage_rows, _remove_rows]


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_last_good_state_stays_while_the_table_cannot_be_read(settings, damage):
    shelf = looked(settings)
    kept = shelf.of(MODEL)
    damage(settings)
    shelf.look()
    assert shelf.of(MODEL) is kept
    assert "cannot be read; the items of " in shelf.problem
    assert ITEMS in shelf.problem
    again = looked(settings)  # a new service on the same machine
    assert (again.ready, allowed(again)) == (True, "1 2")
    assert "cannot be read" in again.problem
    assert again.age_seconds is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_table_that_cannot_be_read_never_counts_as_no_catalogue(settings, damage):
    damage(settings)
    shelf = looked(settings)
    assert not shelf.ready
    assert "the catalogue cannot be read" in shelf.problem


def test_a_problem_ends_when_the_lake_is_back_and_is_told_once(settings, caplog):
    events: list[str] = []
    shelf = Shelf(settings, on_event=events.append)
    shelf.look()
    away = settings.lake.url + "-away"
    shutil.move(settings.lake.url, away)
    shelf.look()
    shelf.look()
    assert "is gone, or holds no row any more; the items of " in shelf.problem
    assert len(caplog.records) == 1
    shutil.move(away, settings.lake.url)
    shelf.look()
    assert shelf.problem == ""
    assert events[-1] == "catalogue: it can be read again"


def test_a_table_that_was_made_anew_is_read_although_its_version_is_the_same(settings):
    shelf = looked(settings)
    shutil.rmtree(settings.lake.url)
    store(settings, row("3"))
    shelf.look()
    assert allowed(shelf) == "3"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 1000, "cut"])
def test_a_damaged_file_of_rows_is_passed_over(settings, content, caplog):
    shelf = looked(settings)
    path = shelf._file.path
    path.write_bytes(path.read_bytes()[:-100] if content == "cut" else content)
    again = looked(settings)
    assert (again.problem, allowed(again)) == ("", "1 2")
    assert str(path) in caplog.text
    assert looked(settings)._file.load() is not None  # it was written anew


def test_a_flipped_bit_in_the_file_of_rows_is_noticed(settings):
    file = looked(settings)._file
    path = file.path
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    with pytest.raises((OSError, ValueError)):
        file.load()


def test_a_folder_that_cannot_be_written_stops_nothing(settings, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    shelf = looked(settings.replace(serve_cache=str(blocked)))
    assert (shelf.ready, shelf.problem, allowed(shelf)) == (True, "", "1 2")


def test_lakes_that_share_a_machine_have_files_of_their_own(settings, tmp_path):
    looked(settings)
    other = settings.replace(lake=str(tmp_path / "other"))
    assert not looked(other).has_catalogue


def test_a_file_that_a_killed_writer_left_is_removed(settings):
    shelf = looked(settings)
    left = shelf._file.path.parent / f".{shelf._file.path.stem}-x.inprogress"
    left.write_bytes(b"")
    shelf._file.save(shelf._kept)
    assert left.exists()  # it may still be written
    os.utime(left, (0, 0))
    shelf._file.save(shelf._kept)
    assert not left.exists()


def test_views_go_with_their_models(settings):
    shelf = looked(settings)
    model: Any = Model("1")
    shelf.of(model)
    assert len(shelf._shown.views) == 1
    del model
    gc.collect()
    assert len(shelf._shown.views) == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ended_is_a_problem(settings, monkeypatch):
    shelf = Shelf(settings)
    monkeypatch.setattr(shelf, "look", lambda: (_ for _ in ()).throw(SystemExit))
    shelf.start()
    wait_for(lambda: "has ended" in shelf.problem)
