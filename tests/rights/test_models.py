"""Model versions that learned from erased shoppers: which serve on, and which give way to which."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pyarrow as pa
import pytest

from lastaisle.lake import Lake
from lastaisle.lake.tables import TRAINING_RUNS
from lastaisle.registry import losses
from lastaisle.registry.ledger import ANCHOR, REGISTER, WITHDRAW, Ledger
from lastaisle.registry.registry import Registry
from lastaisle.registry.tags import RUN_KEY
from lastaisle.release import rollback as rolling
from lastaisle.release.release import sync_aliases
from lastaisle.rights import models
from lastaisle.rights.inbox import Waiting
from lastaisle.rights.models import retire_touched, touched_versions
from lastaisle.rights.requests import DONE, FAILED, WORKING, advance, register
from lastaisle.settings import Settings
from tests.registry.test_ledger import move, written

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
def test_the_champion_stays_where_no_clean_version_can_replace_it(
    lake, touched, policy, serves, words, monkeypatch
):
    if touched:
        ended(lake, 1, DONE, *touched)
    monkeypatch.setattr(models, "sync_aliases", lambda *_: None)
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
    monkeypatch.setattr(models, "sync_aliases", lambda *_: None)
    told = retire_touched(lake, REGISTRY, policy="retire", actor="clerk", dry_run=False)
    assert (told.moved_to, told.still_serves) == ("1", False)
    assert (asked["to_version"], asked["leaving"], asked["request_id"]) == ("1", "2", "erased-2")
    assert retire_touched(lake, REGISTRY, policy="retire", actor="clerk").still_serves, "a dry run"


@pytest.fixture
def real(empty_store, tmp_path, monkeypatch):
    """MLflow with four versions without files; 1 to 3 were promoted, 1 is the anchor, 4 the challenger."""
    home = tmp_path / "shop"
    (home / "mlflow").mkdir(parents=True)
    shutil.copy(empty_store, home / "mlflow")
    monkeypatch.setattr(losses, "missing_part", lambda *_: None)
    monkeypatch.setattr(rolling, "require_servable", lambda *_: "key")
    monkeypatch.setattr(rolling, "_say_forced", lambda *_: None)
    monkeypatch.setattr(Registry, "require_digest", lambda *_: None)
    settings = Settings.of(home=str(home))
    lake, registry = Lake(settings.lake.url), Registry(settings)
    registry.client.create_registered_model(registry.model_name)
    ledger = Ledger(lake, registry.model_name)

    def write(action, before, version, alias=None):
        row = move(action, before, version, f"{action}/{version}", alias)
        ledger.write(replace(row, model_name=registry.model_name, run_id=registry.run_of(version)))
        sync_aliases(lake, registry)

    for number in (1, 2, 3, 4):
        run_id = registry.begin_run(f"training {number}", {RUN_KEY: "key"})
        registry.client.create_model_version(registry.model_name, f"file:///nowhere/{number}", run_id)
    for number in ("1", "2", "3"):
        write("promote", ledger.standing().champion, number)
    write(ANCHOR, None, "1", "anchor")
    write(REGISTER, None, "4")
    return lake, registry, write


def held(registry):
    return {alias: version for alias, version in sorted(registry.aliases().items()) if alias != "online"}


def test_versions_that_learned_lose_their_aliases_as_soon_as_a_clean_version_serves(real):
    lake, registry, write = real
    before = {"anchor": "1", "challenger": "4", "champion": "3", "previous": "2"}
    assert held(registry) == before
    ended(lake, 1, DONE, "1", "2", "3")
    waiting = retire_touched(lake, registry, policy="retrain", actor="clerk", dry_run=False)
    assert (waiting.still_serves, waiting.withdrawn, held(registry)) == (True, (), before)
    write("promote", "3", "4")  # trained without the shopper
    dry = retire_touched(lake, registry, policy="retrain", actor="clerk")
    assert (dry.withdrawn, held(registry)["previous"]) == (("1", "2", "3"), "3")
    told = retire_touched(lake, registry, policy="retrain", actor="clerk", dry_run=False)
    assert (told.withdrawn, told.still_serves) == (("1", "2", "3"), False)
    assert told.words.endswith("none of them serves; v1, v2, v3 lost their aliases")
    assert held(registry) == {"challenger": "4", "champion": "4"}
    rows = [row for row in Ledger(lake, registry.model_name).moves() if row.action == WITHDRAW]
    assert [(row.to_version, row.alias, row.actor) for row in rows] == [
        *(("1", "anchor", "clerk"), ("2", "champion", "clerk"), ("3", "previous", "clerk"))
    ]
    assert retire_touched(lake, registry, policy="retrain", actor="clerk", dry_run=False).withdrawn == ()
    assert Ledger(lake, registry.model_name).check().broken == ()


def test_with_retire_a_clean_version_serves_at_once_and_no_alias_is_left(real):
    lake, registry, _ = real
    ended(lake, 1, DONE, "2", "3", "4")
    told = retire_touched(lake, registry, policy="retire", actor="clerk", dry_run=False)
    assert (told.champion, told.moved_to, told.withdrawn) == ("3", "1", ("4",))
    assert held(registry) == {"anchor": "1", "champion": "1"}


def test_a_version_that_learned_on_later_counts_too(real):
    lake, registry, _ = real
    started = {"run_id": registry.run_of("4"), "warm_start_version": "3"}
    lake.append(TRAINING_RUNS, pa.Table.from_pylist([started]), key="k")
    moves = Ledger(lake, registry.model_name).moves()
    ended(lake, 1, DONE, "3")
    assert touched_versions(lake, moves) == ("3", "4")
    assert touched_versions(lake) == ("3",)
