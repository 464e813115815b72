"""A refresh for abandoned checkouts: which sessions it learns, which judge it, and how often it runs."""

from datetime import timedelta

import pyarrow as pa
import pytest

from lastaisle.errors import NotEnoughDataError
from lastaisle.evaluation.evaluate import evaluate_candidate
from lastaisle.evaluation.judging import judging_sessions
from lastaisle.monitor.abandonment import record_new
from lastaisle.registry.ledger import Ledger
from lastaisle.registry.plan import TrainingPlan
from lastaisle.release.correction import plan_correction
from lastaisle.release.release import current_champion
from lastaisle.sessions.abandonments import REFRESHED, pending_burst
from lastaisle.sessions.windows import Window, training_sessions
from lastaisle.settings import Settings
from lastaisle.training.kinds.refresh import TRUST_REGION, Refresh
from lastaisle.training.planning import StalePlanError
from lastaisle.training.refresh import NothingToRefreshError, finish_refresh, plan_refresh
from lastaisle.training.train import train_candidate
from tests.shops.made_up_shop import FIRST_DAY, events

pytestmark = pytest.mark.training

LAST_HOURS = FIRST_DAY + timedelta(days=1, hours=16)  # the champion of the second day has learned up to here


def abandon(home, count, since=LAST_HOURS, key="left", **given):
    """Let sessions that began after a moment leave their checkout, a minute after their last item."""
    table = events()
    late = table.filter(pa.compute.greater_equal(table["occurred_at"], since))
    sessions = list(dict.fromkeys(late["session_id"].to_pylist()))[:count]
    rows = []
    for row in late.to_pylist():
        if row["session_id"] in sessions and row["sequence"] == 4:
            at = row["occurred_at"] + timedelta(minutes=1)
            rows.append({**row, "event_type": "checkout_abandoned", "occurred_at": at, "sequence": 5} | given)
    home.lake.append("events", pa.Table.from_pylist(rows, schema=table.schema), key=key)
    return frozenset(sessions)


@pytest.fixture
def deserted(home):
    """A shop whose champion has learned two days, and 40 checkouts abandoned since."""
    home.day(2)
    home.abandoned = abandon(home, 40)
    assert record_new(home.lake, home.settings) == 40
    return home


def planned(deserted, **settings):
    given = Settings.of(home=deserted.settings.home, **settings)
    return plan_refresh(deserted.lake, given, current_champion(deserted.lake, deserted.registry))


def ids(log):
    return set(log.context["session"])


def test_one_half_of_the_last_hours_is_learned_and_the_other_half_judges(deserted):
    plan = planned(deserted)
    learned, judging = Refresh().read(plan, deserted.lake), judging_sessions(plan, {}, deserted.lake).read
    assert not ids(learned.log) & ids(judging.log)
    reach = Window(plan.window.end, plan.holdout_end, 1.0)
    fresh = ids(training_sessions(deserted.lake, reach, plan.holdout_end, None, with_ids=True).log)
    assert len(ids(judging.log)) == pytest.approx(len(fresh) / 2, rel=0.15)
    assert deserted.abandoned - ids(judging.log) <= ids(learned.log), (
        "each abandoned session is learned or judges"
    )
    assert deserted.abandoned & ids(judging.log)
    facts = learned.metrics()
    assert facts["refresh_abandoned"] == len(deserted.abandoned & ids(learned.log))
    assert facts["refresh_similar"] > 0
    assert facts["refresh_replayed"] >= 100
    targeted = facts["refresh_abandoned"] + facts["refresh_similar"]
    assert len(learned.log) == targeted + facts["refresh_replayed"]


