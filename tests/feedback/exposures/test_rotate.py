"""A rotation of the key gives exposures the new pseudonyms of the events, and loses none unnamed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.feedback.exposures.rotate import rotate_exposures
from lastaisle.feedback.metrics.count import count_metrics
from lastaisle.feedback.outcomes.attribute import attribute
from lastaisle.feedback.rotate import rotate_all
from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS, EXPOSURES, OUTCOMES, SHOP_METRICS, UNATTRIBUTED
from lastaisle.privacy import anonymize
from lastaisle.privacy.anonymize import AnonymizeError
from lastaisle.privacy.domains import LakeKey, key_of_lake
from lastaisle.privacy.keys import ENVIRONMENT, PseudonymKeys
from lastaisle.settings import Settings

from .conftest import NOW, Shown, feedback, row

ROOT = Path(__file__).resolve().parents[3]
DAY = "2025-10-09"
_OF_SHOPPERS = ("user_id", "session_id", "key_version", "shop_version")


def event(number: int, kind: str = "item_viewed", minutes: int = 5, **changes) -> dict:
    line = {
        "event_id": f"event-{number}",
        "event_type": kind,
        "occurred_at": f"{DAY}T12:{minutes:02}:00Z",
        "user_id": "anna",
        "session_id": "visit 1",
        "item_id": f"item-{number}",
    } | changes
    return {name: value for name, value in line.items() if value is not None}


def log(shown: Shown, *events: dict, name: str = "log.jsonl") -> None:
    """Ingest events with the newest key."""
    shown.keys = PseudonymKeys.load(shown.keys.path, environ={}) or shown.keys
    ingest(shown.write(events, name), "canonical", shown.lake, shown.keys, now=NOW, options=shown.options)


def renew(shown: Shown, **given) -> dict:
    """Rotate the key, and return the report."""
    shown.keys = PseudonymKeys.load(shown.keys.path, environ={})
    report = rotate_all(shown.lake, shown.keys, dry_run=False, **given).to_dict()
    shown.keys = PseudonymKeys.load(shown.keys.path, environ={})
    return report


def key_of(shown: Shown) -> LakeKey:
    return key_of_lake(shown.lake, shown.keys, shown.lake.version(EVENTS))


def shoppers(shown: Shown) -> dict[str, tuple]:
    """Return user, session and key of each exposure, by item."""
    return {one["item_id"]: (one["user_id"], one["session_id"], one["key_version"]) for one in shown.rows()}


def pair(key: LakeKey, user: str = "anna", session: str = "visit 1") -> tuple:
    return key.pseudonym("user_id", user), key.pseudonym("session_id", session), key.version


@pytest.fixture
def shop(shown) -> Shown:
    """Two shoppers who saw lists; one of them bought."""
    log(
        shown,
        event(1),
        event(1, "item_added", 6, event_id="a"),
        event(1, "order_completed", 7, event_id="o", order_id="o1", price=9.9, currency="EUR", quantity=2),
        event(2, user_id="berta", session_id="visit 2"),
    )
    shown.take(
        row(1),
        row(2, user_id="berta", session_id="visit 2", arm="popular", experiment="demo"),
        row(1, exposure_id="c1", kind="clicked", occurred_at=f"{DAY}T12:04:00Z"),
        row(3, kind="clicked", exposure_id="c3", recommendation_id="list-0"),
        form="exposures",
    )
    return shown


def test_exposures_get_the_pseudonyms_that_the_events_of_the_same_shopper_have(shop):
    before = shop.rows()
    report = renew(shop)
    assert shoppers(shop) == {
        "item-1": pair(key_of(shop)),
        "item-2": pair(key_of(shop), "berta", "visit 2"),
        "item-3": pair(key_of(shop)),
    }
    rest = [{name: one[name] for name in one if name not in _OF_SHOPPERS} for one in before]
    assert [{name: one[name] for name in one if name not in _OF_SHOPPERS} for one in shop.rows()] == rest
    assert (report["key_version"], report["rows_written"]) == (2, 4)
    assert report["exposures"] == {
        "rows_by_key": {1: 4},
        "rows_written": 4,
        "pseudonyms_lost": {},
        "rows_lost_by_day": {},
        "versions_gone": (),
    }


def test_the_figures_after_a_rotation_equal_those_before(shop):
    def figures():
        attribute(shop.lake, Settings.of())
        count_metrics(shop.lake)
        return {
            name: sorted(
                repr({field: one[field] for field in sorted(one) if field not in _OF_SHOPPERS})
                for one in shop.lake.scan(name).to_pylist()
            )
            for name in (OUTCOMES, UNATTRIBUTED, SHOP_METRICS)
        }

    before = figures()
    old = {one[name] for one in shop.rows() for name in ("user_id", "session_id")}
    assert all(before.values())
    renew(shop)
    assert figures() == before
    for name in (EXPOSURES, OUTCOMES, UNATTRIBUTED):
        assert not old & {
            text for one in shop.lake.scan(name).to_pylist() for text in one.values() if isinstance(text, str)
        }
    assert any("'orders': 1" in one for one in before[OUTCOMES])


def test_a_pseudonym_that_no_event_knows_becomes_empty_and_is_counted(shop):
    shop.take(
        row(7, user_id="zoe", session_id="visit 9", occurred_at="2025-10-08T12:00:00Z"),
        row(8, user_id="anna", session_id="visit 8"),
        row(9, user_id=None, session_id=None),
        form="exposures",
        name="more.jsonl",
    )
    planned = rotate_all(shop.lake, shop.keys).to_dict()
    assert planned["exposures"] == {
        "rows_by_key": {1: 7},
        "rows_written": 7,
        "pseudonyms_lost": {"user_id": 1, "session_id": 2},
        "rows_lost_by_day": {"2025-10-08": 1, DAY: 1},
        "versions_gone": (),
    }
    assert (planned["dry_run"], {key for *_, key in shoppers(shop).values()}) == (True, {1})
    report = renew(shop)
    assert report["exposures"] == planned["exposures"]
    found = shoppers(shop)
    user, _, key = pair(key_of(shop))
    assert (found["item-7"], found["item-8"]) == ((None, None, key), (user, None, key))
    assert found["item-9"] == (None, None, key)
    again = shop.take(
        row(7, user_id="zoe", session_id="visit 9", occurred_at="2025-10-08T12:00:00Z"),
        row(1),
        row(10),
        form="exposures",
        name="again.jsonl",
    )
    assert (again.rows_duplicate, again.rows_clean, again.rows_quarantined) == (2, 1, 0)


def test_a_pseudonym_of_the_new_key_stays_though_its_events_have_not_come(shop):
    renew(shop)
    late = feedback(20, key_version=2)
    shop.take(late, feedback(21, key_version=1, user_id="b" * 32), name="late.jsonl")
    renewed = renew(shop)  # finishes: a row has the old key
    assert (renewed["new_key"], renewed["key_version"]) == (False, 2)
    assert renewed["exposures"]["rows_written"] == 1
    assert shoppers(shop)["item-20"] == (late["user_id"], late["session_id"], 2)
    assert shoppers(shop)["item-21"] == (None, None, 2)


def test_feedback_with_the_old_key_that_comes_after_the_rotation_gets_the_new_pseudonyms(shop, caplog):
    old = pair(key_of(shop))
    renew(shop)
    late = feedback(20, user_id=old[0], session_id=old[1], key_version=1)
    report = shop.take(late, feedback(21, key_version=2), name="late.jsonl")
    assert report.warnings_by_rule["pseudonyms_of_another_key"] == 1
    assert "keys rotate" in caplog.text
    assert shoppers(shop)["item-20"] == old
    assert renew(shop)["exposures"]["rows_by_key"] == {1: 1, 2: 5}
    assert shoppers(shop)["item-20"] == pair(key_of(shop))
    assert shop.keys.current == 2
    assert renew(shop)["key_version"] == 3  # nothing was left to finish


def test_lines_without_a_key_get_the_new_pseudonyms_in_the_next_rotation(shop):
    """Older services name no key, and the senders of pseudonyms none either."""
    first = pair(key_of(shop))
    renew(shop)
    second = pair(key_of(shop))
    shop.take(
        feedback(20, user_id=first[0], session_id=first[1]),
        feedback(21, user_id=second[0], session_id=first[1]),
        name="late.jsonl",
    )
    assert shoppers(shop)["item-20"] == (*first[:2], 2)
    renew(shop)
    assert shoppers(shop)["item-20"] == shoppers(shop)["item-21"] == pair(key_of(shop))
    assert shop.keys.current == 3


def test_files_with_pseudonyms_may_name_their_key(shop):
    user, session, _ = pair(key_of(shop))
    renew(shop)
    theirs = {"user_id": None, "pseudonym": user, "session_id": None, "session_pseudonym": session}
    shop.take(
        row(20, **theirs, key_version=1),
        row(21, key_version=1),  # its pseudonyms are made by the key in use
        row(22, **theirs, key_version=0),
        form="exposures",
        name="late.jsonl",
    )
    found = {item: key for item, (*_, key) in shoppers(shop).items()}
    assert (found["item-20"], found["item-21"], "item-22" in found) == (1, 2, False)
    renew(shop)
    assert shoppers(shop)["item-20"] == shoppers(shop)["item-21"] == pair(key_of(shop))
    assert shop.keys.current == 2


def test_rows_of_a_key_before_the_last_rotation_get_the_newest_pseudonyms(shop):
    first = pair(key_of(shop))
    renew(shop)
    renew(shop)
    shop.take(feedback(20, user_id=first[0], session_id=first[1], key_version=1), name="late.jsonl")
    renew(shop)
    assert shoppers(shop)["item-20"] == pair(key_of(shop))
    assert shop.keys.current == 3


def test_a_version_of_events_that_maintenance_deleted_is_named(shop):
    first = pair(key_of(shop))
    version = shop.lake.version(EVENTS)
    renew(shop)
    shop.take(feedback(20, user_id=first[0], session_id=first[1], key_version=1), name="late.jsonl")
    shop.lake.vacuum(EVENTS, keep_hours=0)
    planned = rotate_all(shop.lake, shop.keys).to_dict()["exposures"]
    assert planned == renew(shop)["exposures"]
    assert (planned["versions_gone"], planned["pseudonyms_lost"]) == (
        (version,),
        {"user_id": 1, "session_id": 1},
    )
    assert shoppers(shop)["item-20"] == (None, None, 2)


def test_exposures_of_events_that_the_rotation_deletes_lose_their_pseudonyms(shop):
    shop.lake.table("raw_events").delete("user_id = 'berta'")
    planned = rotate_all(shop.lake, shop.keys, delete_without_raw=True).to_dict()
    report = renew(shop, delete_without_raw=True)
    assert report["exposures"] == planned["exposures"]
    assert report["exposures"]["pseudonyms_lost"] == {"user_id": 1, "session_id": 1}
    assert shoppers(shop)["item-2"] == (None, None, 2)


def test_exposures_are_not_changed_while_events_of_another_key_are_there(shop):
    version = shop.lake.version(EXPOSURES)
    with pytest.raises(AnonymizeError, match="rotate again"):
        rotate_exposures(shop.lake, 2)
    assert shop.lake.version(EXPOSURES) == version


def test_only_the_days_of_rows_that_change_are_written(shop):
    shop.take(row(7, occurred_at="2025-10-07T12:00:00Z"), form="exposures", name="early.jsonl")
    old = pair(key_of(shop))
    renew(shop)
    shop.take(feedback(20, user_id=old[0], session_id=None, key_version=1), name="late.jsonl")
    since = shop.lake.version(EXPOSURES)
    renew(shop)
    assert shop.lake.days_changed(EXPOSURES, since) == [date.fromisoformat(DAY)]


def test_a_rotation_without_exposures_or_without_events(shown):
    shown.take(row(1), form="exposures")
    assert renew(shown)["exposures"]["pseudonyms_lost"] == {"user_id": 1, "session_id": 1}
    assert shoppers(shown) == {"item-1": (None, None, 2)}


def test_rows_that_were_ingested_without_a_key_get_new_pseudonyms(shop):
    user, session, _ = pair(key_of(shop))
    shop.take(feedback(20, user_id=user, session_id=session), keys=None, name="no-key.jsonl")
    assert shoppers(shop)["item-20"] == (user, session, None)
    assert renew(shop)["key_version"] == 2
    assert shoppers(shop)["item-20"] == pair(key_of(shop))


def test_a_lost_key_is_no_loss_of_exposures(shop):
    """The old pseudonyms are found without the key that made them."""
    shop.keys.path.unlink()
    shop.keys = PseudonymKeys.load_or_create(shop.keys.path, environ={})
    report = renew(shop)
    assert (report["key_version"], report["exposures"]["pseudonyms_lost"]) == (2, {})
    assert shoppers(shop)["item-1"] == pair(key_of(shop))


def test_one_text_as_user_and_session_of_a_lake_without_domains_becomes_two_pseudonyms(shown, monkeypatch):
    both = dict.fromkeys(("user_id", "session_id"), "4711")
    old = LakeKey(1, shown.keys.key, "", separates=False)
    with monkeypatch.context() as before:
        before.setattr(LakeKey, "mark", {})
        before.setattr(anonymize, "key_of_lake", lambda *_: old)
        log(shown, event(1, **both))
    shown.take(row(1, **both), form="exposures")
    assert shoppers(shown)["item-1"] == pair(old, "4711", "4711")
    assert renew(shown)["exposures"]["pseudonyms_lost"] == {}
    assert shoppers(shown)["item-1"] == pair(key_of(shown), "4711", "4711")
    assert len(set(shoppers(shown)["item-1"])) == 3


def test_rows_that_another_run_adds_meanwhile_are_rotated_too(shop, monkeypatch):
    user, session, _ = pair(key_of(shop))
    real, added = Lake.replace_days, []

    def disturbed(*given, **options):
        if not added:
            added.append(feedback(20, user_id=user, session_id=session, key_version=1))
            shop.take(*added, name="meanwhile.jsonl")
        return real(*given, **options)

    monkeypatch.setattr(Lake, "replace_days", disturbed)
    assert renew(shop)["exposures"]["rows_written"] == 5
    assert shoppers(shop)["item-20"] == pair(key_of(shop))
    assert len(shop.rows()) == 5


# Rotates the key to that of the environment; dies by SIGKILL right before or right after a commit.
SCRIPT = """
import os, signal, sys
from lastaisle.feedback.rotate import rotate_all
from lastaisle.lake import Lake
from lastaisle.privacy.keys import PseudonymKeys

