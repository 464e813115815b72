"""The files in which the dashboard keeps what it computed: a later start reads only what is new."""

import logging
import stat
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.dashboard import kept
from lastaisle.dashboard.figures import cube as cubes
from lastaisle.dashboard.figures import reports
from lastaisle.dashboard.figures.cube import shop_cube
from lastaisle.dashboard.figures.reports import Unreadable, find_reports, measured_in
from lastaisle.dashboard.source import Source
from lastaisle.lake.tables import SHOP_METRICS
from tests.dashboard.released import Runs, evaluation_of
from tests.dashboard.shop_rows import hour_rows, write_rows

START = datetime(2026, 11, 1, tzinfo=UTC)
RUNS = [(f"run-{number}", True) for number in range(30)]


def some_days(first, days):
    return [row for day in range(days) for row in hour_rows(START + timedelta(days=first + day))]


@pytest.fixture
def read(monkeypatch):
    """Return the blocks of days that are read of the table."""
    found = []
    read_block = cubes._read_block
    monkeypatch.setattr(cubes, "_read_block", lambda *given: found.append(given[2]) or read_block(*given))
    return found


@pytest.fixture
def shop(source):
    write_rows(source.lake, some_days(0, 4), "first")
    return source.lake


@pytest.fixture
def runs():
    found = Runs()
    found.stored = {run_id: evaluation_of(run_id, 0.5) for run_id, _ in RUNS}
    return found


def start(source, runs=None):
    """Return what the pages read after another start with the same home."""
    newest = Source(source.settings)
    if runs is not None:
        newest.registry = runs
    return newest


def files(source):
    return sorted(path for path in source.files.folder.rglob("*") if path.is_file())


def equal(one, other):
    return all(
        getattr(one, name)
        .sort_by([(key, "ascending") for key in keys])
        .equals(getattr(other, name).sort_by([(key, "ascending") for key in keys]))
        for name, keys in (
            ("days", ("hour", "position", "currency")),
            ("hours", ("hour", "position", "currency")),
            ("serving", ("hour",)),
        )
    )


def test_a_start_reads_no_day_of_the_shop_again(source, shop, read):
    first = shop_cube(source)
    assert read
    read.clear()
    again = shop_cube(start(source))
    assert read == []
    assert equal(again, first)
    assert (again.version, again.states) == (first.version, first.states)


def test_a_start_reads_only_the_days_that_changed(source, shop, read):
    shop_cube(source)
    write_rows(shop, some_days(2, 1), "second")
    read.clear()
    newest = shop_cube(start(source))
    day = (START + timedelta(days=2)).date()
    assert read == [(day, day)]
    assert equal(newest, cubes.read_cube(shop))
    read.clear()
    shop_cube(start(source))
    assert read == [], "the changed day is kept too"


def test_a_table_that_was_made_anew_is_read_anew(source, shop, read):
    shop_cube(source)
    for path in sorted((source.settings.home / "lake" / SHOP_METRICS).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    write_rows(shop, some_days(0, 2), "other")
    read.clear()
    assert shop_cube(start(source)).newest_day == (START + timedelta(days=1)).date()
    assert len(read) == 1


def test_rows_that_are_gone_from_the_table_are_gone_from_the_file(source, shop):
    shop_cube(source)
    shop.table(SHOP_METRICS).delete(f"event_date = '{START.date()}'")
    shop_cube(start(source))
    assert shop_cube(start(source)).first == START + timedelta(days=1)


def test_the_files_are_private(source, shop):
    shop_cube(source)
    (path,) = files(source)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-20],
        lambda content: content[:200] + b"x" + content[201:],
        lambda _: b"",
        lambda _: b"\n\n\n",
        lambda _: b"PAR1 a file of another program",
        lambda content: content.partition(b"\n")[0],
    ],
)
def test_a_damaged_file_is_told_and_made_anew(source, shop, read, caplog, damage):
    first = shop_cube(source)
    (path,) = files(source)
    path.write_bytes(damage(path.read_bytes()))
    read.clear()
    with caplog.at_level(logging.WARNING):
        assert equal(shop_cube(start(source)), first)
    assert read
    assert f"{path} cannot be used" in caplog.text
    read.clear()
    shop_cube(start(source))
    assert read == []


def test_a_content_that_cannot_be_read_is_told(source, shop, read, caplog):
    shop_cube(source)
    (path,) = files(source)
    source.files.save(path, cubes._FORM, b'{"version": 1}\nno table')
    read.clear()
    assert shop_cube(start(source)) is not None
    assert read
    assert "cannot be used" in caplog.text


