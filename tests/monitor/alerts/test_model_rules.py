"""The rules about models: drift, trainings, the champion, guardrails and receivers of messages."""

from datetime import UTC, datetime, timedelta

from lastaisle.lake import tables
from lastaisle.registry.ledger import PROMOTE, REFUSE, REGISTER, ROLLBACK, Ledger, Move
from lastaisle.registry.run import FAILED
from lastaisle.registry.tags import KIND, RUN_KEY
from lastaisle.release.guardrails.reason import ROLLED_BACK

from .conftest import DAY, HOUR, NOW
from .test_data_rules import days, runs

# drift


def scored(world, day, *alarms, measured_at=None, features=("price", "country")):
    rows = [
        {
            "day": day.date(),
            "feature": feature,
            "segment": segment,
            "score": 0.5 if feature in alarms else 0.01,
            "limit": 0.1,
            "alarmed": feature in alarms,
            "change": f"{feature} of {segment} rose by 31 %" if feature in alarms else "",
            "measured_at": measured_at or day,
        }
        for feature in features
        for segment in ("all", "device=mobile")
    ]
    world.add(tables.DRIFT, *rows)


def test_features_that_drifted_on_the_newest_day_are_found_since_their_first_alarm(world):
    scored(world, NOW - 4 * DAY, "price")
    scored(world, NOW - 3 * DAY)
    scored(world, NOW - 2 * DAY, "price", "country")
    scored(world, NOW - DAY, "price")
    (found,) = world.check("drift").values()
    assert found.scope == {"feature": "price"} and found.since == datetime(2026, 11, 22, tzinfo=UTC)
    assert "On 2026-11-23 price of all rose by 31 %" in found.summary
    assert "score 0.5, limit 0.1" in found.summary and "1 more segment" in found.summary
    assert runs(world, found) == [2]
    scored(world, NOW)
    assert world.check("drift") == {}


def test_a_day_that_was_measured_again_counts_as_it_was_measured_last(world):
    scored(world, NOW, "price")
    scored(world, NOW, measured_at=NOW + HOUR)
    assert world.check("drift") == {}
    scored(world, NOW, "country", measured_at=NOW + 2 * HOUR)
    assert list(world.check("drift")) == [(("feature", "country"),)]


# trainings


def training(world, name, *, began, status=None, took=HOUR, kind="incremental", tags=None):
    """Make a run of MLflow; return its id."""
    client, experiment = world.registry().client, world.registry().experiment_id
    milliseconds = int(began.timestamp() * 1000)
    run = client.create_run(experiment, milliseconds, {RUN_KEY: name, KIND: kind, **(tags or {})})
    if status:
        client.set_terminated(run.info.run_id, status, int((began + took).timestamp() * 1000))
    return run.info.run_id


def test_a_failed_training_is_found_until_one_of_its_kind_finishes(world):
    run_id = training(world, "day 1", began=NOW - 5 * HOUR, status=FAILED)
    training(world, "day 0", began=NOW - 9 * HOUR, status="FINISHED")
    training(world, "older", began=NOW - 4 * DAY, status=FAILED)
    training(world, "by hand", began=NOW - HOUR, status="KILLED")
    world.registry().begin_run("a trial of tuning", {})
    (found,) = world.check("failed_training").values()
    assert found.scope == {"training": "day 1"} and found.since == NOW - 4 * HOUR
    assert found.evidence[0].run_id == run_id and "incremental" in found.summary
    training(world, "full", began=NOW - 3 * HOUR, status="FINISHED", kind="full")
    assert len(world.check("failed_training")) == 1, "a training of another kind"
    training(world, "day 2", began=NOW - 2 * HOUR, status="FINISHED")
    assert world.check("failed_training") == {}


def test_a_run_whose_process_died_is_stuck(world):
    seen = (NOW - timedelta(minutes=30)).isoformat()
    dead = {"lastaisle.trainer": '{"machine": "gone", "pid": 1, "started": 0}', "lastaisle.alive_at": seen}
    run_id = training(world, "day 1", began=NOW - HOUR, tags=dead)
    (found,) = world.check("stuck_training").values()
    assert found.scope == {"training": "day 1"} and "2026-11-24 11:30 UTC" in found.summary
    assert world.check("stuck_training", dead_minutes=40) == {}
    world.registry().end_run(run_id, "KILLED")
    assert world.check("stuck_training") == {}


