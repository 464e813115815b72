"""Versions, runs and artifacts that people deleted: named, worked around, and learned again."""

import json
import logging
import shutil
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.errors import ExitCode, RegistryError
from lastaisle.registry.errors import ArtifactsUnreachableError
from lastaisle.registry.ledger import LOST, Ledger
from lastaisle.registry.losses import present_standing
from lastaisle.registry.registry import STATE
from lastaisle.release.correction import plan_correction
from lastaisle.release.gate import GateRules
from lastaisle.release.release import current_champion, sync_aliases
from lastaisle.release.rollback import rollback
from lastaisle.training.planning import StalePlanError
from lastaisle.training.train import train_candidate
from tests.shops.made_up_shop import Installation

pytestmark = pytest.mark.training

LAX = GateRules(margin=1.0, anchor_margin=1.0)
STRICT = GateRules(margin=-1.0)


def moves_of(home):
    return Ledger(home.lake, home.settings.registry.model_name).moves()


def lost(home):
    return [(move.to_version, move.reason) for move in moves_of(home) if move.action == LOST]


def back(home, **options):
    return rollback(home.lake, home.registry, actor="tester", reason="bad", **options)


def delete_version(home, version):
    home.registry.client.delete_model_version(home.registry.model_name, version)


def delete_run_for_good(home, version):
    """Delete a version's run as `mlflow gc` does; the version stays."""
    run_id = home.registry.run_of(version)
    store = home.registry.client._tracking_client.store
    home.registry.client.delete_run(run_id)
    store._hard_delete_run(run_id)


def delete_state(home, version):
    uri = home.registry.client.get_run(home.registry.run_of(version)).info.artifact_uri
    shutil.rmtree(Path(uri.removeprefix("file://")) / STATE)


def delete_packed(home, version):
    client = home.registry.client
    place = client.get_model_version_download_uri(home.registry.model_name, version)
    shutil.rmtree(place.removeprefix("file://"))


DELETIONS = [delete_version, delete_run_for_good, delete_state, delete_packed]


@pytest.mark.parametrize("delete", DELETIONS)
def test_after_the_champion_is_deleted_the_version_before_it_serves_and_all_goes_on(home, delete, caplog):
    home.released(1, 2, rules=LAX)
    delete(home, "2")
    with caplog.at_level(logging.WARNING):
        assert current_champion(home.lake, home.registry).version == "1"
    assert "Version 2 of checkout-recommender (challenger and champion) is lost" in caplog.text
    assert "version 1 serves now" in caplog.text
    assert [version for version, _ in lost(home)] == ["2"]
    assert home.registry.aliases() == {"champion": "1", "anchor": "1"}
    sync_aliases(home.lake, home.registry)
    assert len(lost(home)) == 1, "it is named once"

    assert home.day(2, LAX).promote, "the lost day is learned or registered again"
    assert home.registry.aliases() == {"challenger": "3", "champion": "3", "previous": "1", "anchor": "1"}
    assert home.day(3, LAX).promote
    assert back(home, dry_run=False).to_version == "3"


@pytest.mark.parametrize("delete", DELETIONS)
def test_after_the_previous_version_is_deleted_a_rollback_returns_to_the_one_before(home, delete):
    home.released(1, 2, 3, rules=LAX)
    delete(home, "2")
    planned = back(home)
    assert (planned.to_version, planned.previous) == ("1", None)
    assert not lost(home), "a dry run writes nothing"
    with pytest.raises(RegistryError, match=r"version '2'|version 2 of checkout-recommender cannot serve"):
        back(home, to_version="2", dry_run=False)
    assert back(home, dry_run=False).to_version == "1"
    assert home.registry.aliases() == {"challenger": "3", "champion": "1", "anchor": "1"}


def test_after_a_refused_challenger_is_deleted_training_and_release_go_on(home):
    home.released(1, rules=LAX)
    assert not home.day(2, STRICT).promote
    delete_version(home, "2")
    assert home.day(3, LAX).promote
    assert home.registry.aliases() == {"challenger": "3", "champion": "3", "previous": "1", "anchor": "1"}
    ((version, reason),) = lost(home)
    assert version == "2"
    assert "(challenger) is lost" in reason
    assert "; version 1 serves." in reason


@pytest.mark.parametrize("day", [1, 2])
def test_after_all_versions_are_deleted_the_next_training_starts_from_scratch(home, day):
    home.released(1, 2, rules=LAX)
    delete_version(home, "1")
    delete_version(home, "2")
    assert current_champion(home.lake, home.registry) is None
    assert home.registry.aliases() == {}
    assert "no version serves now: the next training starts from scratch" in lost(home)[-1][1]
    assert home.plan(day).warm_start_version is None
    assert home.day(day).promote
    assert home.registry.aliases() == {"challenger": "3", "champion": "3", "anchor": "3"}


def test_after_the_registered_model_is_deleted_all_goes_on(home):
    home.released(1, rules=LAX)
    home.registry.client.delete_registered_model(home.registry.model_name)
    assert home.day(2).promote
    assert home.registry.aliases() == {"challenger": "1", "champion": "1", "anchor": "1"}
    assert home.day(3, LAX).promote
    assert back(home, dry_run=False).to_version == "1"


