"""The tasks of `erase_subjects`, without a scheduler: they pass on requests, and name no shopper."""

import json
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from lastaisle.rights.work import ask
from lastaisle_airflow.tasks import sentences, subjects
from tests.rights.conftest import ANNA, BERTA, Shop, fill

RUN = SimpleNamespace(
    run_id="manual__1", run_type="manual", triggering_user_name="anna", dag_id="erase_subjects"
)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    shop = fill(Shop(tmp_path / "home"))
    for name, value in shop.settings.to_env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(subjects, "get_current_context", dict)
    return shop


def do(name, dry_run=False):
    return subjects.do_request.function(name, params={"dry_run": dry_run}, dag_run=RUN)


def test_without_requests_the_run_is_skipped(shop):
    with pytest.raises(AirflowSkipException, match="no request of a shopper waits"):
        subjects.list_requests.function(params={"request_id": None})
    with pytest.raises(AirflowFailException, match="there is no request"):
        subjects.list_requests.function(params={"request_id": "0" * 16})


def test_all_waiting_requests_are_done_and_summed_up(shop):
    erased = ask(shop.desk, "erase", [ANNA], "clerk").request_id
    killed = shop.desk.inbox.put("object", [BERTA], "clerk")
    assert subjects.list_requests.function(params={"request_id": None}) == [erased, killed]
    assert subjects.list_requests.function(params={"request_id": erased}) == [erased]
    dry = do(erased, dry_run=True)
    assert (dry["state"], dry["counts"]["rows"]) == ("dry run", 7)
    assert ANNA in shop.users()
    assert sentences.of_requests([dry]) == "dry run: 1 request of shoppers, 7 rows to erase"
    reports = [do(erased), do(killed)]
    assert shop.users() == {BERTA}
    assert ANNA not in json.dumps(reports)
    assert sentences.of_requests(reports) == "2 requests of shoppers done, 7 rows erased, 0 found afterwards"
    assert subjects.sum_up.function(reports) == []
    assert do(erased)["state"] == "done", "again, nothing is done"
    with pytest.raises(AirflowSkipException):
        subjects.list_requests.function(params={"request_id": None})


def test_a_training_follows_if_a_version_learned_from_an_erased_shopper():
    versions = [
        {"version": "10", "decided": "retrain_or_retire"},
        {"version": "9", "decided": "retrain_or_retire"},
        {"version": "8", "decided": "lost_vector"},
        {"version": "", "decided": "retrain_or_retire"},
    ]
    report = {
        "kind": "erase",
        "state": "done",
        "counts": {"rows": 1, "found": 0, "proven": True, "versions": versions},
    }
    assert subjects.sum_up.function([report, None]) == ["9", "10"]
    assert subjects.require_training(["9", "10"], "retrain").startswith("v9, v10 learned from shoppers")
    for versions, policy in (([], "retrain"), (["9"], "retire")):
        with pytest.raises(AirflowSkipException):
            subjects.require_training(versions, policy)
