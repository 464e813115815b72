"""Private trainings through the real registry: written once, refused without room, and judged by the gate."""

import dataclasses
import json
import shutil
from datetime import timedelta

import pytest

from lastaisle.errors import NotEnoughDataError
from lastaisle.lake import tables
from lastaisle.privacy.budget.budget import BudgetSpentError
from lastaisle.privacy.budget.spent import read_spendings, record
from lastaisle.registry.ledger import Ledger, decision_on
from lastaisle.registry.registry import Registry
from lastaisle.release.card.place import MARKDOWN
from lastaisle.release.gate import GateRules
from lastaisle.release.public.log import MARKDOWN as PUBLIC
from lastaisle.release.release import current_champion
from lastaisle.training import spending as spending_module
from lastaisle.training.kinds.incremental import Incremental
from lastaisle.training.online import OnlineUpdatesNotPrivateError, learn_online
from lastaisle.training.planning import plan_window
from lastaisle.training.private import CannotBePrivateError
from lastaisle.training.study import TuningError
from lastaisle.training.train import train_candidate
from lastaisle.training.tune import Search
from models.federated.agreement import AgreementError
from models.options import TrainingOptions
from models.private.accounting import epsilon_of
from models.private.mechanism import Mechanism, Release
from tests.release.scripts import told_by
from tests.shops.made_up_shop import end_of

pytestmark = pytest.mark.training

WEAK = Mechanism("shopper", 1.0, 4.0, 1, 1.0, 400, (Release("item counts", 30.0),))
EASY = GateRules(margin=-1.0, anchor_margin=1.0, min_targets=1)


@pytest.fixture
def noisy(monkeypatch):
    """Let each incremental training report a mechanism, as a training with noise does; None = no noise."""
    reported = {"mechanism": WEAK}
    learn = Incremental.learn

    def with_mechanism(self, *args):
        trained = learn(self, *args)
        return dataclasses.replace(trained, report=dataclasses.replace(trained.report, **reported))

    monkeypatch.setattr(Incremental, "learn", with_mechanism)
    return reported


def under(home, **given):
    """Return the installation under other settings."""
    home.settings = home.settings.replace(**given)
    home._registry = Registry(home.settings)
    return home


def check_of(home, run_id):
    made = decision_on(Ledger(home.lake, home.registry.model_name).moves(), run_id)
    checks = json.loads(made.decision)["checks"]
    return next((check for check in checks if check["name"] == "privacy_budget"), None)


def test_a_version_says_everywhere_what_it_spent(home, noisy):
    under(home, privacy_epsilon=8)
    assert home.day(1).promote
    registry, version = home.registry, "1"
    run_id = registry.run_of(version)
    (row,) = read_spendings(home.lake)
    delta = registry.plan_of(run_id).options["delta"]
    alone, year = epsilon_of([WEAK], delta).epsilon, epsilon_of([WEAK], 1e-6).epsilon
    assert (row.run_id, row.mechanism, row.epsilon, row.shoppers) == (run_id, WEAK, alone, 400)
    assert row.window_start == min(home.lake.scan(tables.EVENTS)["occurred_at"].to_pylist())
    assert row.window_end == registry.plan_of(run_id).window.end
    metrics = registry.metrics(run_id)
    assert metrics["privacy_epsilon"] == pytest.approx(alone) and metrics["privacy_delta"] == delta
    assert metrics["privacy_epsilon_year"] == pytest.approx(year)
    check = check_of(home, run_id)
    assert check["passed"] and check["value"] == pytest.approx(year) and check["threshold"] == "<= 8.0000"
    entry = registry.client.get_model_version(registry.model_name, version)
    assert float(entry.tags["privacy_epsilon"]) == pytest.approx(alone, rel=1e-5)
    assert float(entry.tags["privacy_epsilon_year"]) == pytest.approx(year, rel=1e-5)
    assert f"Private: epsilon {alone:.3g} at delta {delta:g} for each shopper" in entry.description
    card = registry.read_text(run_id, MARKDOWN)
    assert f"Differential privacy: epsilon {alone:.3g}" in card and "item counts" in card
    assert "No differential privacy" not in card and "does not cover" in card
    home.train(1)
    home.release(run_id)
    assert len(read_spendings(home.lake)) == 1