def test_after_mlflows_database_is_deleted_numbers_begin_anew_and_are_not_mistaken(home, empty_store):
    home.released(1, 2, rules=LAX)
    database = home.settings.home / "mlflow" / "mlflow.db"
    shutil.copy(empty_store, database)
    home = Installation(home.settings.home)
    assert home.day(1).promote, "the same day, by the same run key"
    assert [version for version, _ in lost(home)] == ["2", "1"]
    assert home.registry.aliases() == {"challenger": "1", "champion": "1", "anchor": "1"}
    assert home.day(2, LAX).promote
    assert home.registry.aliases() == {"challenger": "2", "champion": "2", "previous": "1", "anchor": "1"}
    rows = home.lake.scan("training_runs").to_pylist()
    assert len({row["run_id"] for row in rows}) == len(rows) == 4
    assert back(home, dry_run=False).to_version == "1"


def test_a_new_database_with_the_same_numbers_is_noticed(home, empty_store):
    home.released(1)
    old = moves_of(home)[-1].run_id
    shutil.copy(empty_store, home.settings.home / "mlflow" / "mlflow.db")
    again = Installation(home.settings.home)
    run_id = again.registry.begin_run("another", {})
    again.registry.client.create_registered_model(again.registry.model_name)
    again.registry.client.create_model_version(again.registry.model_name, "/nowhere", run_id)
    assert current_champion(again.lake, again.registry) is None
    assert f"is of run {run_id}, not of run {old}" in lost(again)[0][1]


def test_an_mlflow_that_does_not_answer_loses_nothing(home, monkeypatch):
    home.released(1)

    def unreachable(*_, **__):
        raise MlflowException("connection refused")

    for name in ("get_model_version", "get_run", "list_artifacts", "get_model_version_download_uri"):
        with monkeypatch.context() as patched:
            patched.setattr(home.registry.client, name, unreachable)
            with pytest.raises(MlflowException, match="connection refused"):
                sync_aliases(home.lake, home.registry)
    assert not lost(home)
    assert current_champion(home.lake, home.registry).version == "1"


@pytest.mark.parametrize("unmount", [shutil.rmtree, lambda folder: (shutil.rmtree(folder), folder.mkdir())])
def test_a_folder_of_artifacts_that_is_not_mounted_loses_nothing_unless_told(home, unmount, monkeypatch):
    home.released(1)
    folder = home.settings.home / "mlflow" / "artifacts"
    assert folder.is_dir()
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    unmount(folder)
    for step in (home.plan, home.train):
        with pytest.raises(ArtifactsUnreachableError, match="missing or empty: mount the folder"):
            step(2)
    assert not lost(home)

    monkeypatch.setenv("LASTAISLE_HOME", str(home.settings.home))
    told = CliRunner().invoke(cli.app, ["releases", "sync", "--artifacts-gone", "--no-dry-run"])
    assert told.exit_code == ExitCode.DONE, told.output
    assert [version for version, _ in lost(home)] == ["1"]
    assert home.day(2).promote

    shutil.rmtree(folder)
    kept.rename(folder)
    back(home, to_version="1", dry_run=False)
    assert home.registry.aliases()["champion"] == "1", "a version that comes back can serve again"


def test_sync_shows_losses_first_and_then_names_them(home, monkeypatch, tmp_path):
    home.released(1, 2, rules=LAX)
    delete_version(home, "2")
    monkeypatch.setenv("LASTAISLE_HOME", str(home.settings.home))
    report = tmp_path / "report.json"
    for flags, rows in ((["--dry-run"], 0), (["--no-dry-run"], 1)):
        ended = CliRunner().invoke(cli.app, ["releases", "sync", *flags, "--report", str(report)])
        assert ended.exit_code == ExitCode.DONE, ended.output
        told = json.loads(report.read_text())
        held = {alias: version for alias, version in told["after"].items() if version is not None}
        assert held == {"champion": "1", "anchor": "1"}
        assert "version 1 serves now" in told["lost"][0]
        assert len(lost(home)) == rows


def test_two_processes_that_notice_a_loss_name_it_once(home):
    home.released(1, 2, rules=LAX)
    delete_version(home, "2")
    ledger = Ledger(home.lake, home.registry.model_name)
    rows = ledger.moves()
    assert present_standing(ledger, home.registry).champion == "1"
    seen = []
    ledger.moves = lambda: moves_of(home) if seen or seen.append(1) else rows
    assert present_standing(ledger, home.registry).champion == "1"
    assert len(lost(home)) == 1


def test_a_correction_whose_start_is_deleted_is_left_to_a_full_training(home, shop):
    home.released(1, 2, rules=LAX)
    home.lake.append("events", shop.events(days=1, sessions=40, seed=2), key="again")
    delete_version(home, "1")
    with pytest.raises(StalePlanError, match="from its start, version 1, which is lost"):
        plan_correction(home.lake, home.settings, home.registry)


def test_a_plan_that_was_made_before_its_start_was_deleted_is_trained_or_refused(home):
    home.released(1)
    plan = home.plan(2)
    delete_version(home, "1")
    run_id = train_candidate(plan, home.lake, home.registry)
    home.evaluate(run_id)
    assert home.release(run_id).promote
    assert home.registry.aliases() == {"challenger": "2", "champion": "2", "anchor": "2"}
