"""Each move that services need to know reaches each of them, at least once, and is noted once."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.delivery import post as posting
from lastaisle.errors import ExitCode
from lastaisle.lake import Lake
from lastaisle.lake.tables import ANNOUNCEMENTS
from lastaisle.registry.ledger import Ledger, Move
from lastaisle.release.announcements.announce import NotAnnouncedError
from lastaisle.release.announcements.message import messages_of_releases
from tests.delivery.receivers import ANSWERED, HANG, KEY, SECRET, TOKEN, is_signed
from tests.release.announcements.conftest import NOON
from tests.services.certificates import make_certificates

HOUR = timedelta(hours=1)


def test_a_service_hears_of_each_move_once_in_its_order_and_signed(shop, receiver):
    service = receiver()
    shop.move("register", "1", alias="challenger")
    shop.move("promote", "1")
    shop.hears(service)
    assert service.got == [], "moves before the first use are not announced"
    for action, version, alias in [
        *(("register", "2", "challenger"), ("shadow", "2", "shadow"), ("canary", "2", "canary")),
        *(("promote", "2", "champion"), ("refuse", "3", "champion"), ("rollback", "1", "champion")),
        *(("canary", "4", "canary"), ("retire", "4", "canary"), ("anchor", "1", "anchor")),
        *(("moved_by_hand", "4", "champion"), ("adopt", "4", "champion"), ("lost", "4", "champion")),
        ("prune", "2", "challenger"),
    ]:
        shop.move(action, version, alias)
    report = shop.announce()
    assert service.types() == report.receivers[0].sent
    assert service.types() == [
        *("release.shadow", "release.canary", "release.promoted", "release.rolled_back", "release.canary"),
        *("release.retired", "release.moved_by_hand", "release.adopted", "release.lost"),
    ]
    assert all(is_signed(one["headers"], one["body"]) for one in service.got)
    assert len(set(service.ids())) == 9
    promoted, lost = (json.loads(service.got[number]["body"]) for number in (2, 8))
    assert promoted == {
        "id": service.ids()[2],
        "type": "release.promoted",
        "timestamp": "2025-10-09T12:05:00Z",
        "data": {
            "entry": promoted["data"]["entry"],
            "model": "checkout-recommender",
            "version": "2",
            "from_version": "1",
            "champion": "2",
            "reason": "It is better.",
        },
    }
    numbers = [json.loads(one["body"])["data"]["entry"] for one in service.got]
    assert numbers == sorted(set(numbers)), "in the order of the ledger"
    assert lost["data"]["champion"] == "1", "the version that serves after the loss"
    shop.announce(HOUR)
    assert len(service.got) == 9 == len(shop.rows("sent")), "nothing is sent twice"


def test_a_service_hears_of_the_end_of_experiments_and_bandits_once(shop, receiver):
    service = receiver()
    shop.trial("running", name="before")
    shop.trial("stopped", name="before")
    shop.hears(service)
    shop.trial("running")
    shop.trial("decided")
    shop.trial("stopped")
    shop.trial("running", kind="bandit", name="lists")
    shop.trial("stopped", kind="bandit", name="lists")
    shop.trial("running", kind="canary", name="canary-2")
    shop.trial("stopped", kind="canary", name="canary-2")
    shop.trial("invalid", name="never-ran")
    shop.announce()
    assert service.types() == ["experiment.ended", "bandit.ended"]
    body = json.loads(service.got[0]["body"])
    assert body["data"] == {"name": "two-models", "state": "decided", "reason": "It is decided."}


def test_an_experiment_that_ran_before_the_first_use_is_announced_when_it_ends(shop, receiver):
    service = receiver()
    shop.trial("running")
    shop.hears(service)
    shop.trial("decided")
    shop.announce()
    assert service.types() == ["experiment.ended"]


def test_an_announcement_that_fails_is_tried_again_later_with_the_same_id_and_body(shop, receiver):
    service = receiver(500, 503, 200)
    shop.hears(service)
    shop.move("promote", "1")
    with pytest.raises(NotAnnouncedError, match="it answered 500: a later run tries again"):
        shop.announce().require_delivered()
    assert shop.announce().receivers[0].waiting == 1, "not at once"
    assert len(service.got) == 1
    shop.announce(timedelta(seconds=16))
    assert shop.announce(timedelta(seconds=16)).receivers[0].waiting == 1, "the second wait is longer"
    shop.announce(timedelta(seconds=16)).require_delivered()
    assert len(service.got) == 3
    assert len(set(service.ids())) == 1 == len({one["body"] for one in service.got})
    assert [row["attempt"] for row in shop.rows("failed")] == [1, 2]
    assert [row["problem"] for row in shop.rows("failed")] == ["it answered 500", "it answered 503"]
    assert [row["attempt"] for row in shop.rows("sent")] == [3]


def test_an_announcement_is_given_up_after_its_hours_by_name_and_never_sent_again(shop, receiver):
    service = receiver(500)
    shop.hears(service, webhook_hours=10)
    shop.move("promote", "1")
    for _ in range(10):
        assert shop.announce(HOUR).receivers[0].given_up == []
    last = shop.announce(24 * HOUR)
    (lost,) = last.receivers[0].given_up
    with pytest.raises(NotAnnouncedError, match=f"{lost.id}.*it answered 500: given up") as error:
        last.require_delivered()
    assert error.value.exit_code == ExitCode.NOT_ANNOUNCED
    tries = len(service.got)
    shop.announce(HOUR).require_delivered()
    assert len(service.got) == tries
    shop.move("promote", "2")
    shop.announce(HOUR)
    assert len(service.got) == tries + 1, "later announcements are tried"


def test_an_announcement_is_not_given_up_before_its_first_try(shop, receiver):
    service = receiver()
    shop.hears(service)
    shop.move("promote", "1")
    shop.announce(1000 * HOUR).require_delivered()
    assert service.types() == ["release.promoted"]


def test_a_service_that_hangs_is_left_in_time_and_holds_back_no_other(shop, receiver, monkeypatch):
    monkeypatch.setattr(posting, "TIMEOUT_SECONDS", 0.3)
    hanging, working = receiver(HANG), receiver()
    shop.hears(hanging, working)
    for version in ("1", "2", "3"):
        shop.move("promote", version)
    hung, worked = shop.announce().receivers
    assert [one.problem for one in hung.failed] == ["it gave no answer within 0.3 seconds"]
    assert (hung.waiting, len(hanging.got)) == (2, 1), "the others wait for a later run"
    assert len(worked.sent) == 3 == len(working.got)


def test_a_service_that_sends_its_answer_in_drops_is_left_in_time(shop, monkeypatch):
    monkeypatch.setattr(posting, "TIMEOUT_SECONDS", 0.4)

    def drip(server):
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            for _ in range(200):
                connection.sendall(b"x: y\r\n")
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        shop.hears(f"http://127.0.0.1:{server.getsockname()[1]}/")
        shop.move("promote", "1")
        (report,) = shop.announce().receivers
    assert [one.problem for one in report.failed] == ["it gave no answer within 0.4 seconds"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(shop, receiver, status):
    inner = receiver()
    service = receiver(status, location=inner.address)
    shop.hears(service)
    shop.move("promote", "1")
    (report,) = shop.announce().receivers
    assert [one.problem for one in report.failed] == [f"it answered {status}; redirects are not followed"]
    assert inner.got == []


def test_a_service_that_is_down_and_one_that_speaks_no_http_are_named(shop):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    shop.hears(f"http://127.0.0.1:{port}/x")
    shop.move("promote", "1")
    (report,) = shop.announce().receivers
    assert re.fullmatch(r"it cannot be reached \(ConnectError.*\)", report.failed[0].problem)
    assert report.receiver.startswith("127.0.0.1#")


def test_the_certificate_of_a_service_is_verified(shop, receiver, monkeypatch, tmp_path):
    certificates = make_certificates(tmp_path)
    service = receiver(keystore=certificates.keystore)
    shop.hears(service)
    shop.move("promote", "1")
    (report,) = shop.announce().receivers
    assert "certificate verify failed" in report.failed[0].problem
    assert service.got == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    shop.announce(HOUR).require_delivered()
    assert service.types() == ["release.promoted"]


def test_no_proxy_of_the_environment_sees_an_announcement(shop, receiver, monkeypatch):
    proxy, service = receiver(), receiver()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.address)
    monkeypatch.setenv("NO_PROXY", "")
    shop.hears(service)
    shop.move("promote", "1")
    shop.announce().require_delivered()
    assert (len(service.got), proxy.got) == (1, [])


def test_nothing_that_is_kept_or_said_holds_a_secret_a_person_or_the_answer(shop, receiver, caplog):
    caplog.set_level(logging.DEBUG)
    service = receiver(200, 500)
    shop.hears(service)
    shop.move("promote", "1")
    shop.move("promote", "2")
    report = shop.announce()
    with pytest.raises(NotAnnouncedError) as error:
        report.require_delivered()
    told = f"{caplog.text} {error.value} {report.to_dict()} {report.lines()} {shop.lake.scan(ANNOUNCEMENTS)}"
    for secret in (TOKEN, SECRET, SECRET.removeprefix("whsec_"), ANSWERED, "anna"):
        assert secret not in told
    assert "anna" not in str(service.got), "ids of moves may hold names of people"


def test_each_secret_signs_while_receivers_change_to_a_new_one(shop, receiver):
    service, old = receiver(), bytes(24)
    shop.hears(service)
    shop.settings = shop.settings.replace(webhook_secret=f"{SECRET}, whsec_{'A' * 32}")
    shop.move("promote", "1")
    shop.announce()
    (got,) = service.got
    assert is_signed(got["headers"], got["body"], [KEY, old])


def test_a_new_address_hears_only_of_moves_after_its_first_use(shop, receiver):
    first, second = receiver(), receiver()
    shop.hears(first)
    shop.move("promote", "1")
    shop.hears(first, second)
    shop.move("promote", "2")
    shop.announce()
    assert len(first.got) == 2
    assert [json.loads(one["body"])["data"]["version"] for one in second.got] == ["2"]


def test_only_moves_of_the_own_model_are_announced(shop, receiver):
    service = receiver()
    shop.hears(service)
    move = Move("x", NOON, "a", "promote", "other", "champion", None, "9", "r", "run", "key")
    Ledger(shop.lake, "other").write(move)
    shop.move("promote", "1")
    shop.announce()
    assert [json.loads(one["body"])["data"]["version"] for one in service.got] == ["1"]
    assert messages_of_releases(Ledger(shop.lake, "other").numbered_moves(), -1)[0].id not in service.ids()


def test_runs_at_the_same_moment_note_each_message_once(shop, receiver):
    service = receiver()
    shop.hears(service)
    for version in ("1", "2"):
        shop.move("promote", version)
    with ThreadPoolExecutor(4) as pool:
        for report in pool.map(lambda _: shop.announce(), range(4)):
            report.require_delivered()
    assert len(shop.rows("sent")) == 2
    assert len(set(service.ids())) == 2, "a message that came twice has the same id"


class KilledError(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("nth", range(5))
def test_a_run_that_is_killed_at_any_commit_is_finished_by_the_next(shop, receiver, monkeypatch, moment, nth):
    """The commits are those of two services: the first failed try, its second try, and three that arrive."""
    one, two = receiver(500, 200), receiver()
    shop.hears(one, two)
    shop.move("promote", "1")
    shop.move("rollback", "0")
    append, calls = Lake.append, []

    def killed(self, name, *args, **options):
        hit = name == ANNOUNCEMENTS
        calls.extend([1] * hit)
        if hit and len(calls) == nth + 1 and moment == "before":
            raise KilledError
        done = append(self, name, *args, **options)
        if hit and len(calls) == nth + 1 and moment == "after":
            raise KilledError
        return done

    monkeypatch.setattr(Lake, "append", killed)
    with pytest.raises(KilledError):
        for _ in range(2):
            shop.announce(HOUR)
    monkeypatch.setattr(Lake, "append", append)
    for _ in range(2):
        shop.announce(HOUR)
    got = {name: set(service.ids()) for name, service in (("one", one), ("two", two))}
    assert len(got["one"]) == 2 and got["one"] == got["two"], "the same id at each service and each try"
    sent = [(row["receiver"], row["announcement"]) for row in shop.rows("sent")]
    assert len(sent) == 4 == len(set(sent)), "each is noted once"
    before = len(one.got) + len(two.got)
    assert before <= 6, "a kill repeats at most the message that was on its way"
    shop.announce(HOUR)
    assert len(one.got) + len(two.got) == before


def test_a_first_run_that_is_killed_loses_no_later_move(shop, receiver, monkeypatch):
    service, append = receiver(), Lake.append

    def killed(self, name, *args, **options):
        append(self, name, *args, **options)
        raise KilledError

    monkeypatch.setattr(Lake, "append", killed)
    with pytest.raises(KilledError):
        shop.hears(service)
    monkeypatch.setattr(Lake, "append", append)
    shop.move("promote", "1")
    shop.announce()
    assert service.types() == ["release.promoted"]


@pytest.fixture
def command(shop, monkeypatch):
    monkeypatch.setenv("LASTAISLE_HOME", str(shop.settings.home))
    monkeypatch.setenv("COLUMNS", "300")

    def run(*words, webhooks=""):
        if webhooks:
            monkeypatch.setenv("LASTAISLE_WEBHOOKS", webhooks)
            monkeypatch.setenv("LASTAISLE_WEBHOOK_SECRET", SECRET)
        return CliRunner().invoke(cli.app, ["releases", "announce", *words])

    return run


def test_the_command_announces_what_is_due(shop, receiver, command, tmp_path):
    service = receiver()
    first = command(webhooks=service.address)
    assert first.exit_code == 0 and "is new" in first.output
    assert "no announcement is due" in command().output
    shop.move("promote", "1")
    done = command("--report", str(tmp_path / "report.json"))
    assert done.exit_code == 0 and "got release.promoted" in done.output
    (told,) = json.loads((tmp_path / "report.json").read_text())["receivers"]
    assert told["sent"] == ["release.promoted"]


def test_the_command_sends_a_test_that_is_signed_and_notes_nothing(shop, receiver, command):
    service, down = receiver(), receiver(500)
    done = command("--test", webhooks=service.address)
    assert done.exit_code == 0 and service.types() == ["webhook.test"]
    assert is_signed(service.got[0]["headers"], service.got[0]["body"])
    failed = command("--test", webhooks=f"{service.address},{down.address}")
    assert isinstance(failed.exception, NotAnnouncedError)
    assert len(service.got) == 2 and shop.lake.version(ANNOUNCEMENTS) is None


def test_the_command_says_that_no_address_is_set(command):
    done = command()
    assert done.exception.exit_code == ExitCode.WRONG_REQUEST
    assert "LASTAISLE_WEBHOOKS" in str(done.exception)