def test_figures_of_another_release_are_computed_anew_without_a_warning(source, shop, read, caplog):
    shop_cube(source)
    (path,) = files(source)
    source.files.save(path, "another-form", b"its content")
    read.clear()
    with caplog.at_level(logging.WARNING):
        shop_cube(start(source))
    assert read
    assert caplog.text == ""


def test_a_folder_in_place_of_the_file_stops_nothing(source, shop, caplog):
    shop_cube(source)
    (path,) = files(source)
    path.unlink()
    path.mkdir()
    assert shop_cube(start(source)) is not None
    assert f"{path} cannot be used" in caplog.text


def test_a_home_that_cannot_be_written_is_told_once(source, shop, runs, monkeypatch, caplog):
    def refuse(_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(kept, "whole_file", refuse)
    source.registry = runs
    assert shop_cube(source) is not None
    assert find_reports(source, RUNS).by_run["run-0"].score("recall@20").value == 0.5
    told = [one.getMessage() for one in caplog.records if "Read-only file system" in one.getMessage()]
    assert len(told) == 1
    assert "It works without" in told[0]
    assert files(source) == []


def test_a_file_in_place_of_the_folder_is_told_once(source, shop, caplog):
    source.files.folder.write_text("a file")
    assert shop_cube(source) is not None
    for _ in range(2):
        source.files.save(source.files.folder / "shop" / "a", "form", b"content")
    assert caplog.text.count("It works without") == 1


def test_contents_that_are_too_large_are_not_kept(source, shop, monkeypatch, read):
    monkeypatch.setattr(kept, "MOST_BYTES", 1000)
    shop_cube(source)
    assert files(source) == []


def test_a_start_reads_no_report_again(source, runs):
    source.registry = runs
    first = find_reports(source, RUNS)
    assert len(runs.read) == len(RUNS)
    runs.read.clear()
    newest = start(source, runs)
    assert find_reports(newest, RUNS) == first
    assert measured_in(newest, "run-7") == first.by_run["run-7"]
    assert runs.read == []


def test_a_start_reads_the_reports_of_new_versions_and_of_those_that_wait(source, runs):
    source.registry = runs
    find_reports(source, [*RUNS[:10], ("run-10", False)])
    runs.read.clear()
    find_reports(start(source, runs), RUNS[:12])
    assert runs.read == ["run-10", "run-11"]


def test_reports_that_cannot_be_read_are_read_again(source, runs):
    source.registry = runs
    runs.stored |= {"run-1": "{"}
    del runs.stored["run-2"]
    found = find_reports(source, RUNS[:4]).by_run
    assert isinstance(found["run-1"], Unreadable)
    assert found["run-2"] is None
    runs.stored |= {"run-1": evaluation_of("run-1", 0.4), "run-2": evaluation_of("run-2", 0.3)}
    runs.read.clear()
    find_reports(start(source, runs), RUNS[:4])
    assert runs.read == ["run-1", "run-2"]


def test_reports_with_values_that_are_no_numbers_are_kept(source, runs):
    runs.stored["run-1"] = evaluation_of("run-1", float("nan"))
    source.registry = runs
    assert isinstance(find_reports(source, RUNS[:2]).by_run["run-0"], reports.Measured)
    runs.read.clear()
    find_reports(start(source, runs), RUNS[:1])
    assert runs.read == []


def test_the_reports_of_the_newest_versions_are_kept(source, runs, monkeypatch):
    monkeypatch.setattr(reports, "MOST_KEPT", 5)
    source.registry = runs
    find_reports(source, RUNS[:8])
    runs.read.clear()
    find_reports(start(source, runs), RUNS[:8])
    assert runs.read == ["run-0", "run-1", "run-2"]
    find_reports(start(source, runs), RUNS)
    runs.read.clear()
    find_reports(start(source, runs), RUNS)
    assert len(runs.read) == 25


def test_another_mlflow_has_reports_of_its_own(source, runs):
    source.registry = runs
    find_reports(source, RUNS[:2])
    settings = source.settings
    other = settings.model_copy(
        update={"registry": settings.registry.model_copy(update={"mlflow_uri": "http://other"})}
    )
    runs.read.clear()
    newest = Source(other)
    newest.registry = runs
    find_reports(newest, RUNS[:2])
    assert runs.read == ["run-0", "run-1"]
