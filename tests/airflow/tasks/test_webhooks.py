"""The task that sends webhooks: it skips without an address, and fails so that Airflow tries again."""

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.lake import Lake
from lastaisle.release.announcements.announce import NotAnnouncedError
from lastaisle.settings import Settings
from lastaisle_airflow.tasks import webhooks
from tests.delivery.receivers import SECRET, Receiver
from tests.release.announcements.conftest import Shop


def test_without_an_address_the_task_is_skipped(monkeypatch, tmp_path):
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    with pytest.raises(AirflowSkipException, match="LASTAISLE_WEBHOOKS"):
        webhooks.send_announcements.function()


def test_the_task_sends_what_is_due_and_fails_while_a_service_fails(monkeypatch, tmp_path):
    service = Receiver(200, 500)
    try:
        settings = {"home": tmp_path, "webhooks": service.address, "webhook_secret": SECRET}
        for name, value in settings.items():
            monkeypatch.setenv(f"LASTAISLE_{name.upper()}", str(value))
        shop = Shop(Settings.of(**settings), Lake(str(tmp_path / "lake")))
        assert webhooks.send_announcements.function()["receivers"][0]["is_new"]
        shop.move("promote", "1")
        assert webhooks.send_announcements.function()["receivers"][0]["sent"] == ["release.promoted"]
        shop.move("promote", "2")
        with pytest.raises(NotAnnouncedError, match="it answered 500"):
            webhooks.send_announcements.function()
        assert webhooks.send_announcements.function()["receivers"][0]["waiting"] == 1
    finally:
        service.stop()
