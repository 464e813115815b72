"""What the service answers, keeps and counts for shoppers who refuse."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.feedback.origin import origin_of
from lastaisle.lake import Lake
from lastaisle.lake.tables import CONSENTS
from lastaisle.privacy.consents import Decision, record
from lastaisle.serve.consents.consents import Consents
from lastaisle.serve.questions import SESSIONS, USERS
from tests.serve.toys import LAKE_KEY

POPULAR = ["i1", "i2", "i3"]
GPC = {"Sec-GPC": "1"}
COUNTED = 'lastaisle_serve_not_personalized_total{reason="%s"}'


@pytest.fixture
def lake(tmp_path):
    (tmp_path / "lake").mkdir()
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def service(make_service, lake):
    consents = Consents(lake, 0.05)
    consents.look()
    return make_service(consents=consents)


def ids(reply):
    return [item["id"] for item in reply["items"]]


def ask(service, headers=None, **fields):
    body = {"items": ["i5"], "k": 3, **fields}
    reply = service.post("/v1/recommendations", json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.json()


def decide(service, **fields):
    body = {"purposes": ["personalization"], "granted": False, **fields}
    return service.post("/v1/consent", json=body)


def feedback(service, made, headers=None, **fields):
    body = {"recommendation_id": made["recommendation_id"], "kind": "shown", "items": ["i6"], **fields}
    reply = service.post("/v1/feedback", json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.json()["stored"]


def assert_not_personal(service, made, reason):
    assert ids(made) == POPULAR
    assert (made["policy"], made["not_personalized"]) == ("popular", reason)
    assert service.service.model.asked[-1] == [([], {})], "the model sees neither session nor shopper"
    assert service.metric(COUNTED % reason) == 1


def test_a_list_with_consent_is_personal_and_says_nothing_of_refusals(service):
    made = ask(service, user_id="anna")
    assert ids(made) == ["i6", "i7", "i8"]
    assert "not_personalized" not in made
    assert feedback(service, made, user_id="anna") == 1


def test_global_privacy_control_counts_as_no_consent_whatever_the_request_says(service):
    made = ask(service, GPC, user_id="anna", consent=True)
    assert_not_personal(service, made, "gpc")
    assert not origin_of(made["recommendation_id"]).consent
    assert feedback(service, made, user_id="anna") == 0
    personal = ask(service, {"Sec-GPC": "0"}, user_id="anna")
    assert personal["policy"] == "model"
    assert feedback(service, personal, GPC, user_id="anna") == 0
    assert service.service.sink.lines == []


def test_the_setting_says_which_purposes_global_privacy_control_refuses(make_service):
    from tests.serve.toys import ToyService

    made = ToyService()
    assert made.parts.refused_by_gpc == {"sale", "personalization"}


def test_no_consent_in_the_request_is_counted_by_its_name(service):
    assert_not_personal(service, ask(service, user_id="anna", consent=False), "consent")


def test_a_switch_gives_popular_items_and_their_feedback_is_kept(service):
    made = ask(service, user_id="anna", personalize=False, policy="model")
    assert_not_personal(service, made, "switch")
    assert origin_of(made["recommendation_id"]).consent
    assert origin_of(made["recommendation_id"]).policy == "popular"
    assert feedback(service, made, user_id="anna") == 1
    assert json.loads(service.service.sink.lines[0])["policy"] == "popular"


@pytest.mark.parametrize("who", ["user_id", "pseudonym", "session_id", "session_pseudonym"])
def test_a_withdrawn_consent_counts_in_the_next_answer_whatever_the_caller_says(service, lake, who):
    domain = USERS if who in {"user_id", "pseudonym"} else SESSIONS
    name = LAKE_KEY.pseudonym(domain, "anna")
    given = {who: "anna" if who.endswith("id") else name}
    before = ask(service, **given)
    assert before["policy"] == "model"
    reply = decide(service, **given)
    assert (reply.status_code, reply.json()) == (200, {"recorded": 1})
    assert_not_personal(service, ask(service, **given, consent=True), "withdrawn")
    assert feedback(service, before, **given) == 0, "the list was personal, and the shopper withdrew since"
    (row,) = lake.scan(CONSENTS).to_pylist()
    assert (row["user_id"], row["session_id"]) == ((name, None) if domain == USERS else (None, name))
    assert (row["purpose"], row["granted"], row["source"]) == ("personalization", False, "switch")
    assert row["key_version"] == (1 if who.endswith("id") else None)
    assert ask(service, user_id="ben")["policy"] == "model"
    assert decide(service, **given, granted=True).status_code == 200
    assert ask(service, **given)["policy"] == "model"
    assert service.metric('lastaisle_serve_decisions_total{granted="no",purpose="personalization"}') == 1


def test_a_visit_that_withdrew_gets_no_personal_list_after_the_shopper_logs_in(service):
    decide(service, session_id="visit")
    assert ask(service, session_id="visit", user_id="anna")["not_personalized"] == "withdrawn"
    assert ask(service, session_id="another", user_id="anna")["policy"] == "model"


def test_who_refuses_only_to_be_counted_gets_personal_lists_whose_feedback_is_not_kept(service):
    decide(service, user_id="anna", purposes=["analytics", "sale"])
    made = ask(service, user_id="anna")
    assert made["policy"] == "model"
    assert feedback(service, made, user_id="anna") == 0
    assert feedback(service, made, user_id="ben") == 1


def test_a_decision_of_another_process_counts_at_the_next_look(make_service, lake):
    consents = Consents(lake, 0.02)
    service = make_service(consents=consents)
    name = LAKE_KEY.pseudonym(USERS, "anna")
    record(lake, [Decision(name, None, "personalization", False, datetime.now(UTC), "request")], 1)
    end = datetime.now(UTC) + timedelta(seconds=20)
    while ask(service, user_id="anna")["policy"] == "model":
        assert datetime.now(UTC) < end
    assert ask(service, user_id="anna")["not_personalized"] == "withdrawn"


def test_while_nobody_knows_who_refuses_no_list_is_personal_and_no_feedback_is_taken(
    make_service, lake, tmp_path
):
    made = ask(make_service(), user_id="anna")
    (tmp_path / "lake" / CONSENTS).write_text("a file in the place of the table")
    consents = Consents(lake, 60)
    service = make_service(consents=consents)
    end = datetime.now(UTC) + timedelta(seconds=20)
    while not consents.has_looked:
        assert datetime.now(UTC) < end
    assert service.get("/readyz").status_code == 200
    assert_not_personal(service, ask(service, user_id="anna"), "unknown")
    body = {"recommendation_id": made["recommendation_id"], "kind": "shown", "items": ["i6"]}
    reply = service.post("/v1/feedback", json={**body, "user_id": "anna"})
    assert (reply.status_code, reply.json()["code"]) == (503, "unready")
    (problem,) = service.get("/v1/model").json()["problems"]
    assert "the consents cannot be read" in problem


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({}, 422, "received none"),
        ({"user_id": "anna", "session_id": "x"}, 422, "received user_id and session_id"),
        ({"user_id": "anna", "purposes": []}, 422, "purposes"),
        ({"user_id": "anna", "purposes": ["ads"]}, 422, "ads"),
        ({"user_id": "anna", "granted": "no"}, 422, "granted"),
        ({"user_id": "anna", "source": "dnt"}, 422, "dnt"),
        ({"user_id": "null"}, 422, "user_id is no id"),
        ({"pseudonym": "anna"}, 422, "pseudonym"),
        ({"user_id": "anna", "at": "2999-01-01T00:00:00Z"}, 422, "between the year 2000 and now"),
        ({"user_id": "anna", "at": "2025-01-01T00:00:00"}, 422, "at"),
        ({"user_id": "anna", "email": "anna@shop.example"}, 422, "email"),
    ],
)
def test_a_decision_that_says_too_little_or_too_much_is_refused(service, lake, fields, status, message):
    reply = decide(service, **fields)
    assert reply.status_code == status
    assert message in reply.json()["message"]
    assert "anna" not in reply.text
    assert lake.version(CONSENTS) is None


def test_a_decision_needs_a_key_and_a_lake(make_service, service, tmp_path):
    body = {"user_id": "anna", "purposes": ["sale"], "granted": False}
    assert service.post("/v1/consent", json=body, headers={"Authorization": "Bearer x"}).status_code == 401
    without = make_service()
    assert without.post("/v1/consent", json=body).json()["code"] == "storage"
    consents = Consents(Lake(str(tmp_path / "none")), 60)
    nowhere = make_service(consents=consents).post("/v1/consent", json=body)
    assert (nowhere.status_code, nowhere.json()["code"]) == (503, "storage")
    assert nowhere.headers["Retry-After"]
