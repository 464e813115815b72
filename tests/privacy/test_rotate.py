"""A rotation gives all events a new key, is repeated after a kill, and loses no event unasked."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.errors import ExitCode
from lastaisle.lake.tables import EVENTS
from lastaisle.privacy.anonymize import AnonymizeError, anonymize_shard
from lastaisle.privacy.keys import ENVIRONMENT, KeyFileError, PseudonymKeys
from lastaisle.privacy.rotate import rotate, rotate_pseudonyms
from tests.privacy.worlds import World, event

ROOT = Path(__file__).resolve().parents[2]
#: Where a rotation is killed: the class, and the method after which, or before which, it is killed.
BOUNDARIES = {
    "before the key": ("lastaisle.privacy.keys.PseudonymKeys", "rotate", "before"),
    "after the key": ("lastaisle.privacy.keys.PseudonymKeys", "rotate", "after"),
    "after the files, before the commit": ("lastaisle.lake.query.Query", "write", "after"),
    "after the commit": ("lastaisle.lake.Lake", "overwrite", "after"),
}
KILLED = """
import os, pkgutil, signal, sys
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.privacy.rotate import rotate

lake, keys, holder, method, moment = sys.argv[1:]
holder = pkgutil.resolve_name(holder)
original = getattr(holder, method)

