"""Lists of trials: made as their arm says, labelled, and never worse than the champion's."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastaisle.experiments.assignment import arm_sql, bucket_sql
from lastaisle.experiments.traffic import Arm, Mix
from lastaisle.feedback import origin
from lastaisle.feedback.origin import list_id, origin_of
from lastaisle.serve.trials.ready import ReadyTrial
from tests.serve.batches import ask_together
from tests.serve.running_trials import Traffic, bandit, experiment
from tests.serve.toys import LAKE_KEY, ToyModel

PATH = "/v1/recommendations"
UNITS = [f"{number:032x}" for number in range(40)]


class Backwards(ToyModel):
    """Scores the item before the last known item highest."""

    def score(self, sessions):
        scores, scored = super().score(sessions)
        scores[:, 1:] = -scores[:, 1:]
        return scores, scored


class Broken(ToyModel):
    def score(self, sessions):
        raise RuntimeError("the graph is broken")


class Refusing(ToyModel):
    def score(self, sessions):
        raise ValueError("session 0: expected one value of price per item")


@pytest.fixture
def make_shop(tmp_path, make_service):
    """Make a service whose champion is version 7; further versions stand in `arms`."""

    def make(*trials, **arms):
        traffic = Traffic(tmp_path, **arms)
        for trial in trials:
            traffic.move(trial)
        client = make_service(model=traffic.champion, trials=traffic.trials)
        client.traffic = traffic
        return client

    return make


def asked(client, unit, **fields):
    return client.ask("i5", pseudonym=unit, k=3, **fields)


def test_each_shopper_stays_in_one_arm_and_the_list_and_its_id_say_which(make_shop):
    client = make_shop(experiment())
    arms = Counter()
    for unit in UNITS:
        reply = asked(client, unit)
        arm = client.traffic.trials._running[0].trial.arm_of(unit, datetime.now(UTC))
        assert (reply["experiment"], reply["arm"], reply["propensity"]) == ("demo", arm, 0.5)
        assert reply["policy"] == {"control": "model", "new": "popular"}[arm]
        label = origin_of(reply["recommendation_id"]).label
        assert (label.experiment, label.arm, label.propensity, label.context) == ("demo", arm, 0.5, None)
        assert asked(client, unit)["arm"] == arm
        arms[arm] += 1
    assert min(arms.values()) > 10
    for arm, count in arms.items():
        metric = f'lastaisle_serve_trial_lists_total{{arm="{arm}",experiment="demo"}}'
        assert client.metric(metric) == 2 * count


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 2**128 - 1), min_size=1, max_size=20, unique=True), st.integers(1, 9))
def test_the_label_is_the_arm_that_sql_finds_for_the_pseudonym(numbers, tenths):
    trial = experiment(shares=(tenths / 10, 1 - tenths / 10))
    ready, units = ReadyTrial(trial, {}), [f"{number:032x}" for number in numbers]
    ids = []
    for unit in units:
        made = ready.assign(unit, {}, datetime.now(UTC), "a" * 24)
        ids.append(list_id("7", "model", made.digits, consent=True, is_drawn=False, label=made.label))
    by_hash = arm_sql(trial.phases[0].ranges, bucket_sql("demo", "unit"))
    query = f"""SELECT {origin.arm_sql("listed")}, {by_hash}
        FROM (SELECT unnest($ids) AS listed, unnest($units) AS unit)"""
    with duckdb.connect() as connection:
        for labelled, hashed in connection.execute(query, {"ids": ids, "units": units}).fetchall():
            assert labelled == hashed


def test_a_visit_decides_where_there_is_no_shopper_and_neither_is_stored(make_shop):
    client = make_shop(experiment())
    pseudonym = LAKE_KEY.pseudonym("session_id", "visit 1")
    by_id = client.ask("i5", session_id="visit 1")
    assert by_id["arm"] == client.ask("i5", session_pseudonym=pseudonym)["arm"]
    shopper = client.ask("i5", session_id="visit 1", user_id="anna")
    assert shopper["arm"] == asked(client, LAKE_KEY.pseudonym("user_id", "anna"))["arm"]
    both = {"items": ["i5"], "session_id": "v", "session_pseudonym": pseudonym}
    assert client.post(PATH, json=both).status_code == 422


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"pseudonym": UNITS[0], "consent": False},
        {"session_id": "v", "consent": False},
        {"pseudonym": UNITS[0], "policy": "model"},
        {"pseudonym": UNITS[0], "policy": "popular"},
        {"pseudonym": UNITS[0], "placement": "cart"},
        {"pseudonym": UNITS[0], "context": {"country": "FR"}},
    ],
)
def test_a_request_without_consent_unit_or_part_in_the_trial_has_no_label(make_shop, fields):
    client = make_shop(experiment(placements=("checkout",), targeting={"country": ("DE",)}))
    here = {"context": {"country": "DE"}}
    reply = client.ask("i5", **{**here, **fields})
    assert "experiment" not in reply
    assert origin_of(reply["recommendation_id"]).label is None
    assert asked(client, UNITS[0], **here)["experiment"] == "demo"


def test_an_arm_decides_version_exclusion_and_mix(make_shop):
    arms = (
        Arm(name="champion"),
        Arm(name="version", version="8"),
        Arm(name="unseen", exclude_seen=True),
        Arm(name="mixed", mix=Mix(positions=(2,), version="8")),
        Arm(name="blend", version="8", mix=Mix(positions=(1, 3), policy="popular")),
    )
    client = make_shop(experiment("demo", *arms), v8=Backwards())
    lists = {}
    for unit in UNITS:
        reply = asked(client, unit, context={"country": "DE"})
        lists[reply["arm"]] = (reply["version"], [item["id"] for item in reply["items"]])
    own = [f"i{number}" for number in (6, 7, 8)]
    theirs = client.traffic.arms.loaded["8"].model
    back = [f"i{at}" for at in theirs.score([(["i5"], {})])[0][0].argsort()[::-1][:3]]
    assert lists["champion"] == ("7", own)
    assert lists["version"] == ("8", back)
    assert lists["mixed"] == ("7", [own[0], back[0], own[1]])
    assert lists["blend"] == ("8", ["i1", next(item for item in back if item != "i1"), "i2"])
    assert "i5" not in client.ids(
        "i5", pseudonym=next(u for u in UNITS if asked(client, u)["arm"] == "unseen"), k=10
    )


def test_requests_of_several_arms_share_a_batch(make_shop):
    challenger = ToyModel()
    client = make_shop(experiment("demo", Arm(name="a"), Arm(name="b", version="8")), v8=challenger)
    champion = client.traffic.champion
    questions = [{"items": ["i5"], "pseudonym": unit} for unit in UNITS[:8]]
    replies = [reply.json() for reply in ask_together(client, champion, questions)]
    assert {(reply["arm"], reply["version"]) for reply in replies} == {("a", "7"), ("b", "8")}
    assert max(len(batch) for batch in champion.asked) > 1
    assert max(len(batch) for batch in challenger.asked) > 1


@pytest.mark.parametrize("model", [Broken, Refusing])
def test_where_the_version_of_an_arm_fails_the_champion_answers_without_a_label(make_shop, model):
    client = make_shop(experiment("demo", Arm(name="a"), Arm(name="b", version="8")), v8=model())
    replies = [asked(client, unit) for unit in UNITS]
    assert {reply["version"] for reply in replies} == {"7"}
    assert {reply.get("arm") for reply in replies} == {"a", None}
    failures = client.metric('lastaisle_serve_trial_failures_total{arm="b",experiment="demo"}')
    assert failures == sum("arm" not in reply for reply in replies) > 0
    for reply in replies:
        assert (origin_of(reply["recommendation_id"]).label is None) == ("arm" not in reply)


def test_a_request_that_the_champion_refuses_too_is_no_failure_of_the_arm(make_shop):
    client = make_shop(experiment("demo", Arm(name="b", version="8"), shares=(1.0,)), v8=ToyModel())
    for context in ({"countri": "DE"}, {"country": 7}):
        wrong = {"items": ["i5"], "pseudonym": UNITS[0], "context": context}
        assert client.post(PATH, json=wrong).status_code == 422
    assert client.metric('lastaisle_serve_trial_failures_total{arm="b",experiment="demo"}') == 0


def test_an_arm_takes_a_request_for_a_column_that_only_the_champion_reads(make_shop):
    client = make_shop(
        experiment("demo", Arm(name="b", version="8"), shares=(1.0,)), v8=ToyModel(columns={"price": "event"})
    )
    client.service.versions.current.model.columns["shelf"] = "session"
    assert asked(client, UNITS[0], context={"shelf": "top"})["arm"] == "b"


def test_the_canary_gets_the_requests_that_no_experiment_takes(make_shop):
    canary = experiment("canary-8", Arm(name="control"), Arm(name="canary", version="8"), kind="canary")
    half = experiment(buckets=(0, 5000))
    client = make_shop(canary, half, v8=ToyModel())
    labels = {(reply["experiment"], reply["arm"]) for reply in (asked(client, unit) for unit in UNITS)}
    assert labels == {("demo", "control"), ("demo", "new"), ("canary-8", "control"), ("canary-8", "canary")}


def test_a_list_of_a_bandit_says_its_context_and_its_choice_and_learns_from_feedback(make_shop):
    client = make_shop(bandit(context=("country", "device_type")))
    reply = asked(client, UNITS[0], context={"country": "D/E"})
    label = origin_of(reply["recommendation_id"]).label
    assert (label.experiment, label.context) == ("which", ("DE", ""))
    assert label.choice in {"control", "new"}
    assert label.propensity == reply["propensity"]
    assert 0 < label.propensity < 1
    live = client.traffic.trials._running[0].ready.live
    before = json.loads(json.dumps(live._counts))
    click = {"recommendation_id": reply["recommendation_id"], "items": ["i6"]}
    for kind in ("shown", "added", "clicked", "clicked"):
        assert client.post("/v1/feedback", json={**click, "kind": kind}).status_code == 200
    cells = live._counts[label.arm]
    assert sum(cell[1] for cell in cells.values()) == 1 + sum(cell[1] for cell in before[label.arm].values())


def test_a_bandit_draws_each_list_by_the_probabilities_that_it_names(make_shop):
    client = make_shop(bandit(share=0.0))
    replies = [asked(client, UNITS[0]) for _ in range(300)]
    counts = Counter((reply["arm"], reply["propensity"]) for reply in replies)
    assert set(counts) == {("control", 0.9), ("new", 0.1)}
    assert 10 < counts["new", 0.1] < 60


def test_the_next_phase_and_the_end_come_by_the_clock(make_shop):
    soon = datetime.now(UTC) + timedelta(days=1)
    client = make_shop(
        experiment("early", starts_at=soon), experiment("over", stops_at=datetime.now(UTC)), experiment("now")
    )
    assert asked(client, UNITS[0])["experiment"] == "now"
    assert [taken.trial.name for taken in client.traffic.trials._running] == ["early", "now"]


def test_feedback_becomes_a_row_with_experiment_arm_and_propensity(make_shop):
    client = make_shop(experiment(shares=(0.25, 0.75)))
    reply = asked(client, UNITS[0])
    shown = {"recommendation_id": reply["recommendation_id"], "kind": "shown", "items": ["i6"]}
    assert client.post("/v1/feedback", json={**shown, "pseudonym": UNITS[0]}).status_code == 200
    [row] = [json.loads(line) for line in client.service.sink.lines]
    assert (row["experiment"], row["arm"]) == ("demo", reply["arm"])
    assert row["propensity"] == reply["propensity"] == {"control": 0.25, "new": 0.75}[reply["arm"]]


def test_an_explanation_says_which_arm_made_the_list_and_whether_a_bandit_explored(make_shop):
    client = make_shop(bandit())
    found = set()
    for unit in UNITS:
        reply = asked(client, unit, explain=True)
        label = origin_of(reply["recommendation_id"]).label
        for item in reply["items"]:
            why = item["why"]
            assert [why[name] for name in ("experiment", "arm", "propensity")] == [
                reply[name] for name in ("experiment", "arm", "propensity")
            ]
            assert why["explored"] == (label.choice != label.arm)
            found.add(why["explored"])
    assert found
