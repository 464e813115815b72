"""Which releases are risky, and how the answer of people decides."""

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from lastaisle.evaluation.report import Estimate
from lastaisle.registry.ledger import PROMOTE, REFUSE, Ledger
from lastaisle.registry.plan import Champion
from lastaisle.release.approval import Approval, ApprovalOutdatedError
from lastaisle.release.fallback import tells_of_the_model
from lastaisle.release.release import release_candidate
from lastaisle.release.risk import assess, risks_of

CONTRACT = {"lastaisle.contract_version": "1.2.0"}
CHAMPION = Champion("3", "r3", "full-x", datetime(2025, 10, 1, tzinfo=UTC), "attention", {})


@dataclasses.dataclass
class Plan:
    architecture: str = "attention"


def risky(plan=None, tags=None, churn=0.3, champion_tags=None):
    estimate = None if churn is None else Estimate(churn, churn, churn)
    found = risks_of(
        plan or Plan(),
        CONTRACT | (tags or {}),
        estimate,
        CHAMPION,
        CONTRACT if champion_tags is None else champion_tags,
        large_churn=0.5,
    )
    assert all(risk.says == ("passed" if risk.passed else "risky") for risk in found)
    return [risk.name for risk in found if not risk.passed]


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        ({}, []),
        ({"churn": None}, []),
        ({"churn": 0.5}, []),
        ({"churn": 0.51}, ["large_churn"]),
        ({"plan": Plan("gru")}, ["new_architecture"]),
        ({"tags": {"lastaisle.contract_version": "2.0.0"}}, ["contract_change"]),
        ({"champion_tags": {}}, ["contract_change"]),  # of an older release
        ({"tags": {"lastaisle.epsilon": "2.0"}}, ["privacy_budget"]),
        (
            {"tags": {"lastaisle.epsilon": "2"}, "champion_tags": CONTRACT | {"lastaisle.epsilon": "1.5"}},
            ["privacy_budget"],
        ),
        ({"tags": {"lastaisle.epsilon": "1"}, "champion_tags": CONTRACT | {"lastaisle.epsilon": "1.5"}}, []),
    ],
)
def test_what_is_risky(candidate, expected):
    assert risky(**candidate) == expected


@pytest.mark.parametrize("by", ["ada", None])
def test_the_answer_is_a_rule_that_names_the_person_and_the_risks(by):
    check = Approval(False, by, ("large_churn",), "3").check()
    assert (check.name, check.passed) == ("approval", False)
    assert (by or "Nobody answered in time") in check.reason
    assert "large_churn" in check.reason


@pytest.fixture
def waiting(home):
    """A home with a champion, and the evaluated run of a candidate with another architecture."""
    home.day(1)
    run_id = home.train(2, kind="full", architecture="neighbours")
    home.evaluate(run_id)
    return home, run_id


def release(home, run_id, approval):
    return release_candidate(run_id, home.lake, home.registry, actor="tester", approval=approval)


@pytest.mark.training
def test_people_are_asked_once_with_the_decision_table_and_decide(waiting):
    home, run_id = waiting
    asked = {
        value: assess(run_id, home.lake, home.registry, home.settings.replace(approval=value, risky_churn=1))
        for value in ("off", "risky", "always")
    }
    passes = "The gate would pass" in asked["risky"].body
    assert [one.ask for one in asked.values()] == [False, passes, passes]
    assert asked["risky"].risks == ("new_architecture",)
    assert "| new_architecture |  |  | risky |" in asked["risky"].body
    assert "| not_worse_than_champion |" in asked["risky"].body

    outdated = Approval(True, "ada", (), "7")
    with pytest.raises(ApprovalOutdatedError, match="champion version 7, but now version 1"):
        release(home, run_id, outdated)

    decision = release(home, run_id, Approval(False, "ada", asked["risky"].risks, "1"))
    ledger = Ledger(home.lake, home.registry.model_name)
    move = ledger.moves()[-1]
    assert not decision.promote and move.action == REFUSE
    assert move.reason.startswith("ada rejected the release. The risks were: new_architecture.")
    assert "approval" in [check["name"] for check in json.loads(move.decision)["checks"]]
    assert home.registry.aliases()["champion"] == "1"
    assert not tells_of_the_model(move, home.registry), "it does not start a full training"
    again = assess(run_id, home.lake, home.registry, home.settings.replace(approval="always"))
    assert not again.ask, "people have decided already"


@pytest.mark.training
def test_an_approved_candidate_is_released_and_the_ledger_names_the_person(home):
    home.released(1)
    run_id = home.train(2)
    home.evaluate(run_id)
    asked = assess(run_id, home.lake, home.registry, home.settings.replace(approval="always"))
    assert asked.ask
    decision = release(home, run_id, Approval(True, "ada", asked.risks, asked.champion))
    move = Ledger(home.lake, home.registry.model_name).moves()[-1]
    assert decision.promote and move.action == PROMOTE
    assert "ada approved the release." in move.reason