def test_without_room_nothing_leaves_the_process(home, noisy):
    under(home, privacy_epsilon=0.5)
    with pytest.raises(BudgetSpentError, match="no room"):
        home.train(1)
    assert read_spendings(home.lake) == []
    (run,) = home.registry.client.search_runs([home.registry.experiment_id])
    assert run.info.status == "FAILED" and "privacy_epsilon" not in run.data.metrics
    assert "loss" not in run.data.metrics
    assert home.registry.client.search_logged_models([home.registry.experiment_id]) == []


def test_a_training_that_cannot_fit_is_refused_before_it_starts(home):
    settings = home.settings.replace(hyperparameters='{"epsilon": 2.0}', privacy_epsilon=1.5)
    end = home.plan(1).holdout_end
    with pytest.raises(BudgetSpentError, match=r"spends epsilon 2\. .*allows 1\.5"):
        plan_window(home.lake, settings, end, architecture="attention")
    plan_window(home.lake, settings.replace(privacy_epsilon=2.5), end, architecture="attention")


def test_the_gate_refuses_a_candidate_when_the_budget_was_lowered_meanwhile(home, noisy):
    run_id = home.train(1)
    home.evaluate(run_id)
    decision = under(home, privacy_epsilon=0.5).release(run_id)
    assert not decision.promote and decision.checks[0].name == "privacy_budget"
    assert "The budget is 0.5." in check_of(home, run_id)["reason"]
    assert len(read_spendings(home.lake)) == 1, "a refused candidate was seen, so it has spent"


def test_a_version_without_noise_is_not_private_and_neither_are_its_successors(home, noisy):
    noisy["mechanism"] = None
    assert home.day(1).promote
    first = home.registry.run_of("1")
    assert check_of(home, first) is None and "privacy_epsilon" not in home.registry.metrics(first)
    assert "No differential privacy: it was trained without noise" in home.registry.read_text(first, MARKDOWN)
    noisy["mechanism"] = WEAK
    run_id = home.train(2)
    home.evaluate(run_id)
    decision = under(home, privacy_required=True).release(run_id, EASY)
    assert not decision.promote
    assert "started from version 1, which was trained without noise" in decision.checks[0].reason
    entry = home.registry.client.get_model_version(home.registry.model_name, "2")
    assert entry.tags["privacy"].startswith("Not private: ") and "privacy_epsilon" not in entry.tags
    assert "Not private: it started from version 1" in entry.description


def test_a_private_training_cannot_start_from_a_version_without_noise(home):
    home.released(1)
    champion = home.registry.champion("1")
    settings = home.settings.replace(hyperparameters='{"epsilon": 2.0}')
    said = r"from version 1, .*without noise.*--kind full --set epsilon=2"
    with pytest.raises(CannotBePrivateError, match=said):
        plan_window(home.lake, settings, end_of(2), "incremental", champion)
    for chosen in ({"kind": "full"}, {"architecture": "popularity"}):
        plan = plan_window(home.lake, settings, end_of(2), champion=champion, **chosen)
        assert plan.warm_start_version is None
    private = dataclasses.replace(champion, options={**champion.options, "epsilon": 2.0})
    assert plan_window(home.lake, settings, end_of(2), champion=private).warm_start_version == "1"


def test_what_has_no_private_training_is_refused_before_it_starts(home):
    settings = home.settings.replace(hyperparameters='{"epsilon": 2.0}')
    with pytest.raises(CannotBePrivateError, match=r"model hybrid cannot .* epsilon = 2: .*, repeat can"):
        plan_window(home.lake, settings, end_of(1), architecture="hybrid")
    with pytest.raises(AgreementError, match=r"epsilon cannot be 2 in a federated training"):
        plan_window(home.lake, settings, end_of(1), "federated", architecture="attention")


@pytest.mark.service
def test_no_kill_loses_a_spending_and_none_doubles_one_whose_weights_were_not_written(tmp_path):
    told = {one.pop("boundary"): one for one in told_by("tests.training.killed_spending", tmp_path)}
    same = {"killed": True, "runs": 1, "finished_has_spent": True}
    assert told == {
        "the model has learned": {**same, "spent": 1},
        "the weights are logged, the run is open": {**same, "spent": 2},
    }


