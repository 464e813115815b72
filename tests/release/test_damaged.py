"""A version whose files are not those that were trained and judged is refused by name, and never serves."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from lastaisle.cli import app
from lastaisle.evaluation.answers import ANSWERS
from lastaisle.registry.errors import MissingArtifactError
from lastaisle.registry.ledger import Ledger
from lastaisle.registry.tags import DIGEST
from lastaisle.release.rollback import rollback
from lastaisle.release.verify import verify
from models.stored import DamagedModelError

pytestmark = pytest.mark.training


def files_of(home, run_id):
    """Return the folder in which MLflow keeps the packed model of a run."""
    model_id = home.registry._logged_model(run_id)
    (found,) = Path(home.settings.registry.mlflow_artifacts.removeprefix("file://")).rglob(
        f"{model_id}/artifacts"
    )
    return found


def shorten(folder):
    file = folder / "artifacts" / "saved" / "vocabulary.json"
    file.write_text(json.dumps({name: values[:-3] for name, values in json.loads(file.read_text()).items()}))


def reverse(folder):
    file = folder / "artifacts" / "saved" / "vocabulary.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"items": content["items"][::-1]}))


def truncate(folder):
    file = folder / "artifacts" / "saved" / "state.npz"
    file.write_bytes(file.read_bytes()[:-100])


def delete(folder):
    (folder / "artifacts" / "saved" / "state.npz").unlink()


def recode(folder):
    (folder / "light_model.py").write_text((folder / "light_model.py").read_text() + "\nprint('mine')\n")


DAMAGES = [shorten, reverse, truncate, delete, recode]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_candidate_damaged_after_its_evaluation_is_refused_by_name(home, damage):
    run_id = home.train(1)
    home.evaluate(run_id)
    damage(files_of(home, run_id))
    decision = home.release(run_id)
    assert not decision.promote
    assert [check.name for check in decision.checks if not check.passed] == ["opens"]
    assert "version 1 of checkout-recommender" in decision.reasons[0]
    assert "is not what was trained: expected the digest" in decision.reasons[0]
    assert "champion" not in home.registry.aliases()
    assert "opens" in home.registry.read_text(run_id, "release/decision.json")


def test_a_candidate_damaged_before_its_evaluation_is_not_judged(home):
    run_id = home.train(1)
    truncate(files_of(home, run_id))
    with pytest.raises(DamagedModelError, match=f"the model of run {run_id} .* is not what was trained"):
        home.evaluate(run_id)


def forget_digests(home, run_id):
    home.registry.client.delete_tag(run_id, DIGEST)


@pytest.mark.parametrize("damage", [shorten, truncate, delete])
def test_without_a_digest_the_model_itself_names_the_damage(home, damage):
    run_id = home.train(1)
    home.evaluate(run_id)
    forget_digests(home, run_id)
    damage(files_of(home, run_id))
    decision = home.release(run_id)
    assert not decision.promote
    assert "cannot be opened" in decision.reasons[0]
    assert "SHA-256" in decision.reasons[0] or "missing" in decision.reasons[0]


def test_without_a_digest_another_model_is_refused_by_its_lists(home):
    run_id = home.train(1)
    home.evaluate(run_id)
    forget_digests(home, run_id)
    other = home.train(1, architecture="repeat")
    shutil.rmtree(files_of(home, run_id) / "artifacts")
    shutil.copytree(files_of(home, other) / "artifacts", files_of(home, run_id) / "artifacts")
    decision = home.release(run_id)
    assert not decision.promote
    assert "of the items in its lists are not those that were judged" in decision.reasons[0]


def test_a_sound_candidate_is_opened_and_its_digest_stands_in_the_ledger(home):
    decision = home.day(1)
    assert decision.promote
    assert decision.checks[-1].name == "opens"
    register, promote, *_ = Ledger(home.lake, home.registry.model_name).moves()
    assert register.digest == home.registry.digest_of_version("1") == home.registry.recorded_digest("1")
    assert promote.digest is None
    run_id = home.registry.run_of("1")
    assert home.registry.tags(run_id)[DIGEST] == register.digest
    lists = json.loads(home.registry.read_text(run_id, ANSWERS))["lists"]
    assert len(lists) == 50
    assert all(len(items) == 20 for items in lists)


def test_a_ledger_of_an_older_release_has_no_digests(home):
    run_id = home.train(1)
    home.evaluate(run_id)
    forget_digests(home, run_id)
    home.release(run_id)
    table = home.lake.scan("releases").drop_columns(["digest"])
    assert isinstance(table, pa.Table)
    home.lake.overwrite("releases", table, key="as an older release wrote it")
    ledger = Ledger(home.lake, home.registry.model_name)
    assert ledger.digest_of("1") is None
    assert [one.outcome for one in verify(home.lake, home.registry)] == ["no digest"]
    assert home.day(2).promote
    assert [one.outcome for one in verify(home.lake, home.registry)] == ["no digest", "whole"]


def test_a_damaged_champion_is_named_by_evaluation_and_by_rollback(home):
    home.released(1, 2)
    run_id = home.train(3)
    reverse(files_of(home, home.registry.run_of("2")))
    with pytest.raises(DamagedModelError, match="version 2 of checkout-recommender"):
        home.evaluate(run_id)
    report = rollback(home.lake, home.registry, reason="damaged", dry_run=False)
    assert report.to_version == "1"
    with pytest.raises(DamagedModelError, match="the ledger has the digest"):
        rollback(home.lake, home.registry, to_version="2", reason="back", dry_run=False)
    assert home.evaluate(run_id).champion_version == "1"


def test_the_command_names_each_version_with_an_alias(home, monkeypatch):
    home.released(1, 2)
    for name, value in home.settings.to_env().items():
        if value and name in ("LASTAISLE_HOME", "LASTAISLE_LAKE", "LASTAISLE_MLFLOW_URI"):
            monkeypatch.setenv(name, value)
    shown = CliRunner().invoke(app, ["releases", "verify"])
    assert shown.exit_code == 0, shown.output
    digest = home.registry.digest_of_version("1")
    assert f"version 1 (anchor, previous): whole: digest {digest}" in shown.output
    assert "version 2 (challenger, champion): whole" in shown.output
    recode(files_of(home, home.registry.run_of("2")))
    shown = CliRunner().invoke(app, ["releases", "verify"])
    assert shown.exit_code == 21
    assert "version 2 (challenger, champion): changed: digest" in shown.output
    assert "but ledger has" in shown.output
    assert CliRunner().invoke(app, ["releases", "verify", "--version", "1"]).exit_code == 0
    home.registry.delete_version("2")
    missing = CliRunner().invoke(app, ["releases", "verify", "--version", "2"])
    assert missing.exit_code == 21
    assert "version 2: missing" in missing.output
    with pytest.raises(MissingArtifactError, match="version 99 of"):
        home.registry.digest_of_version("99")


def test_who_writes_to_mlflow_alone_cannot_hide_a_change(home):
    home.released(1)
    recode(files_of(home, home.registry.run_of("1")))
    home.registry.set_version_tags("1", {DIGEST: home.registry.digest_of_version("1")})
    home.registry.set_tag(home.registry.run_of("1"), DIGEST, home.registry.digest_of_version("1"))
    (found,) = verify(home.lake, home.registry)
    assert (found.outcome, found.recorded_in) == ("changed", "ledger")
