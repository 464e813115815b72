"""The audit answers from the tables; what it cannot know it does not call fine."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from lastaisle.audit import State
from lastaisle.audit.finding import SECTIONS, Audit
from lastaisle.lake.maintenance import maintain
from lastaisle.lake.tables import ALL_TABLES
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.rights.inbox import Inbox
from lastaisle.rights.receipts import ReceiptKey
from lastaisle.settings import Settings

from .conftest import EVENTS_SCHEMA, NOW, ago


def test_an_empty_lake_is_not_known_and_never_fine(shop):
    found = shop.audit()
    known = {(one.section, one.name) for one in found.findings if one.state is not State.NOT_KNOWN}
    assert known == {("map", "tables")}
    assert {one.section for one in found.findings} == set(SECTIONS) - {"retention"}
    assert all(one.told.startswith("Not known: ") for one in found.findings if one.section != "map")


def test_failed_findings_come_first(shop):
    shop.events(3)
    shop.batch()
    order = [list(State).index(one.state) for one in shop.audit().findings]
    assert order == sorted(order)
    assert order[0] == 0


def test_an_audit_is_the_same_after_it_was_written_as_json(shop):
    shop.events(30)
    shop.batch()
    found = shop.audit()
    assert Audit.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert found.audit_id == shop.audit().audit_id


@pytest.mark.parametrize(
    ("shoppers", "state", "share"), [(20, State.OK, 0.0), (19, State.FAILED, 19 / 49)], ids=["k", "k - 1"]
)
def test_groups_of_fewer_than_k_shoppers_fail(shop, shoppers, state, share):
    shop.events(30, device_type="desktop")
    shop.events(shoppers, country="AT")
    shop.events(1, country=None, device_type=None)
    found = shop.finding("anonymity", "device, place and hour")
    assert (found.state, found.number) == (state, pytest.approx(share))


def test_the_same_shopper_counts_once_in_a_group(shop):
    shop.events(40, user_id="one")
    assert shop.finding("anonymity", "device, place and hour").state is State.FAILED


def test_events_of_other_days_are_not_judged(shop):
    shop.events(3, days_ago=60)
    shop.events(3, days_ago=0)
    assert shop.finding("anonymity", "device, place and hour").told.startswith("No event of these days")


def test_rows_that_should_be_gone_fail_until_maintenance_deletes_them(shop):
    shop.batch("old", 410)
    shop.batch("new", 10)
    shop.events(5, 410, batch="old")
    shop.events(30, batch="new")
    found = shop.finding("retention", "events")
    assert (found.state, found.number) == (State.FAILED, 410)
    assert "5 rows should be deleted" in found.told
    maintain(shop.lake, "events", now=NOW)
    assert shop.finding("retention", "events").state is State.OK


def test_rows_of_an_unknown_age_are_not_known(shop):
    shop.batch("new")
    shop.events(5, batch="nobody knows")
    found = shop.finding("retention", "events")
    assert found.state is State.NOT_KNOWN
    assert "5 of 5 rows is not known" in found.told


def test_deleted_rows_that_lie_in_old_files_for_too_long_fail(shop):
    """Maintenance deletes the rows at once, and their files later."""

    def raw(days_ago: float) -> pa.Table:
        at = ago(days_ago)
        return pa.table(
            {
                "ingested_at": pa.array([at], pa.timestamp("us", "UTC")),
                "event_date": pa.array([at.date()], pa.date32()),
            }
        )

    shop.lake.append("raw_events", raw(440), key="a")
    shop.lake.append("raw_events", raw(5), key="b")
    maintain(shop.lake, "raw_events", now=NOW)
    assert shop.finding("retention", "raw_events").state is State.OK
    found = shop.finding("retention", "files of raw_events")
    assert (found.state, found.number) == (State.FAILED, 1)
    shop.lake.vacuum("raw_events", keep_hours=0)
    assert shop.finding("retention", "files of raw_events").state is State.OK


def request(number: int, state: str, days_ago: float, *, entry: int = 0, kind: str = "erase", **more):
    due = ago(days_ago) + timedelta(days=28)
    return {"entry": entry or number, "request_id": f"r{number}", "kind": kind, "state": state} | {
        "at": ago(days_ago),
        "actor": "anna",
        "subjects": 1,
        "due_at": due,
        **more,
    }


def test_requests_that_wait_too_long_or_failed_or_have_no_receipt_fail(shop):
    shop.add(
        "subject_requests",
        request(1, "asked", 40),
        request(2, "asked", 20),
        request(2, "done", 19, entry=3, receipt="{}"),
        request(4, "done", 5),
        request(5, "failed", 3, kind="export"),
        request(6, "asked", 2, kind="restrict"),
    )
    assert [
        (shop.finding("rights", name).state, shop.finding("rights", name).number)
        for name in ("overdue requests", "failed requests", "receipts of erasures", "requests of these days")
    ] == [(State.FAILED, 1), (State.FAILED, 1), (State.FAILED, 1), (State.OK, 4)]
    told = shop.finding("rights", "requests of these days").told
    assert told == "Requests of these days: 2 erase, 1 export, 1 restrict."
    assert "the slowest took 24.0 hours" in shop.finding("rights", "time to answer").told


def test_consent_is_told_by_purpose_and_source(shop):
    shop.events(1)
    shop.events(1, consent_personalization=False, consent_sale=False)
    shop.events(2, consent_sale=None)
    row = {"user_id": "a", "purpose": "sale", "granted": False, "source": "gpc", "recorded_at": ago(5)}
    shop.add("consents", row | {"at": ago(5)}, row | {"at": ago(6)}, row | {"at": ago(90)})
    assert shop.finding("consent", "events with consent to personalization").number == 0.75
    found = shop.finding("consent", "events with consent to sale")
    assert (found.number, found.told) == (
        0.5,
        "50.0% of 2 events came with consent to sale. 2 events do not say.",
    )
    assert shop.finding("consent", "sale by gpc").told == (
        "0 shoppers agreed to sale and 2 refused it, by gpc."
    )


def test_accesses_are_counted_and_want_a_reason(shop):
    row = {"at": ago(5), "actor": "anna", "what": "quarantine", "reason": "ticket 7", "outcome": "shown"}
    shop.add("accesses", row, row | {"outcome": "refused"}, row | {"reason": ""}, row | {"at": ago(90)})
    assert shop.finding("access", "requests to see data").number == 2
    assert shop.finding("access", "reasons").state is State.FAILED


@pytest.mark.parametrize(("days", "state"), [(365, State.OK), (366, State.FAILED)])
def test_an_old_key_fails(shop, days, state):
    shop.events(1)
    shop.batch(days_ago=days)
    assert (shop.finding("keys", "age of the key").state, shop.finding("keys", "age of the key").number) == (
        state,
        days,
    )


def test_two_keys_in_the_lake_fail(shop):
    shop.events(1)
    shop.events(1, batch="next", key_version=2)
    shop.batch()
    shop.batch("next", 2)
    found = shop.finding("keys", "versions in use")
    assert (found.state, found.number) == (State.FAILED, 2)
    assert shop.finding("keys", "age of the key").number == 2


@pytest.mark.parametrize(("mode", "state"), [(0o600, State.OK), (0o640, State.FAILED)])
def test_a_key_file_that_others_can_read_fails(shop, mode, state):
    keys = PseudonymKeys.load_or_create(shop.settings.privacy.key_file, environ={})
    keys.path.chmod(mode)
    assert shop.finding("keys", "key file").state is state
    assert str(keys.path.parent) not in str(shop.audit().to_dict())


@pytest.mark.parametrize(("mode", "state"), [(0o600, State.OK), (0o644, State.FAILED)])
def test_a_key_of_receipts_that_others_can_read_fails(shop, mode, state):
    path = Path(shop.settings.privacy.receipt_key)
    ReceiptKey.load_or_create(path)
    path.chmod(mode)
    assert shop.finding("keys", "key of receipts").state is state
    assert shop.finding("keys", "place of the key of receipts").state is State.OK


@pytest.mark.parametrize(
    ("folder", "file", "state"),
    [(0o700, 0o600, State.OK), (0o750, 0o600, State.FAILED), (0o700, 0o640, State.FAILED)],
)
def test_a_folder_of_requests_that_others_can_read_fails(shop, folder, file, state):
    inbox = Inbox(shop.settings.privacy.requests, lake_url=shop.lake.url)
    inbox.put("erase", ["anna"], "officer")
    inbox.folder.chmod(folder)
    (waiting,) = inbox.waiting_folder.iterdir()
    waiting.chmod(file)
    assert shop.finding("keys", "folder of requests").state is state


def test_a_folder_of_requests_in_the_lake_fails(shop):
    (shop.settings.home / "lake" / "subjects").mkdir(parents=True)
    settings = Settings.from_env(
        {
            "LASTAISLE_HOME": str(shop.settings.home),
            "LASTAISLE_REQUESTS": str(shop.settings.home / "lake/subjects"),
        }
    )
    found = replace(shop, settings=settings).finding("keys", "place of the folder of requests")
    assert found.state is State.FAILED


def test_values_of_persons_in_fields_are_counted(shop):
    shop.batch(personal_data='{"brand": {"email": 2}, "category": {"email": 1, "phone": 4}}')
    shop.batch("other", personal_data=None)
    found = shop.finding("personal data", "values in batches")
    assert (found.number, "4 phone in category" in found.told) == (7, True)


def test_a_folder_that_no_contract_names_fails(shop):
    shop.events(1)
    (shop.settings.home / "lake" / "copies").mkdir()
    found = shop.finding("map", "tables")
    assert (found.state, "copies" in found.told) == (State.FAILED, True)


def test_the_data_map_names_every_table_with_fields_and_treatments(shop):
    shop.events(2)
    tables = {one.name: one for one in shop.audit().tables}
    assert set(tables) == set(ALL_TABLES)
    assert (tables["events"].rows, tables["outcomes"].rows) == (2, None)
    assert tables["outcomes"].made_of == ("events", "exposures")
    fields = {name: (kind, treatment) for name, kind, treatment in tables["raw_events"].fields}
    assert fields["user_id"][0] == "restricted"
    assert [fields[name][1] for name in ("user_id", "item_id", "occurred_at", "referrer")] == [
        "pseudonymize",
        "keep",
        "coarsen (truncate: second)",
        "coarsen (host_only: True)",
    ]


def test_a_purpose_that_the_table_of_before_lacks_is_not_known(shop):
    sale = EVENTS_SCHEMA.get_field_index("consent_sale")
    before = EVENTS_SCHEMA.remove(sale)
    row = {"event_id": "e", "consent_analytics": True, "occurred_at": ago(10), "event_date": ago(10).date()}
    shop.lake.append("events", pa.Table.from_pylist([row], before), key="before")
    assert shop.finding("consent", "events with consent to analytics").number == 1
    found = shop.finding("consent", "events with consent to sale")
    assert (found.state, "consent_sale" in found.told) == (State.NOT_KNOWN, True)


def test_a_damaged_table_is_not_known(shop):
    shop.events(2)
    log = shop.settings.home / "lake" / "events" / "_delta_log"
    for path in log.iterdir():
        path.write_text("{")
    found = shop.audit()
    assert {one.state for one in found.findings if one.section in ("consent", "anonymity")} == {
        State.NOT_KNOWN
    }


def test_no_finding_names_a_shopper(shop):
    shop.events(30)
    shop.batch()
    written = json.dumps(shop.audit().to_dict())
    assert "shopper-" not in written
    assert "visit-" not in written