def test_a_living_run_is_stuck_after_far_more_than_the_usual_time(world, monkeypatch):
    from lastaisle.monitor.alerts.rules import trainings

    monkeypatch.setattr(trainings, "is_alive", lambda tags: True)
    for number in range(3):
        training(world, f"day {number}", began=NOW - (9 - number) * DAY, status="FINISHED")
    run_id = training(world, "today", began=NOW - 3 * HOUR)
    assert world.check("stuck_training") == {}
    world.now += 2 * HOUR
    (found,) = world.check("stuck_training").values()
    assert "1 hours" not in found.summary and "usually take 60 minutes" in found.summary
    assert found.since == NOW + HOUR
    world.registry().end_run(run_id)
    assert world.check("stuck_training") == {}


def test_looking_at_trainings_makes_no_experiment(world):
    assert world.check("failed_training") == {} == world.check("stuck_training")
    assert [one.name for one in world.registry().client.search_experiments()] == ["Default"]


# releases


def move(world, action, to, at, *, left=None, reason="", alias="champion"):
    name = world.settings.registry.model_name
    moved = Move(
        f"{action}/{to}/{at}", at, "dag", action, name, alias, left, to, reason, f"run-{to}", f"key-{to}"
    )
    assert Ledger(world.lake, name).write(moved)


def champion_since(world, at):
    move(world, REGISTER, "1", at, alias="challenger")
    move(world, PROMOTE, "1", at)


def test_a_champion_that_learns_nothing_new_is_old_while_logs_come(world):
    champion_since(world, NOW - 15 * DAY)
    assert world.check("old_champion") == {}, "no logs came for days"
    world.bring(*days(3))
    (found,) = world.check("old_champion").values()
    assert found.since == NOW - DAY and "version 1" in found.summary and "no candidates were" in found.summary
    move(world, REFUSE, "2", NOW - DAY, left="1")
    assert "1 candidate was refused" in next(iter(world.check("old_champion").values())).summary
    assert world.check("old_champion", days=20) == {}
    move(world, REGISTER, "3", NOW, alias="challenger", left="1")
    move(world, PROMOTE, "3", NOW, left="1")
    assert world.check("old_champion") == {}


def test_a_model_without_a_champion_is_not_old(world):
    world.bring(*days(3))
    assert world.check("old_champion") == {} == world.check("guardrail")


def test_a_rollback_by_the_guardrails_is_told_until_another_version_serves(world):
    champion_since(world, NOW - 9 * DAY)
    move(world, PROMOTE, "2", NOW - DAY, left="1")
    move(world, ROLLBACK, "1", NOW - HOUR, left="2", reason=f"{ROLLED_BACK} 2 back. CTR fell.")
    (found,) = world.check("guardrail").values()
    assert found.severity == "critical" and found.summary.endswith("CTR fell.") and found.since == NOW - HOUR
    assert found.scope["version"] == "2" and "releases why 2" in found.evidence[0].query
    assert world.check("guardrail", hours=0.5) == {}
    move(world, PROMOTE, "3", NOW, left="1")
    assert world.check("guardrail") == {}


def test_a_rollback_by_people_is_no_alert(world):
    champion_since(world, NOW - 9 * DAY)
    move(world, PROMOTE, "2", NOW - DAY, left="1")
    move(world, ROLLBACK, "1", NOW - HOUR, left="2", reason="CTR fell")
    assert world.check("guardrail") == {}


# undelivered


def tried(world, at, state, message="m1", receiver="shop.example#1"):
    row = {
        "announcement": message,
        "receiver": receiver,
        "state": state,
        "at": at,
        "event": "release.promoted",
    }
    world.add(tables.ANNOUNCEMENTS, {**row, "problem": "it answered 500" if state != "sent" else None})


def test_a_receiver_that_fails_for_a_while_is_found_until_a_message_arrives(world):
    tried(world, NOW - 5 * HOUR, "sent")
    tried(world, NOW - HOUR / 2, "failed")
    assert world.check("undelivered") == {}
    world.now += HOUR
    (found,) = world.check("undelivered").values()
    assert found.scope == {"receiver": "shop.example#1"} and found.since == NOW - HOUR / 2
    assert "it answered 500" in found.summary and runs(world, found) == [2]
    tried(world, NOW + HOUR / 2, "sent")
    assert world.check("undelivered") == {}


def test_a_message_that_was_given_up_is_found_at_once_and_once_a_receiver(world):
    tried(world, NOW - HOUR / 2, "failed", "m1")
    tried(world, NOW - HOUR / 4, "given_up", "m1")
    tried(world, NOW - HOUR / 4, "failed", "m2")
    tried(world, NOW - HOUR / 4, "sent", "m2", receiver="other#2")
    (found,) = world.check("undelivered").values()
    assert "2 messages do not reach" in found.summary and "1 of them" in found.summary