folder, method, when = sys.argv[1:]
real = getattr(Lake, method)

def deadly(*given, **options):
    if when == "after":
        real(*given, **options)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(Lake, method, deadly)
rotate_all(Lake(folder), PseudonymKeys.load("none"), dry_run=False)
"""
NEW_KEY = "2:" + "cd" * 32


@pytest.mark.service
@pytest.mark.parametrize("method", ["overwrite", "replace_days"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_kill_9_at_any_commit_and_a_second_run_give_the_same_tables(
    shop, tmp_path, monkeypatch, method, when
):
    calm = Lake(tmp_path / "calm")
    shutil.copytree(shop.lake.url, calm.url)
    keys = PseudonymKeys.load("none", environ={ENVIRONMENT: NEW_KEY})
    rotate_all(calm, keys, dry_run=False)
    monkeypatch.setenv(ENVIRONMENT, NEW_KEY)
    script = [sys.executable, "-c", SCRIPT, str(shop.lake.url), method, when]
    killed = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if (method, when) != ("replace_days", "after"):  # after the last commit nothing is left to finish
        report = rotate_all(shop.lake, keys, dry_run=False).to_dict()
        assert (report["new_key"], report["exposures"]["rows_written"]) == (False, 4)
    for name in (EVENTS, EXPOSURES):
        assert sorted(map(repr, shop.lake.scan(name).to_pylist())) == sorted(
            map(repr, calm.scan(name).to_pylist())
        )
    version = shop.lake.version(EXPOSURES)
    assert rotate_exposures(shop.lake, 2).rows_written == 0
    assert shop.lake.version(EXPOSURES) == version


def test_the_command_tells_of_both_tables(shop, monkeypatch):
    shop.take(row(7, user_id="zoe", session_id="visit 9"), form="exposures", name="more.jsonl")
    monkeypatch.setenv("LASTAISLE_LAKE", str(shop.lake.url))
    monkeypatch.setenv("LASTAISLE_KEY_FILE", str(shop.keys.path))
    monkeypatch.setenv("LASTAISLE_HOME", str(shop.folder))
    monkeypatch.delenv(ENVIRONMENT, raising=False)

    def run(*words):
        report = shop.folder / "report.json"
        result = CliRunner().invoke(cli.app, ["keys", *words, "--report", str(report)])
        assert result.exit_code == 0, result.output
        return result.output, json.loads(report.read_text())

    output, planned = run("rotate")
    lost = "No event knows the pseudonyms 1 of user_id and 1 of session_id in 1 exposures"
    assert "4 events and 5 exposures with key 2, a new key" in output
    assert lost in output
    output, done = run("rotate", "--no-dry-run")
    assert lost in output
    assert {**done, "dry_run": True} == planned
    assert [(one["events"], one["exposures"]) for one in run("show")[1]["keys"]] == [(0, 0), (4, 5)]
