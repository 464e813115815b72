"""Online updates of a made-up shop's champion: stored once, dropped with it, folded into the next one."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from mlflow.cli import gc

from lastaisle.errors import RegistryError
from lastaisle.registry.registry import Registry
from lastaisle.release.gate import GateRules
from lastaisle.release.online import update_online
from lastaisle.release.release import current_champion, sync_aliases
from lastaisle.release.rollback import rollback
from lastaisle.sessions.windows import Window, training_sessions
from lastaisle.training.online import ARTIFACT, SHOPPERS, finished_until, load_with_updates, newest_delta
from models.online.delta import OnlineDelta

pytestmark = pytest.mark.training

SMALL = {"embedding_size": 16, "epochs": 3, "warm_epochs": 1, "negatives": 64, "learning_rate": 0.01}
CONSENT = "consent_personalization"
LAX = GateRules(margin=1.0)  # nothing is ever worse by 1.0


def end_of(day):
    return datetime(2025, 10, 6, tzinfo=UTC) + timedelta(days=day)


@pytest.fixture
def shop_online(home):
    """A shop whose champion is a small attention model."""
    home.settings = home.settings.replace(architecture="attention", hyperparameters=json.dumps(SMALL))
    assert home.day(1, LAX, architecture="attention").promote
    return home


def update(home, until):
    return update_online(current_champion(home.lake, home.registry), home.lake, home.registry, until)


def arrays(home, stored):
    with np.load(home.registry.client.download_artifacts(stored.run_id, ARTIFACT)) as file:
        return dict(file)


def test_a_delta_is_learned_once_and_served_and_folded_into_the_next_candidate(shop_online):
    home = shop_online
    champion = current_champion(home.lake, home.registry)
    noon = end_of(1) + timedelta(hours=12)
    first = update(home, noon)
    assert home.registry.aliases() == {
        "challenger": "1",
        "champion": "1",
        "online": first.version,
        "anchor": "1",
    }
    # The champion has learned up to eight hours before the first day's end; 200 sessions follow until noon.
    assert 320 <= first.sessions <= 345
    assert first.items_moved > 0
    assert update(home, noon) == first, "a second update without new sessions"

    second = update(home, end_of(2))
    assert second.sessions == pytest.approx(first.sessions + 200, abs=3)
    assert home.registry.aliases()["online"] == second.version != first.version

    # One update gives the same arrays as two: the watermark is stored with the arrays.
    stored = newest_delta("1", home.registry)
    both = arrays(home, stored)
    for run_id in home.registry.finished_runs("online-1"):
        home.registry.client.delete_run(run_id)
    update(home, end_of(2))
    again = newest_delta("1", home.registry)
    assert again.run_id != stored.run_id
    for name, values in arrays(home, again).items():
        np.testing.assert_array_equal(values, both[name])

    # A candidate begins with champion and delta, but not if the delta learned from the evaluation sessions.
    plain = home.registry.load_recommender(champion.run_id).arrays()["table"]
    assert not np.array_equal(
        load_with_updates(champion, home.registry, end_of(2))[0].arrays()["table"][: len(plain)], plain
    )
    before, shoppers = load_with_updates(champion, home.registry, end_of(2) - timedelta(seconds=1))
    assert shoppers is None
    np.testing.assert_array_equal(before.arrays()["table"], plain)


def test_a_delta_is_dropped_when_the_champion_moves(shop_online):
    home = shop_online
    update(home, end_of(1))
    online = home.registry.aliases()["online"]
    with pytest.raises(RegistryError, match="version 1 with online updates"):
        rollback(home.lake, home.registry, to_version=online, reason="no champion", dry_run=False)

    assert home.day(2, LAX, architecture="attention").promote
    champion = current_champion(home.lake, home.registry).version
    assert home.registry.aliases()["online"] == champion != "1"

    update(home, end_of(2))
    assert home.registry.aliases()["online"] not in ("1", champion)
    rollback(home.lake, home.registry, reason="it harms", dry_run=False)
    assert home.registry.aliases()["online"] == home.registry.aliases()["champion"] == "1"


def shoppers(stored_arrays):
    return dict(zip(stored_arrays["shoppers"].tolist(), stored_arrays["shopper_vectors"], strict=True))


def test_a_warm_start_keeps_the_vectors_of_shoppers_and_a_rollback_does_not(shop_online):
    home = shop_online
    noon = end_of(1) + timedelta(hours=12)
    update(home, noon)
    folded = newest_delta("1", home.registry)
    before = arrays(home, folded)
    assert home.day(2, LAX, architecture="attention").promote
    second = current_champion(home.lake, home.registry)
    assert home.registry.tags(second.run_id)[SHOPPERS] == folded.run_id

    update(home, end_of(2))
    after = shoppers(arrays(home, newest_delta(second.version, home.registry)))
    log = training_sessions(home.lake, Window(second.window_end, end_of(2), 1.0), end_of(4), None).log
    came_again = set(log.context["user"].tolist())
    gone_on = {name: vector for name, vector in shoppers(before).items() if name not in came_again}
    assert len(gone_on) > 100
    for name, vector in gone_on.items():
        np.testing.assert_array_equal(after[name], vector)
    moved = sorted(came_again & shoppers(before).keys())
    assert moved
    assert all(not np.array_equal(after[name], shoppers(before)[name]) for name in moved)

    # After the rollback the first champion's delta goes on without anything from the second's delta.
    rollback(home.lake, home.registry, reason="it harms", dry_run=False)
    update(home, end_of(2))
    first = current_champion(home.lake, home.registry)
    alone = OnlineDelta.on(home.registry.load_recommender(first.run_id))
    alone.restore(before)
    alone.learn_log(training_sessions(home.lake, Window(noon, end_of(2), 1.0), end_of(4), None).log)
    for name, values in arrays(home, newest_delta("1", home.registry)).items():
        np.testing.assert_array_equal(values, alone.arrays()[name])


def test_vectors_of_shoppers_survive_a_champion_without_updates_but_no_training_from_scratch(shop_online):
    home = shop_online
    update(home, end_of(1))
    run_id = newest_delta("1", home.registry).run_id
    for day in (2, 3):  # the second champion has no updates of its own
        assert home.day(day, LAX, architecture="attention").promote
        champion = current_champion(home.lake, home.registry)
        assert home.registry.tags(champion.run_id)[SHOPPERS] == run_id

    assert home.day(3, LAX, architecture="attention", kind="full").promote
    champion = current_champion(home.lake, home.registry)
    assert SHOPPERS not in home.registry.tags(champion.run_id)
    update(home, end_of(3))
    log = training_sessions(home.lake, Window(champion.window_end, end_of(3), 1.0), end_of(4), None).log
    found = arrays(home, newest_delta(champion.version, home.registry))
    assert set(found["shoppers"].tolist()) == set(log.context["user"].tolist())


def test_an_update_begins_without_shoppers_if_the_run_that_held_them_is_gone(shop_online, caplog):
    home = shop_online
    update(home, end_of(1))
    run_id = newest_delta("1", home.registry).run_id
    assert home.day(2, LAX, architecture="attention").promote
    champion = current_champion(home.lake, home.registry)
    home.registry.client.delete_run(run_id)
    collected = CliRunner().invoke(gc, ["--backend-store-uri", home.registry.uri, "--run-ids", run_id])
    assert collected.exit_code == 0, collected.output

    update(home, end_of(2))
    log = training_sessions(home.lake, Window(champion.window_end, end_of(2), 1.0), end_of(4), None).log
    found = arrays(home, newest_delta(champion.version, home.registry))
    assert set(found["shoppers"].tolist()) == set(log.context["user"].tolist())
    assert f"the run {run_id} is gone" in caplog.text


def test_a_shopper_who_withdraws_consent_is_forgotten_at_the_next_update(shop_online, shop):
    home = shop_online
    update(home, end_of(1))
    assert "u399" in shoppers(arrays(home, newest_delta("1", home.registry)))
    last = shop.events().filter(pc.field("user_id") == "u399").slice(14, 1)
    refusal = last.set_column(last.schema.names.index(CONSENT), CONSENT, pa.array([False]))
    home.lake.append("events", refusal, key="withdrawal")
    update(home, end_of(2))
    left = shoppers(arrays(home, newest_delta("1", home.registry)))
    assert "u399" not in left
    assert "u398" in left


def test_a_killed_update_leaves_nothing_behind(shop_online, monkeypatch):
    home = shop_online

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Registry, "log_packed", die)
        update(home, end_of(1))
    assert newest_delta("1", home.registry) is None
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Registry, "register", die)
        update(home, end_of(1))
    assert "online" not in home.registry.aliases()
    finished = update(home, end_of(1))
    assert home.registry.aliases()["online"] == finished.version
    assert len(home.registry.finished_runs("online-1")) == 1
    sync_aliases(home.lake, home.registry)
    assert home.registry.aliases()["online"] == finished.version


def test_unfinished_sessions_are_left_to_the_next_update(home):
    newest = home.lake.scan("events", ["occurred_at"])["occurred_at"].to_numpy().max()
    whole = finished_until(home.lake)
    assert whole.timestamp() == pytest.approx(newest.astype("datetime64[s]").astype(float) - 1800, abs=1.5)
    assert finished_until(home.lake, end_of(1)) == end_of(1) - timedelta(minutes=30)


def test_online_versions_and_deltas_that_are_deleted_are_made_again(shop_online):
    home = shop_online
    noon = end_of(1) + timedelta(hours=12)
    first = update(home, noon)
    home.registry.client.delete_model_version(home.registry.model_name, first.version)
    assert sync_aliases(home.lake, home.registry)["champion"] == "1"
    again = update(home, noon)
    assert (again.run_id, again.sessions) == (first.run_id, first.sessions)
    assert home.registry.aliases()["online"] == again.version != first.version

    folder = home.registry.client.get_run(first.run_id).info.artifact_uri.removeprefix("file://")
    (Path(folder) / ARTIFACT).unlink()
    assert newest_delta("1", home.registry) is None
    anew = update(home, noon)
    assert anew.run_id != first.run_id
    assert anew.sessions == first.sessions, "what the lost delta had learned is learned again"
