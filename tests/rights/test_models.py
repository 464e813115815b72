"""Model versions that learned from erased shoppers: which serve on, and which give way to which."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from lastaisle.lake import Lake
from lastaisle.rights import models
from lastaisle.rights.inbox import Waiting
from lastaisle.rights.models import retire_touched, touched_versions
from lastaisle.rights.requests import DONE, FAILED, WORKING, advance, register
from tests.registry.test_ledger import written

REGISTRY = SimpleNamespace(model_name="checkout-recommender")


@pytest.fixture
def lake(tmp_path):
    """Versions 1 and 2 were promoted; 2 is champion."""
    written(str(tmp_path / "lake"), "1", "2")
    return Lake(tmp_path / "lake")


def ended(lake, number, state, *versions, decided="retrain_or_retire"):
    name = f"{number:016x}"
    register(lake, Waiting(name, "erase", "clerk", datetime.now(UTC), lake.url, ("anna",)), 28)
    advance(lake, name, WORKING, actor="clerk")
    told = [{"version": version, "decided": decided} for version in versions]
    advance(lake, name, state, actor="clerk", counts={"versions": told})


def test_only_requests_that_are_done_tell_which_versions_learned(lake):
    ended(lake, 1, DONE, "10", "9", "")
    ended(lake, 2, DONE, "3", decided="lost_vector")
    ended(lake, 3, FAILED, "4")
    assert touched_versions(lake) == ("9", "10")


@pytest.mark.parametrize(
    ("touched", "policy", "serves", "words"),
    [
        ((), "retire", False, ""),
        (("1",), "retire", False, "none of them serves"),
        (("2",), "retrain", True, "until a training without them is promoted"),
        (("1", "2"), "retire", True, "as no other version can"),
    ],
)
def test_the_champion_stays_where_no_clean_version_can_replace_it(lake, touched, policy, serves, words):
    if touched:
        ended(lake, 1, DONE, *touched)
    told = retire_touched(lake, REGISTRY, policy=policy, actor="clerk", dry_run=False)
    assert (told.champion, told.moved_to, told.still_serves) == ("2", None, serves)
    assert words in told.words


def test_a_clean_version_replaces_the_champion_at_once(lake, monkeypatch):
    ended(lake, 1, DONE, "2")
    asked = {}

    def rollback(*_, **given):
        asked.update(given)
        return SimpleNamespace(moved=not given["dry_run"])

    monkeypatch.setattr(models, "rollback", rollback)
    told = retire_touched(lake, REGISTRY, policy="retire", actor="clerk", dry_run=False)
    assert (told.moved_to, told.still_serves) == ("1", False)
    assert (asked["to_version"], asked["leaving"], asked["request_id"]) == ("1", "2", "erased-2")
    assert retire_touched(lake, REGISTRY, policy="retire", actor="clerk").still_serves, "a dry run"
