"""Requests of shoppers, from asked to done: what is done, what is written down, and what is not."""

import json
import zipfile
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.errors import LastaisleError
from lastaisle.lake import Lake
from lastaisle.lake.tables import ACCESSES, SUBJECT_REQUESTS
from lastaisle.privacy.accesses import NotARawReaderError
from lastaisle.privacy.consents import refused
from lastaisle.privacy.domains import key_of_lake
from lastaisle.privacy.keys import KeyFileError
from lastaisle.rights import work as works
from lastaisle.rights.inbox import RequestError
from lastaisle.rights.receipts import ReceiptKey, names_all, read_receipt, verify
from lastaisle.rights.requests import DONE, FAILED, WORKING, advance, find_request, read_requests, repair
from lastaisle.rights.work import Desk, ask, preview, work
from tests.privacy.worlds import event

from .conftest import ANNA, BERTA


def pseudonym(shop, user_id):
    return key_of_lake(shop.lake, shop.keys, shop.lake.version("events")).pseudonym("user_id", user_id)


def states(shop):
    return [
        row["state"] for row in sorted(shop.lake.scan(SUBJECT_REQUESTS).to_pylist(), key=lambda r: r["entry"])
    ]


def test_an_erasure_leaves_a_proof_and_no_id(shop):
    asked = ask(shop.desk, "erase", [ANNA], "clerk")
    assert asked.first.due_at - asked.first.at == timedelta(days=28)
    request = work(shop.desk, asked.request_id, actor="clerk")
    assert states(shop) == ["asked", "working", "done"]
    assert shop.users() == {BERTA}
    assert request.last.counts["found"] == 0
    assert request.last.counts["rows"] == 7, "three raw rows, three events, one broken row"
    assert shop.desk.inbox.names() == []

    signed = read_receipt((shop.desk.inbox.folder / "receipts" / f"{asked.request_id}.json").read_text())
    verify(signed, ReceiptKey.load_or_create(shop.settings.privacy.receipt_key).public)
    assert names_all(signed, [ANNA])
    assert not names_all(signed, [BERTA])
    assert "salt" not in request.last.receipt
    assert request.last.receipt == {name: signed[name] for name in ("receipt", "signature")}
    assert signed["receipt"]["done"]["found"] == 0
    for path in (shop.folder).rglob("*"):
        if path.is_file():
            assert ANNA.encode() not in path.read_bytes(), path
            assert pseudonym(shop, ANNA).encode() not in path.read_bytes(), path


def test_a_log_that_is_read_after_an_erasure_brings_nobody_back(shop):
    lines = [event("a", session_id="visit-of-anna"), event("d", 3, user_id=BERTA)]
    work(shop.desk, ask(shop.desk, "erase", [ANNA], "clerk").request_id, actor="clerk")
    shop.ingest(*lines, event("h", 9, user_id="carl"))
    assert shop.users() == {BERTA, "carl"}


def test_the_same_request_again_changes_nothing(shop):
    name = ask(shop.desk, "erase", [ANNA], "clerk").request_id
    first = work(shop.desk, name, actor="clerk")
    versions = {table: shop.lake.version(table) for table in ("raw_events", "events", SUBJECT_REQUESTS)}
    assert work(shop.desk, name, actor="clerk") == first
    assert {table: shop.lake.version(table) for table in versions} == versions


def test_a_thousand_shoppers_are_one_request(shop):
    shop.ingest(*(event(f"m{n}", n / 100, user_id=f"{n:04d}") for n in range(1200)))
    ids = [f"{n:04d}" for n in range(1000)]
    request = work(shop.desk, ask(shop.desk, "erase", ids, "clerk").request_id, actor="clerk")
    assert request.first.subjects == 1000
    assert shop.users() == {None, ANNA, BERTA, *(f"{n:04d}" for n in range(1000, 1200))}
    assert len(request.last.receipt["receipt"]["subjects"]) == 1000