def test_a_burst_leads_to_a_champion_once(deserted):
    plan = planned(deserted)
    run_id = train_candidate(plan, deserted.lake, deserted.registry)
    assert train_candidate(planned(deserted), deserted.lake, deserted.registry) == run_id, (
        "the same bursts, the same run"
    )
    report = evaluate_candidate(run_id, deserted.lake, deserted.registry)
    assert report.candidate.slices["abandoned"].targets == 4 * len(
        deserted.abandoned & ids(judging_sessions(plan, {}, deserted.lake).read.log)
    )
    assert deserted.release(run_id).promote
    finish_refresh(deserted.lake, plan)
    assert deserted.registry.aliases()["champion"] == "2"
    assert pending_burst(deserted.lake, REFRESHED) is None
    version = deserted.lake.version("abandonments")
    finish_refresh(deserted.lake, plan)
    assert deserted.lake.version("abandonments") == version
    with pytest.raises(NothingToRefreshError, match="0 abandoned checkouts wait"):
        planned(deserted)
    files = {file.path for file in deserted.registry.client.list_artifacts(run_id, "refresh")}
    assert files == {"refresh/clusters.json"}


def test_a_refresh_changes_nothing_for_the_trainings_that_follow(deserted):
    before = current_champion(deserted.lake, deserted.registry)
    run_id = train_candidate(planned(deserted), deserted.lake, deserted.registry)
    deserted.evaluate(run_id)
    assert deserted.release(run_id).promote
    after = current_champion(deserted.lake, deserted.registry)
    assert (after.version, after.window_end) == ("2", before.window_end), "the last hours are learned whole"
    with pytest.raises(StalePlanError):
        deserted.plan(2)

    below = deserted.registry.plan_of(deserted.registry.run_of("1"))
    corrected = plan_correction(deserted.lake, deserted.settings, deserted.registry)
    assert (corrected.kind, corrected.window) == (below.kind, below.window)
    assert corrected.run_key != below.run_key, "the abandonments came in since"

    assert deserted.day(3).promote
    assert Ledger(deserted.lake, deserted.settings.registry.model_name).moves()[-1].to_version == "3"


def test_a_plan_names_its_champion_and_bounds_how_far_items_move(deserted):
    plan = planned(deserted)
    assert (plan.kind, plan.warm_start_version, len(plan.bursts)) == ("refresh", "1", 1)
    assert TrainingPlan.from_json(plan.to_json()) == plan
    reaches = {
        given: planned(deserted, hyperparameters=f'{{"trust_region": {given}}}').options["trust_region"]
        for given in ("null", "0.1", "1.5")
    }
    assert reaches == {"null": TRUST_REGION, "0.1": 0.1, "1.5": TRUST_REGION}, (
        "items are held back whatever is asked"
    )
    with pytest.raises(NothingToRefreshError, match=r"40 abandoned checkouts wait .* needs 41"):
        planned(deserted, refresh_min_sessions=41)
    assert pending_burst(deserted.lake, REFRESHED).sessions == 40, "they go on waiting"


def test_without_a_champion_there_is_no_refresh(home):
    with pytest.raises(NothingToRefreshError, match="no champion"):
        plan_refresh(home.lake, home.settings, None)


def test_a_refresh_waits_for_a_while_after_the_last_refresh(deserted):
    plan = planned(deserted)
    train_candidate(plan, deserted.lake, deserted.registry)
    assert planned(deserted).run_key == plan.run_key, "its own training is no reason to rest"
    finish_refresh(deserted.lake, plan)
    abandon(deserted, 80, key="more")
    record_new(deserted.lake, deserted.settings)
    with pytest.raises(NothingToRefreshError, match="less than 30 minutes ago"):
        planned(deserted)
    assert planned(deserted, refresh_cooldown_minutes=0).run_key != plan.run_key


def test_shoppers_who_refuse_are_not_learned_from(home):
    home.released(2)
    abandon(home, 30, LAST_HOURS + timedelta(days=1), consent_personalization=False)
    record_new(home.lake, home.settings)
    plan = plan_refresh(home.lake, home.settings, current_champion(home.lake, home.registry))
    with pytest.raises(NotEnoughDataError, match="none of its abandoned sessions"):
        Refresh().read(plan, home.lake)