def killing(*arguments, **options):
    if moment == "after":
        original(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(holder, method, killing)
rotate(Lake(lake), PseudonymKeys.load(keys, environ={}), dry_run=False)
"""


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def test_rotation_gives_every_shopper_a_new_pseudonym_and_keeps_shoppers_apart(world):
    world.ingest(event("a", 0), event("b", 5), event("c", 6, user_id="berta"))
    world.ingest(event("d", 8))
    before = world.events()
    keys = world.keys.rotate()
    assert rotate_pseudonyms(world.lake, keys) == 4
    after = world.events()
    assert {row["key_version"] for row in after} == {2}
    for name in ("user_id", "session_id"):
        assert not {row[name] for row in before} & {row[name] for row in after}
    treated = {"user_id", "session_id", "key_version"}
    assert [{k: v for k, v in row.items() if k not in treated} for row in before] == [
        {k: v for k, v in row.items() if k not in treated} for row in after
    ]
    assert list(world.sessions().values()) == [["a", "b", "d"], ["c"]]
    assert rotate_pseudonyms(world.lake, keys) == 0
    world.keys = keys
    world.ingest(event("e", 9))
    assert list(world.sessions().values()) == [["a", "b", "d", "e"], ["c"]]


def test_rotation_leaves_no_old_pseudonym_in_the_files_after_a_vacuum(world):
    world.ingest(event("a"))
    old = world.events()[0]["user_id"]
    rotate_pseudonyms(world.lake, world.keys.rotate())
    world.lake.vacuum("events", keep_hours=0)
    files = list((world.folder / "lake" / "events").rglob("*.parquet"))
    assert len(files) == 1
    assert old not in repr(pq.ParquetFile(files[0]).read().to_pylist())


def test_rotation_refuses_to_lose_events_whose_raw_rows_are_gone(world):
    world.ingest(event("a"), event("b"))
    world.lake.table("raw_events").delete("item_id = 'a'")
    with pytest.raises(AnonymizeError, match=r"1 events of .* have no raw rows"):
        rotate_pseudonyms(world.lake, world.keys.rotate())
    assert {row["key_version"] for row in world.events()} == {1}


def test_rotation_of_an_empty_lake_writes_nothing(world):
    assert rotate_pseudonyms(world.lake, world.keys) == 0


def test_a_dry_run_changes_nothing(world):
    world.ingest(event("a"), event("b"))
    version, text = world.lake.version(EVENTS), (world.folder / "keys.json").read_text()
    report = rotate(world.lake, world.keys)
    assert (report.dry_run, report.new_key, report.key_version) == (True, True, 2)
    assert (report.events_by_key, report.rows_written, report.rows_deleted) == ({1: 2}, 2, 0)
    assert (world.lake.version(EVENTS), (world.folder / "keys.json").read_text()) == (version, text)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_killed_rotation_is_finished_by_the_next(world, boundary):
    world.ingest(event("a", 0), event("b", 5), event("c", 6, user_id="berta"))
    place = [str(world.folder / "lake"), str(world.folder / "keys.json"), *BOUNDARIES[boundary]]
    killed = subprocess.run([sys.executable, "-c", KILLED, *place], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    world.keys = PseudonymKeys.load_or_create(world.folder / "keys.json", environ={})
    assert world.keys.current == (1 if boundary == "before the key" else 2)
    world.ingest(event("d", 7))  # with the newest key, before anybody noticed
    report = rotate(world.lake, world.keys, dry_run=False)
    assert report.key_version == (3 if boundary == "after the commit" else 2)
    assert {row["key_version"] for row in world.events()} == {report.key_version}
    assert list(world.sessions().values()) == [["a", "b", "d"], ["c"]]
    assert len({row["user_id"] for row in world.events()}) == 2


def test_events_without_raw_rows_are_deleted_only_if_asked(world):
    world.ingest(event("a"), event("b"))
    world.lake.table("raw_events").delete("item_id = 'a'")
    for dry_run in (True, False):
        with pytest.raises(AnonymizeError, match="--delete-without-raw"):
            rotate(world.lake, world.keys, dry_run=dry_run)
    assert PseudonymKeys.load(world.folder / "keys.json", environ={}).current == 1
    assert rotate(world.lake, world.keys, delete_without_raw=True).rows_deleted == 1
    report = rotate(world.lake, world.keys, delete_without_raw=True, dry_run=False)
    assert (report.rows_written, report.rows_deleted) == (1, 1)
    assert [(row["item_id"], row["key_version"]) for row in world.events()] == [("b", 2)]


def test_a_batch_that_waits_for_a_shard_is_named(world):
    world.stage([event(f"{user}", user_id=f"user-{user}") for user in "abcdefgh"], 3)
    anonymize_shard(1, world.lake, world.keys)
    with pytest.raises(AnonymizeError, match=r"1 batches in raw_events .* not completely anonymized"):
        rotate(world.lake, world.keys, dry_run=False)


def test_a_key_of_the_environment_is_changed_there(world):
    world.keys = PseudonymKeys.load_or_create("none", environ={ENVIRONMENT: "ab" * 32})
    world.ingest(event("a"), event("b"))
    for dry_run in (True, False):
        with pytest.raises(KeyFileError, match="set it to 2:"):
            rotate(world.lake, world.keys, dry_run=dry_run)
    new = PseudonymKeys.load_or_create("none", environ={ENVIRONMENT: "2:" + "cd" * 32})
    report = rotate(world.lake, new, dry_run=False)
    assert (report.new_key, report.key_version, report.rows_written) == (False, 2, 2)


def test_another_key_of_the_same_version_is_refused_before_any_row(world):
    """A lost key file would otherwise be made anew, and every shopper would be two shoppers."""
    world.ingest(event("a"))
    (world.folder / "keys.json").unlink()
    world.keys = PseudonymKeys.load_or_create(world.folder / "keys.json", environ={})
    version = world.lake.version("raw_events")
    with pytest.raises(KeyFileError, match="made by another key"):
        world.ingest(event("b"))
    assert world.lake.version("raw_events") == version
    report = rotate(world.lake, world.keys, dry_run=False)
    assert (report.new_key, report.key_version) == (True, 2)
    world.keys = PseudonymKeys.load(world.folder / "keys.json", environ={})
    world.ingest(event("b", 1))
    assert len({row["user_id"] for row in world.events()}) == 1


@pytest.fixture
def command(world, monkeypatch):
    """command(*arguments): run a command on the lake and the keys; return exit code, output and report."""
    monkeypatch.setenv("LASTAISLE_LAKE", str(world.folder / "lake"))
    monkeypatch.setenv("LASTAISLE_KEY_FILE", str(world.folder / "keys.json"))
    monkeypatch.setenv("LASTAISLE_HOME", str(world.folder))
    monkeypatch.delenv(ENVIRONMENT, raising=False)

    def run(*arguments: str) -> tuple[int, str, dict]:
        report = world.folder / "report.json"
        report.unlink(missing_ok=True)
        result = CliRunner().invoke(cli.app, ["keys", *arguments, "--report", str(report)])
        text = "" if result.exception is None else str(result.exception)
        code = getattr(result.exception, "exit_code", result.exit_code)
        return code, result.output + text, json.loads(report.read_text()) if report.exists() else {}

    return run


def test_the_commands_show_and_rotate_the_keys_without_printing_one(world, command):
    world.ingest(event("a"), event("b"))
    shown = [command("show"), command("rotate"), command("show"), command("rotate", "--no-dry-run")]
    shown.append(command("show"))
    assert [code for code, _, _ in shown] == [0] * 5
    assert shown[0][2] == shown[2][2]
    assert "dry run: nothing was changed" in shown[1][1]
    keys = PseudonymKeys.load(world.folder / "keys.json", environ={})
    for row, version in zip(shown[4][2]["keys"], (1, 2), strict=True):
        assert row["version"] == version
        assert row["fingerprint"] == row["made_by"] == keys.fingerprint(version)
        assert (row["current"], row["events"]) == {1: (False, 0), 2: (True, 2)}[version]
    assert shown[4][2]["keys"][1]["domains"]
    for _, output, report in shown:
        assert not any(secret.hex() in output + repr(report) for secret in keys.versions.values())


def test_the_commands_make_no_first_key(world, command):
    (world.folder / "keys.json").unlink()
    for words in (["show"], ["rotate"], ["rotate", "--no-dry-run"]):
        code, output, _ = command(*words)
        assert code == ExitCode.KEY_UNUSABLE
        assert "there is no pseudonym key" in output
    assert not (world.folder / "keys.json").exists()


def test_a_rotation_that_would_lose_events_ends_with_its_exit_code(world, command):
    world.ingest(event("a"), event("b"))
    world.lake.table("raw_events").delete("item_id = 'a'")
    assert command("rotate", "--no-dry-run")[0] == ExitCode.NOT_ANONYMIZED
    assert command("rotate", "--no-dry-run", "--delete-without-raw")[0] == 0
