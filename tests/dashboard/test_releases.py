"""The page Releases: why a version was refused, where each version is now, and the way back."""

import re
import uuid

import pyarrow as pa
import pytest

from lastaisle.errors import RegistryError
from lastaisle.lake.tables import RELEASES, RELEASES_SCHEMA
from tests.dashboard.ledgers import MOVES, write_ledger
from tests.dashboard.reading import text_of


def test_the_page_says_why_a_version_was_refused(reader, source):
    write_ledger(source)
    assert re.search(r"3 20\S+ \S+ UTC refused refused - Reason 5\.", text_of(reader.get("/releases")))
    told = text_of(reader.get("/releases/3"))
    assert "It breaks 1 of 2 rules. The first: Version 3 is surely worse than version 2." in told
    assert "not worse than champion -0.4000 > -0.02 broken" in told
    assert "It never was champion." in told


def test_the_page_says_where_each_version_is(reader, source):
    write_ledger(source, (*MOVES, ("rollback", "1")))
    told = text_of(reader.get("/releases"))
    for version, fate in (("2", "rolled back 3 hours"), ("1", "champion")):
        assert re.search(rf"{version} 20\S+ \S+ UTC promoted {fate}", told)
    told = text_of(reader.get("/releases/2"))
    assert "Version 2 was rolled back on" in told
    assert "3 hours Reason 6." in told


def test_long_ledgers_are_shown_in_pages(reader, source):
    write_ledger(source, [("register", str(number)) for number in range(1, 31)])
    first, second = reader.get("/releases"), reader.get("/releases?page=2")
    assert 'href="/releases/30"' in first.text
    assert "Page 1 of 2" in first.text
    assert "Page 2 of 2" in second.text
    versions = second.text.partition('id="versions"')[2].partition("</table>")[0]
    assert re.findall(r'<td><a href="/releases/(\d+)">', versions) == ["5", "4", "3", "2", "1"]


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/releases?page=0", 422),
        ("/releases?page=x", 422),
        ("/releases?page=%C2%B2", 422),
        ("/releases?page=", 422),
        ("/releases?page=2", 404),
        ("/releases?moves=-1", 422),
        ("/releases?moves=99999999999999999999", 422),
        ("/releases/9", 404),
        ("/releases/roll-back", 404),
        ("/releases/%3Cb%3E", 404),
        ("/releases?version=9", 404),
    ],
)
def test_a_wrong_choice_is_refused_in_words(reader, source, address, status):
    write_ledger(source)
    answer = reader.get(address)
    assert answer.status_code == status
    assert "There is no such page" in answer.text
    assert "Traceback" not in answer.text


def test_a_version_is_found_by_its_number(reader, source):
    write_ledger(source)
    answer = reader.get("/releases", params={"version": " 3 "})
    assert answer.url.path == "/releases/3"
    assert answer.status_code == 200


def test_a_changed_ledger_is_told(reader, source):
    ledger = write_ledger(source)
    assert "Whole" in reader.get("/releases").text
    rows = [{**row, "reason": "Another reason."} if row["entry"] == 2 else row for row in ledger.rows()]
    changed = pa.Table.from_pylist(rows, RELEASES_SCHEMA)
    source.lake.overwrite(RELEASES, changed, key=uuid.uuid4().hex)
    source._kept.clear()
    told = text_of(reader.get("/releases"))
    assert "Rows were changed." in told
    assert "lastaisle releases verify" in told


def test_a_reason_is_shown_as_text(reader, source):
    write_ledger(source, reason="<script>alert(1)</script> {}.")
    for path in ("/releases", "/releases/3"):
        assert "<script>alert" not in reader.get(path).text


def test_a_rollback_reaches_the_callable(changer, source, asked):
    write_ledger(source)
    body = {"to_version": "1", "reason": " Version 2 shows sold out items. ", "force": "yes"}
    answer = changer.post("/releases/roll-back", json=body)
    assert (answer.status_code, answer.text) == (200, "Version 1 is champion now.")
    changer.post("/releases/roll-back", json={"reason": "Back."})
    told = [(one.to_version, one.reason, one.actor, one.force) for one in asked]
    assert told == [
        ("1", "Version 2 shows sold out items.", "dashboard", True),
        (None, "Back.", "dashboard", False),
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"to_version": "1"}', 400),
        (b'{"to_version": 1, "reason": "Back."}', 400),
        (b'{"to_version": "1", "reason": "Back.", "more": 1}', 400),
        (b'{"to_version": "1", "reason": "  "}', 422),
        (b'{"to_version": "9", "reason": "Back."}', 422),
        (b'{"to_version": "../1", "reason": "Back."}', 422),
        (b'{"reason": "' + b"a" * 30_000 + b'"}', 413),
    ],
)
def test_a_wrong_request_moves_nothing(changer, source, asked, body, status):
    write_ledger(source)
    answer = changer.post("/releases/roll-back", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/plain")
    assert len(answer.text) < 400
    assert not asked


def test_a_refused_rollback_is_told_in_words(changer, source, app, monkeypatch):
    write_ledger(source)

    def refuse(request):
        raise RegistryError("the gate refused version 3")

    pages = app.state.pages
    monkeypatch.setattr(app.state, "pages", type(pages)(pages.source, pages.access, refuse, False))
    answer = changer.post("/releases/roll-back", json={"to_version": "3", "reason": "Try it."})
    assert (answer.status_code, answer.text) == (409, "Nothing was moved: the gate refused version 3")


def test_the_body_of_a_stranger_is_not_read(stranger, reader, asked):
    for client, status in ((stranger, 401), (reader, 403)):
        answer = client.post(
            "/releases/roll-back", content=b"{", headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == status
    assert not asked