@pytest.mark.parametrize(
    "user_id", ["a\nb", "J\u00fcrgen \U0001f6d2", "0017", "'; DROP TABLE events --", "%2e\\u0041"]
)
def test_odd_ids_are_erased_exactly(shop, user_id):
    shop.ingest(event("odd", user_id=user_id), event("near", user_id=f"{user_id}x"), event("n", user_id="17"))
    work(shop.desk, ask(shop.desk, "erase", [user_id], "clerk").request_id, actor="clerk")
    broken = {json.loads(row["payload"])["user_id"] for row in shop.lake.scan("quarantine").to_pylist()}
    assert shop.users() | broken == {None, ANNA, BERTA, f"{user_id}x", "17"}, (
        "a line break sends to quarantine"
    )


def test_a_shopper_whom_nobody_knows_gets_a_receipt_of_nothing(shop):
    request = work(shop.desk, ask(shop.desk, "erase", ["nobody"], "clerk").request_id, actor="clerk")
    assert (request.last.state, request.last.counts["rows"]) == (DONE, 0)
    assert shop.users() == {None, ANNA, BERTA}


def test_a_preview_changes_nothing_and_writes_no_request(shop):
    before = {table: shop.lake.version(table) for table in ("raw_events", "events", "quarantine")}
    told = preview(shop.desk, [ANNA])
    assert told.dry_run
    assert told.rows == 7
    assert {table: shop.lake.version(table) for table in before} == before
    assert shop.lake.version(SUBJECT_REQUESTS) is None
    assert shop.desk.inbox.names() == []


def test_a_copy_has_every_row_of_the_shopper_and_none_of_others(shop, tmp_path):
    asked = ask(shop.desk, "export", [ANNA], "clerk")
    out = tmp_path / "copy.json"
    request = work(shop.desk, asked.request_id, actor="clerk", reason="article 15", out=out)
    copy = json.loads(out.read_text())
    assert out.stat().st_mode & 0o777 == 0o600
    rows = {
        name: sorted(row["item_id"] for row in copy["tables"][name]["rows"])
        for name in ("raw_events", "events")
    }
    assert rows == {"raw_events": ["a", "b", "c"], "events": ["a", "b", "c"]}
    (broken,) = copy["tables"]["quarantine"]["rows"]
    assert json.loads(broken["payload"])["item_id"] == "g"
    assert BERTA not in out.read_text()
    assert copy["tables"]["raw_events"]["columns"]["user_id"]
    assert copy["tables"]["raw_events"]["purposes"]
    assert request.last.counts["rows"]["raw_events"] == 3
    assert str(out) not in json.dumps(shop.lake.scan(SUBJECT_REQUESTS).to_pylist(), default=str)
    (access,) = shop.lake.scan(ACCESSES).to_pylist()
    assert (access["outcome"], access["reason"]) == ("shown", "article 15")
    assert access["what"] == f"the copy of request {asked.request_id}"


def test_a_copy_for_spreadsheets_is_an_archive(shop, tmp_path):
    shop.ingest(event("=1+1", 7))
    out = tmp_path / "copy.zip"
    name = ask(shop.desk, "export", [ANNA], "clerk").request_id
    work(shop.desk, name, actor="clerk", reason="why", out=out)
    with zipfile.ZipFile(out) as archive:
        assert {"copy.json", "raw_events.csv", "consents.csv"} <= set(archive.namelist())
        text = archive.read("raw_events.csv").decode()
    assert text.splitlines()[0].startswith("event_id,")
    assert "'=1+1" in text, "a spreadsheet would run this item"


def test_an_erasure_deletes_the_copy_that_was_made_before(shop):
    work(shop.desk, ask(shop.desk, "export", [ANNA], "clerk").request_id, actor="clerk", reason="why")
    work(shop.desk, ask(shop.desk, "export", [BERTA], "clerk").request_id, actor="clerk", reason="why")
    work(shop.desk, ask(shop.desk, "erase", [ANNA], "clerk").request_id, actor="clerk")
    (copy,) = (shop.desk.inbox.folder / "copies").iterdir()
    assert json.loads(copy.read_text())["user_ids"] == [BERTA]


