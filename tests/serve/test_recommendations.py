"""What the service answers to a request for recommendations."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from data_contracts.privacy import domain_key
from lastaisle.feedback.origin import origin_of
from tests.serve.batches import ask_together
from tests.serve.toys import LAKE_KEY, ToyModel

PATH = "/v1/recommendations"


def test_a_session_gets_the_models_items_and_the_names_of_version_and_list(service):
    reply = service.ask("i3", k=2)
    assert [(item["id"], item["reason"]) for item in reply["items"]] == [("i4", "model"), ("i5", "model")]
    assert (reply["version"], reply["model"], reply["policy"]) == ("7", "shop", "model")
    assert reply["items"][0]["score"] > reply["items"][1]["score"]
    assert service.ask("i3")["recommendation_id"] != reply["recommendation_id"]


@pytest.mark.parametrize("items", [[], ["never seen"], None])
def test_a_session_that_the_model_does_not_know_gets_popular_items(service, items):
    reply = service.post(PATH, json={"items": items, "k": 3}).json()
    assert reply["policy"] == "popular"
    assert [(item["id"], item["reason"]) for item in reply["items"]] == [
        (f"i{number}", "popular") for number in (1, 2, 3)
    ]


def test_ids_are_texts_or_whole_numbers_and_missing_ids_are_passed_over(make_service):
    model = ToyModel()
    service = make_service(model=model)
    service.ask("i1", 5, 6.0, None, 12345678901234567890123)
    assert model.asked[-1][0][0] == ["i1", "5", "6", None, "12345678901234567890123"]


def test_cart_exclude_and_seen_items_are_left_out_and_the_list_is_filled_up(service):
    assert service.ids("i3", k=3) == ["i4", "i5", "i6"]
    assert service.ids("i3", k=3, cart=["i4"], exclude=["i6", "unknown", None]) == ["i5", "i7", "i8"]
    assert service.ids("i3", "i5", "i4", k=3, exclude_seen=True) == ["i6", "i7", "i8"]
    assert service.ids("i3", k=100, exclude_seen=True) == [
        f"i{each}" for each in (4, 5, 6, 7, 8, 9, 10, 1, 2)
    ]


def test_the_default_of_exclude_seen_is_how_the_version_was_judged(make_service):
    model = ToyModel()
    service = make_service(model=model)
    assert "i3" in service.ids("i3", k=10)
    model.exclude_seen = True
    assert "i3" not in service.ids("i3", k=10)
    assert "i3" in service.ids("i3", k=10, exclude_seen=False)


def test_without_consent_the_model_sees_nothing_and_the_items_are_popular(make_service):
    model = ToyModel()
    service = make_service(model=model)
    reply = service.ask("i3", user_id="anna", context={"country": "DE"}, consent=False, cart=["i1"], k=2)
    assert model.asked[-1] == [([], {})]
    assert [item["id"] for item in reply["items"]] == ["i2", "i3"]
    assert reply["policy"] == "popular"
    assert origin_of(reply["recommendation_id"]).consent is False


def test_popular_items_can_be_asked_for_and_the_model_sees_nothing(make_service):
    model = ToyModel()
    service = make_service(model=model)
    asked = {"user_id": "anna", "context": {"country": "DE"}, "cart": ["i1"], "k": 2, "explain": True}
    reply = service.ask("i3", policy="popular", **asked)
    assert model.asked == [[([], {})]], "no session, and no explanation"
    assert [(item["id"], item["reason"]) for item in reply["items"]] == [("i2", "popular"), ("i3", "popular")]
    assert reply["policy"] == origin_of(reply["recommendation_id"]).policy == "popular"
    assert origin_of(reply["recommendation_id"]).consent is True
    assert service.metric(
        'lastaisle_serve_requests_total{path="/v1/recommendations",policy="popular",status="200"}'
    )


def test_the_popular_list_leaves_out_what_the_models_list_leaves_out(service):
    left_out = {"k": 3, "cart": ["i1"], "exclude": ["i4"], "exclude_seen": True}
    assert service.ids("i2", policy="popular", **left_out) == ["i3", "i5", "i6"]
    assert service.ids("i2", policy="model", **left_out) == ["i3", "i5", "i6"]
    assert service.ids("i9", k=1) == service.ids("i9", k=1, policy="model") == ["i10"]


def test_the_model_and_popular_items_can_share_a_batch(make_service):
    model = ToyModel()
    service = make_service(model=model)
    questions = [{"items": ["i5"], "k": 1, "policy": policy} for policy in ("model", "popular", "model")]
    replies = [reply.json() for reply in ask_together(service, model, questions)]
    assert max(len(batch) for batch in model.asked) == 3
    assert [(each["policy"], each["items"][0]["id"]) for each in replies] == [
        ("model", "i6"), ("popular", "i1"), ("model", "i6"),
    ]  # fmt: skip


def test_popular_items_without_consent_are_kept_as_counts_only(service):
    reply = service.ask("i3", policy="popular", consent=False)
    assert origin_of(reply["recommendation_id"]).consent is False


def test_a_raw_user_id_reaches_the_model_as_the_pseudonym_of_the_lake(make_service):
    model = ToyModel()
    service = make_service(model=model)
    expected = hmac.digest(domain_key(LAKE_KEY.secret, "user_id"), b"anna", hashlib.sha256).hex()[:32]
    for given in ({"user_id": "anna"}, {"user_id": " anna "}, {"pseudonym": expected}):
        service.ask("i1", **given)
        assert model.asked[-1][0][1] == {"user": expected}
    service.ask("i1", user_id=7)
    assert model.asked[-1][0][1] == {"user": LAKE_KEY.pseudonym("user_id", "7")}


def test_without_a_key_raw_ids_are_refused_and_pseudonyms_are_taken(make_service):
    service = make_service(key=None)
    reply = service.post(PATH, json={"items": ["i1"], "user_id": "anna"})
    assert (reply.status_code, reply.json()["code"]) == (503, "no_pseudonym_key")
    assert "anna" not in reply.text
    assert service.ask("i1", pseudonym="0" * 32)["policy"] == "model"
    assert service.ask("i1", user_id="anna", consent=False)["policy"] == "popular"


WRONG = {
    "an unknown field": ({"itmes": []}, "itmes"),
    "an unknown field of many": ({"items": [], "K": 1}, "K"),
    "no list": ({"items": "i1"}, "$.items"),
    "an id that is no id": ({"items": [True]}, "$.items"),
    "half an id": ({"items": [1.5]}, "items"),
    "half an id in the cart": ({"cart": [1.5]}, "cart"),
    "a list in a list": ({"items": [["i1"]]}, "$.items"),
    "k of 0": ({"k": 0}, "$.k"),
    "k of text": ({"k": "5"}, "$.k"),
    "too large k": ({"k": 1001}, "$.k"),
    "consent of text": ({"consent": "yes"}, "$.consent"),
    "a short pseudonym": ({"pseudonym": "abc"}, "$.pseudonym"),
    "a pseudonym and a line feed": ({"pseudonym": "a" * 32 + "\n"}, "$.pseudonym"),
    "capitals in a pseudonym": ({"pseudonym": "A" * 32}, "$.pseudonym"),
    "two shoppers": ({"pseudonym": "a" * 32, "user_id": "u"}, "not both"),
    **{
        f"a user {text!r}": ({"user_id": text}, "user_id is no id") for text in ("undefined", " NULL ", "NaN")
    },
    "an empty user": ({"user_id": ""}, "$.user_id"),
    "a user of blanks": ({"user_id": "  "}, "user_id"),
    "a truth as user": ({"user_id": "true"}, "user_id"),
    "a control character in a user": ({"user_id": "a\u0000"}, "$.user_id"),
    "an unknown context": ({"context": {"contry": "DE"}}, "'country'"),
    "a user in the context": ({"context": {"user": "anna"}}, "user_id or pseudonym"),
    "an object in the context": ({"context": {"country": {}}}, "$.context"),
    "context that is no object": ({"context": []}, "$.context"),
    "a wrong context value": ({"context": {"country": 7}}, "country should be a text"),
    "a filter without a catalogue": ({"filter": "price < 5"}, "filter needs a catalogue"),
    "a placement with a line feed": ({"placement": "cart\n"}, "$.placement"),
    "an unknown policy": ({"policy": "best"}, "$.policy"),
    "no policy": ({"policy": None}, "$.policy"),
    "no object": ([], "object"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_field_is_refused_by_its_name(service, name):
    body, named = WRONG[name]
    reply = service.post(PATH, json=body)
    assert (reply.status_code, reply.json()["code"]) == (422, "wrong_value"), reply.text
    assert named in reply.json()["message"]
    assert service.ids("i1", k=1) == ["i2"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b'{"items": ["\\ud800"]}', b"[" * 100_000, b'{"a":' * 50_000, b"NaN", b"{'k': 1}"],
    ids=["nothing", "half", "no UTF-8", "half a character", "deep", "deep object", "NaN", "quotes"],
)
def test_a_body_that_is_no_json_is_refused(service, body):
    assert service.post(PATH, content=body).status_code in (400, 422)


def test_a_wrong_value_fails_no_other_request_of_its_batch(make_service):
    model = ToyModel()
    service = make_service(model=model)
    replies = ask_together(
        service, model, [{"items": ["i1"]}, {"context": {"country": 7}}, {"items": ["i2"]}]
    )
    assert [reply.status_code for reply in replies] == [200, 422, 200]
    assert max(len(batch) for batch in model.asked) == 3


def test_an_explanation_names_the_item_that_speaks_most_for_each(service):
    reply = service.ask("i7", "i3", k=1, explain=True)
    assert reply["items"][0]["because"] == "i3"
    assert "because" not in service.ask("i7", "i3", k=1)["items"][0]
    assert "because" not in service.ask(k=1, explain=True)["items"][0]
    assert service.ask("unknown", "i3", k=1, explain=True)["items"][0]["because"] == "i3"


def test_an_explanation_says_what_carried_each_item_and_how_popular_it_is(make_service):
    model = ToyModel()
    service = make_service(model=model)
    why = service.ask("i7", "i3", k=2, explain=True)["items"][0]["why"]
    assert why == {"carried_by": [{"id": "i3", "share": 1.0}], "popularity": pytest.approx(0.64 / 11)}
    assert "why" not in service.ask("i7", "i3", k=1)["items"][0]
    assert len(model.asked[-1]) == 1, "without an explanation the model scores the session alone"


def test_the_shares_of_the_carriers_are_the_scores_that_are_lost_without_them(make_service):
    class Sums(ToyModel):
        """Scores i9 by 0.1 for each 'i1', 0.2 for 'i2', 0.3 for 'i3' and 0.4 for 'i4' of the session."""

        def score(self, sessions):
            scores, scored = super().score(sessions)
            for row, (items, _) in enumerate(sessions):
                scores[row, 9] = 1 + sum(0.1 * int(item[1:]) for item in items)
            return scores, scored

    service = make_service(model=Sums())
    (item,) = service.ask("i1", "i2", "i3", "i4", k=1, explain=True)["items"]
    assert (item["id"], item["because"]) == ("i9", "i4")
    assert item["why"]["carried_by"] == [
        {"id": "i4", "share": pytest.approx(0.4, abs=1e-3)},
        {"id": "i3", "share": pytest.approx(0.3, abs=1e-3)},
        {"id": "i2", "share": pytest.approx(0.2, abs=1e-3)},
    ]


def test_a_list_that_is_not_personal_is_explained_without_the_session(make_service):
    model = ToyModel()
    service = make_service(model=model)
    for fields in ({"consent": False}, {"personalize": False}, {"policy": "popular"}):
        (item,) = service.ask("i7", "i3", user_id="anna", k=1, explain=True, **fields)["items"]
        assert (item["id"], set(item["why"])) == ("i1", {"popularity"})
        assert item["why"]["popularity"] == item["score"]
        assert model.asked[-1] == [([], {})], "no explanation uses what the list may not"


def test_no_version_is_a_503(service):
    service.service.versions.current = None
    reply = service.post(PATH, json={})
    assert (reply.status_code, reply.json()["code"]) == (503, "unready")
    assert int(reply.headers["retry-after"]) > 0
    assert service.get("/readyz").status_code == 503
    assert service.get("/healthz").status_code == 200
