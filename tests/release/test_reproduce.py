"""A version trained again: the same metrics, or the names of what differs."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.errors import ExitCode, RegistryError
from lastaisle.lake.errors import VersionGoneError
from lastaisle.privacy.budget.spent import read_spendings
from lastaisle.registry.registry import Registry
from lastaisle.release import reproduce as reproducing
from lastaisle.release.gate import GateRules
from lastaisle.release.reproduce import reproduce
from lastaisle.training.kinds.incremental import Incremental
from lastaisle.training.train import PACKAGES

pytestmark = pytest.mark.training

LAX = GateRules(margin=1.0, anchor_margin=1.0)


def again(home, version):
    scratch = Registry(home.settings.replace(experiment="reproductions"))
    return reproduce(version, home.lake, home.registry, scratch)


def test_a_version_is_trained_again_and_what_differs_is_named(home, shop, monkeypatch, tmp_path):
    home.released(1, 2, rules=LAX)
    before = home.state()
    home.lake.append("events", shop.events(days=2, sessions=40, seed=2), key="later corrections")
    repeated = again(home, "2")
    assert repeated.matches
    assert {"next_item recall@20", "training items", "training train_sessions"} <= {
        metric.metric for metric in repeated.metrics
    }
    assert repeated.differs == ()
    assert home.state() == before, "nothing was registered or moved"

    monkeypatch.setattr(reproducing, "git_revision", lambda: "another")
    packages = home.registry.read_text(repeated.run_id, PACKAGES)
    assert "numpy==" in packages
    monkeypatch.setattr(reproducing, "installed_packages", lambda: packages.replace("numpy==", "numpy==9"))
    measured = reproducing.measure_again
    monkeypatch.setattr(
        reproducing, "measure_again", lambda *words: {**measured(*words), "next_item recall@20": 0.0}
    )
    monkeypatch.setenv("LASTAISLE_HOME", str(home.settings.home))
    report = tmp_path / "report.json"
    told = CliRunner().invoke(cli.app, ["reproduce", "2", "--report", str(report)], env={"COLUMNS": "200"})
    assert told.exit_code == ExitCode.NOT_REPRODUCED, told.output
    assert "1 of " in told.output
    assert "here another." in told.output
    assert "Other packages (- recorded, + here): - numpy==" in told.output
    assert json.loads(report.read_text())["matches"] is False

    with pytest.raises(RegistryError, match="no version '9'"):
        again(home, "9")
    shutil.rmtree(min(Path(home.lake.table_url("events")).glob("event_date=*")))
    with pytest.raises(VersionGoneError, match=r"version \d+ of the table events .* not whole any more"):
        again(home, "2")


def test_a_private_version_is_compared_without_a_training_that_spends(home, monkeypatch):
    home.settings = home.with_catalogue().settings.replace(hyperparameters='{"epsilon": 8.0}')
    home.day(1, LAX)
    home.day(2, LAX)
    (first, second), before = read_spendings(home.lake), home.state()
    assert home.registry.plan_of(second.run_id).warm_start_run_id == first.run_id
    for version in "12":
        repeated = again(home, version)
        assert repeated.matches and repeated.again_run_id is None and not repeated.to_dict()["trained_again"]
        compared = {metric.metric: metric.recorded for metric in repeated.metrics}
        assert compared["training train_sessions"] > 200 and "next_item recall@20" in compared
        assert not {"training items", "training train_targets"} & set(compared), "they have noise"
    assert (len(read_spendings(home.lake)), home.state()) == (2, before)

    monkeypatch.setenv("LASTAISLE_HOME", str(home.settings.home))
    told = CliRunner().invoke(cli.app, ["reproduce", "2"], env={"COLUMNS": "200"})
    assert told.exit_code == 0, told.output
    assert "Private trainings draw secret noise" in told.output and "metrics match" in told.output

    read = Incremental.read

    def fewer(kind, plan, lake):
        found = read(kind, plan, lake)
        return dataclasses.replace(found, log=found.log.select(slice(1, None)))

    monkeypatch.setattr(Incremental, "read", fewer)
    told = CliRunner().invoke(cli.app, ["reproduce", "1"], env={"COLUMNS": "200"})
    assert told.exit_code == ExitCode.NOT_REPRODUCED and "training train_sessions" in told.output