def test_an_account_that_may_not_see_rows_makes_no_copy_and_the_request_waits(shop, tmp_path):
    desk = Desk.of(shop.settings.replace(raw_readers="boss"), shop.lake)
    asked = ask(desk, "export", [ANNA], "clerk")
    with pytest.raises(NotARawReaderError, match="LASTAISLE_RAW_READERS does not name"):
        work(desk, asked.request_id, actor="clerk", reason="why", out=tmp_path / "copy.json")
    assert not (tmp_path / "copy.json").exists()
    request = find_request(shop.lake, asked.request_id)
    assert (request.last.state, request.is_open) == (FAILED, True)
    assert [row["outcome"] for row in shop.lake.scan(ACCESSES).to_pylist()] == ["refused"]
    work(shop.desk, asked.request_id, actor="clerk", reason="why", out=tmp_path / "copy.json")
    assert states(shop) == ["asked", "working", "failed", "working", "done"]


@pytest.mark.parametrize(
    ("kind", "purposes"),
    [("object", {"personalization", "sale"}), ("restrict", {"analytics", "personalization", "sale"})],
)
def test_an_objection_and_a_restriction_refuse_purposes(shop, kind, purposes):
    work(shop.desk, ask(shop.desk, kind, [ANNA], "clerk").request_id, actor="clerk")
    found = {
        purpose: refused(shop.lake, purpose)["user_id"].to_pylist()
        for purpose in ("analytics", "personalization", "sale")
    }
    assert {purpose for purpose, users in found.items() if users} == purposes
    assert all(users in ([], [pseudonym(shop, ANNA)]) for users in found.values())
    assert states(shop) == ["asked", "working", "done"]


def test_a_wrong_key_erases_nothing(shop):
    name = ask(shop.desk, "erase", [ANNA], "clerk").request_id
    (shop.folder / "keys.json").unlink()
    with pytest.raises(KeyFileError, match="there is no pseudonym key"):
        work(shop.desk, name, actor="clerk")
    assert shop.users() == {None, ANNA, BERTA}
    assert states(shop) == ["asked", "working", "failed"]


def test_no_problem_of_a_request_names_a_shopper(shop, monkeypatch):
    def fail(*args, **options):
        raise LastaisleError(f"no room for {ANNA}")

    monkeypatch.setattr(works, "erase", fail)
    name = ask(shop.desk, "erase", [ANNA], "clerk").request_id
    with pytest.raises(LastaisleError):
        work(shop.desk, name, actor="clerk")
    assert find_request(shop.lake, name).last.problem == "LastaisleError"


def test_an_ended_request_goes_no_further(shop):
    name = ask(shop.desk, "object", [ANNA], "clerk").request_id
    work(shop.desk, name, actor="clerk")
    with pytest.raises(RequestError, match="is done, so it cannot become working"):
        advance(shop.lake, name, WORKING, actor="clerk")
    with pytest.raises(RequestError, match="there is no request"):
        find_request(shop.lake, "0" * 16)


def test_a_request_in_the_inbox_alone_gets_its_row(shop):
    name = shop.desk.inbox.put("erase", [ANNA], "clerk")
    assert read_requests(shop.lake) == []
    assert repair(shop.lake, shop.desk.inbox, 28) == [
        f"request {name} was in the inbox alone, and has its row now"
    ]
    assert repair(shop.lake, shop.desk.inbox, 28) == []
    (request,) = read_requests(shop.lake)
    assert (request.first.actor, request.first.subjects) == ("clerk", 1)
    assert abs(request.first.at - datetime.now(UTC)) < timedelta(minutes=5)
    assert shop.desk.inbox.names() == [name]


def test_a_request_about_another_lake_gets_no_row_here(shop, tmp_path):
    other = Desk.of(shop.settings, Lake(tmp_path / "other"))
    name = other.inbox.put("erase", [ANNA], "clerk")
    assert repair(shop.lake, shop.desk.inbox, 28) == []
    assert read_requests(shop.lake) == []
    assert repair(other.lake, other.inbox, 28) == [
        f"request {name} was in the inbox alone, and has its row now"
    ]