def test_two_trainings_cannot_share_the_rest_of_the_budget(home, noisy, monkeypatch):
    one = epsilon_of([WEAK], 1e-6).epsilon
    under(home, privacy_epsilon=1.2 * one)
    asked = spending_module.require_room

    def another_spends_meanwhile(lake, privacy, spending):
        asked(lake, privacy, spending)
        monkeypatch.setattr(spending_module, "require_room", asked)
        record(lake, dataclasses.replace(spending, run_id="another", run_key="another"))

    monkeypatch.setattr(spending_module, "require_room", another_spends_meanwhile)
    with pytest.raises(BudgetSpentError):
        home.train(1)
    assert [one.run_id for one in read_spendings(home.lake)] == ["another"]


def test_a_row_that_the_lake_lost_is_written_again_by_the_run(home, noisy, caplog):
    run_id = home.train(1)
    home.evaluate(run_id)
    (row,) = read_spendings(home.lake)
    shutil.rmtree(home.lake.table_url(tables.PRIVACY_SPENT))
    assert home.release(run_id).promote
    (again,) = read_spendings(home.lake)
    assert dataclasses.replace(again, finished_at=row.finished_at) == row
    assert abs(again.finished_at - row.finished_at) < timedelta(minutes=1)
    assert "had no row" in caplog.text and not spending_module.restore(run_id, home.lake, home.registry)


def test_what_would_learn_without_noise_or_without_a_row_is_refused(home):
    with pytest.raises(TuningError, match=r"epsilon 2 .*epsilon=null"):
        Search("attention", TrainingOptions(epsilon=2.0))
    home.day(1)
    champion = current_champion(home.lake, home.registry)
    under(home, privacy_required=True)
    with pytest.raises(OnlineUpdatesNotPrivateError, match="without noise"):
        learn_online(champion, home.lake, home.registry, champion.window_end)


def test_a_private_model_without_an_item_is_refused_after_it_spent(home):
    under(home, hyperparameters='{"epsilon": 0.5}')
    with pytest.raises(NotEnoughDataError, match=r"knows no item\. .* 268 shoppers are too few .*catalogue"):
        home.train(1, architecture="popularity")
    assert len(read_spendings(home.lake)) == 1
    assert home.registry.client.search_logged_models([home.registry.experiment_id]) == []


def test_private_trainings_of_two_days_are_composed_from_what_they_released(home):
    home.with_catalogue()
    options = {"epsilon": 6.0, "private_steps": 12, "private_batch": 60, "embedding_size": 8, "max_length": 3}
    under(home, hyperparameters=json.dumps(options), privacy_epsilon=14, privacy_required=True)
    first = home.train(1, architecture="attention")
    home.evaluate(first)
    home.release(first, EASY)
    plan = plan_window(home.lake, home.settings, end_of(2), "incremental", home.registry.champion("1"))
    assert plan.warm_start_version == "1"
    second = train_candidate(plan, home.lake, home.registry)
    home.evaluate(second)
    decision = home.release(second, EASY)
    one, two = read_spendings(home.lake)
    assert (one.run_id, two.run_id) == (first, second)
    for spent in (one, two):
        assert spent.unit == "shopper" and 5 < spent.epsilon <= 6
        assert spent.mechanism.steps == 12 and spent.mechanism.releases and not spent.mechanism.delta
    assert one.shoppers == 268, "one session each 215 s from midnight on, ended by 16:00"
    assert two.window_start == one.window_start, "the sessions of the first day are replayed"
    alone = epsilon_of([one.mechanism], 1e-6).epsilon
    both = epsilon_of([one.mechanism, two.mechanism], 1e-6).epsilon
    (check,) = [check for check in decision.checks if check.name == "privacy_budget"]
    assert check.passed and check.value == pytest.approx(both) and alone < both < 2 * alone
    card = home.registry.read_text(second, MARKDOWN)
    assert f"Differential privacy: epsilon {two.epsilon:.3g}" in card and f"{two.shoppers} shoppers" in card
    assert f"spend epsilon {both:.3g} of the shopper who spends most" in card
    told = home.registry.read_text(second, PUBLIC)
    assert f"epsilon {two.epsilon:.3g}, delta 1e-09" in told and "of 100 cases" in told
    tight = home.settings.replace(privacy_epsilon=both + 0.5)
    with pytest.raises(BudgetSpentError, match="3 private trainings"):
        plan_window(home.lake, tight, end_of(3), "incremental", home.registry.champion("2"))
